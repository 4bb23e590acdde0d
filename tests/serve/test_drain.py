"""Draining another process, here a small one: refused, answered, closed, in this order."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

import pytest

import serve.drain
from serve.drain import drain, wait_until_alone

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="needs pidfd, which Linux has since 5.6"
)

# Answers a line by the same in capitals, after two ticks of the kernel's clock; "fast" at once;
# "slow" only once its standard input says so, and says on its standard output that it has read it.
# Told once more, it says how many lines it has read.
SERVER = """
import socket, sys, threading, time
released = threading.Event()
lines = []
def serve(connection):
    for data in connection.makefile("rb"):
        lines.append(data)
        if data.startswith(b"slow"):
            print("read", flush=True)
            released.wait()
        elif not data.startswith(b"fast"):
            time.sleep(0.02)
        connection.sendall(data.upper())
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def accept():
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
sys.stdin.readline()
released.set()
sys.stdin.readline()
print(len(lines), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def ask_slowly(process: subprocess.Popen[str], connection: socket.socket) -> None:
    """Asks, and waits until the process has read it."""
    connection.sendall(b"slow\n")
    assert process.stdout is not None
    assert process.stdout.readline() == "read\n"


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            connect(port).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.01)
    pytest.fail("still listening")


def test_new_ones_are_refused_and_taken_ones_answered(
    other: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = other
    with connect(port) as slow, connect(port) as silent, connect(port) as answered:
        answered.sendall(b"quick\n")
        assert answered.recv(100) == b"QUICK\n"
        ask_slowly(process, slow)
        outcome: list[bool] = []
        draining = threading.Thread(target=lambda: outcome.append(drain(process.pid, port, 30)))
        draining.start()
        wait_until_refused(port)
        assert silent.recv(100) == b""  # closed: it had asked nothing
        assert answered.recv(100) == b""  # closed: it had its answer
        assert draining.is_alive()
        release(process)
        assert slow.recv(100) == b"SLOW\n"
        assert slow.recv(100) == b""
        draining.join(30)
    assert outcome == [True]


def test_a_first_request_is_waited_for_though_it_came_with_its_connection(
    other: tuple[subprocess.Popen[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of the kernel's clock, the times of sending and receiving are equal."""
    process, port = other
    monkeypatch.setattr(serve.drain, "TIE_PATIENCE_MS", -1)
    connections = []
    for _ in range(20):
        connections.append(connect(port))
        ask_slowly(process, connections[-1])
    assert not drain(process.pid, port, timeout=0.1)
    release(process)
    for connection in connections:
        with connection:
            assert connection.recv(100) == b"SLOW\n"


def test_clients_that_ask_again_at_once_are_let_go_and_have_every_answer(
    other: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = other

    def ask(connection: socket.socket) -> int:
        """How many answers, until the connection is closed."""
        for answers in count():
            try:
                connection.sendall(b"quick\n")
                if connection.recv(100) != b"QUICK\n":
                    return answers
            except ConnectionError:
                return answers
        raise AssertionError

    with ExitStack() as held, ThreadPoolExecutor(8) as pool:
        busy = [held.enter_context(connect(port)) for _ in range(8)]
        asking = [pool.submit(ask, each) for each in busy]
        assert drain(process.pid, port, timeout=30)
        answers = sum(each.result(timeout=30) for each in asking)
    for _ in range(2):
        release(process)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == answers


@pytest.mark.parametrize("before", [b"", b"quick\n", b"fast\n"])
def test_a_request_that_has_half_arrived_is_heard_to_its_end(
    other: tuple[subprocess.Popen[str], int], before: bytes
) -> None:
    """The first one of its connection, or one that began as the answer before it came."""
    process, port = other
    with connect(port) as cut, ThreadPoolExecutor(1) as pool:
        if before:
            cut.sendall(before)
            assert cut.recv(100) == before.upper()
        cut.sendall(b"quick")
        draining = pool.submit(drain, process.pid, port, 30)
        wait_until_refused(port)
        time.sleep(0.1)  # so that the rest falls on deaf ears at first
        cut.sendall(b"er\n")
        assert cut.recv(100) == b"QUICKER\n"
        assert cut.recv(100) == b""
        assert draining.result(timeout=30)


def test_a_request_that_came_with_the_answer_before_it_is_waited_for(
    other: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = other
    with connect(port) as asking, ThreadPoolExecutor(1) as pool:
        asking.sendall(b"fast\n")
        assert asking.recv(100) == b"FAST\n"
        ask_slowly(process, asking)  # within a tick of the kernel's clock
        draining = pool.submit(drain, process.pid, port, 30)
        wait_until_refused(port)
        time.sleep(2.5)
        release(process)
        assert asking.recv(100) == b"SLOW\n"
        assert draining.result(timeout=30)


def test_what_is_never_answered_is_given_up(other: tuple[subprocess.Popen[str], int]) -> None:
    process, port = other
    with connect(port) as slow:
        ask_slowly(process, slow)
        assert not drain(process.pid, port, timeout=0.3)


def test_without_the_right_to_its_sockets_it_says_so(
    other: tuple[subprocess.Popen[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, port = other

    def refuse(*_: object) -> None:
        raise PermissionError(1, "pidfd_getfd: Operation not permitted")

    monkeypatch.setattr(serve.drain, "_copy", refuse)
    with pytest.raises(PermissionError, match="pidfd_getfd"):
        drain(process.pid, port, 1)
    with connect(port) as held:
        held.sendall(b"quick\n")
        assert held.recv(100) == b"QUICK\n"
        assert not wait_until_alone(process.pid, port, timeout=0.2)
    assert wait_until_alone(process.pid, port, timeout=30)
