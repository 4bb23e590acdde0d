"""A load generator: one thread, requests rendered before, epoll or select; so light that a server
on the same machine keeps its cores.

Closed: each connection asks again once it is answered. Open: requests are due at a fixed rate, and
a late one counts from when it was due, so that a server that stalls cannot hide it.
"""

import http.client
import select
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

GIVE_UP = 30.0  # seconds without any answer
MOST_CONNECTIONS = 500  # `select` takes no file numbers above 1,023


@dataclass
class Load:
    """What was measured: `latencies` in seconds of the answered, how many were not 200."""

    seconds: float = 0.0
    failures: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds."""
        return float(np.percentile(self.latencies, percent)) * 1000


def render(path: str, body: bytes, token: str | None = None) -> bytes:
    """A POST of JSON as it goes over the wire."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{authorization}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def drive(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    rate: float | None = None,
) -> Load:
    """Asks the server on the loopback `port` for `seconds`; closed, or open at `rate` a second.

    Raises:
        TimeoutError: nothing was answered for `GIVE_UP` seconds.
        ConnectionError: the server closed a connection without an answer.
    """
    with _Connections(port, connections) as held:
        run = _Run(held, cycle(requests), Load())
        return run.open(seconds, rate) if rate else run.closed(seconds)


class _Connections:
    """Sockets by their numbers, and the epoll that watches them."""

    def __init__(self, port: int, count: int) -> None:
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets[connection.fileno()] = connection
            self.poll.register(connection, select.EPOLLIN)

    def __enter__(self) -> "_Connections":
        return self

    def __exit__(self, *error: object) -> None:
        self.poll.close()
        for connection in self.sockets.values():
            connection.close()


@dataclass
class _Run:
    """One measurement under way. `due`: when each busy connection's request was due."""

    held: _Connections
    requests: Iterator[bytes]
    load: Load
    due: dict[int, float] = field(default_factory=dict)
    parts: dict[int, bytes] = field(default_factory=dict)

    def closed(self, seconds: float) -> Load:
        start = time.perf_counter()
        for number in self.held.sockets:
            self._ask(number, start)
        while (now := time.perf_counter()) < start + seconds:
            for number in self._answered():
                self._ask(number, time.perf_counter())
        self.load.seconds = now - start
        self._drain()
        return self.load

    def open(self, seconds: float, rate: float) -> Load:
        start = time.perf_counter()
        idle = deque(self.held.sockets)
        sent = 0
        while (now := time.perf_counter()) < start + seconds:
            while idle and start + sent / rate <= now:
                self._ask(idle.popleft(), start + sent / rate)
                sent += 1
            wait = max(0.0, start + sent / rate - now) if idle else GIVE_UP
            idle.extend(self._answered(wait))
        self.load.seconds = now - start
        self._drain()
        return self.load

    def _ask(self, number: int, due: float) -> None:
        self.due[number] = due
        self.held.sockets[number].sendall(next(self.requests))

    def _drain(self) -> None:
        """Waits for what was asked, without counting it: the next measurement starts at rest."""
        counted = len(self.load.latencies), self.load.failures
        while self.due:
            list(self._answered())
        del self.load.latencies[counted[0] :]
        self.load.failures = counted[1]

    def _answered(self, wait: float = GIVE_UP) -> Iterator[int]:
        """The connections whose answers are whole by now."""
        ready = self._ready(wait)
        if not ready and wait >= GIVE_UP:
            raise TimeoutError(f"no answer for {GIVE_UP:.0f} s")
        for number in ready:
            content = self.parts.pop(number, b"") + self.held.sockets[number].recv(1 << 16)
            if not content:
                raise ConnectionError("the server closed a connection without an answer")
            status = _status(content)
            if status is None:
                self.parts[number] = content
                continue
            due = self.due.pop(number)
            if status == http.client.OK:
                self.load.latencies.append(time.perf_counter() - due)
            else:
                self.load.failures += 1
                if self._is_closing(content):
                    raise ConnectionError(f"the server answered {status} and closed")
            yield number

    def _ready(self, wait: float) -> list[int]:
        """The connections with something to read within `wait` seconds."""
        if wait < GIVE_UP:  # epoll's clock has whole milliseconds: requests would be sent late
            return select.select(list(self.held.sockets), [], [], wait)[0]
        return [number for number, _ in self.held.poll.poll(wait)]

    @staticmethod
    def _is_closing(content: bytes) -> bool:
        return b"\nconnection: close" in content.lower()


def _status(content: bytes) -> int | None:
    """The status of an answer, None where it is not whole yet."""
    end = content.find(b"\r\n\r\n")
    if end < 0:
        return None
    place = content.find(b"\ncontent-length:", 0, end)  # as all of these servers spell it
    if place < 0:
        place = content[:end].lower().find(b"\ncontent-length:")
    if place < 0:
        raise ValueError("an answer without Content-Length, which this generator needs")
    length = int(content[place + 16 : content.index(b"\r", place)])
    return int(content[9:12]) if len(content) - end - 4 >= length else None
