"""Stops another process from taking requests, and waits until it has answered those it took.

TorchServe resets the requests in flight when it is told to stop, and has no way to be told to take
no more. On Linux its parent can do that: `pidfd_getfd` (Linux 5.6) gives a copy of its listening
socket, and `shutdown` on it ends the listening for all. The connections' own copies then tell, by
TCP_INFO, which last received and which last sent: the former wait for an answer. Meanwhile a filter
keeps their next requests from arriving, so that the gap after an answer does not close again.
"""

import ctypes
import errno
import fcntl
import math
import os
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PIDFD_GETFD = 438  # the same on every architecture
_LISTEN, _ESTABLISHED = "0A", "01"
# In Linux's struct tcp_info (uapi/linux/tcp.h): milliseconds since data was sent, data was received
# and an acknowledgement was; the bytes received and sent (Linux 4.19) in all.
_LAST_SENT, _LAST_RECEIVED, _LAST_ACK, _BYTES_RECEIVED, _BYTES_SENT = 44, 52, 56, 128, 200
_INFO_SIZE = 208
_ESTABLISHED_NOW = 1  # in TCP_INFO's first byte
# The times tick with the kernel (1 to 10 ms): where they are equal, nobody knows which came first.
# An answer settles it; without one for this long, a connection that has had answers is taken to be
# idle.
TIE_PATIENCE_MS = 5000
_POLL = 0.0002
_LOOK_UP = 0.05  # seconds between looking for connections that were not known yet
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # the same on nearly every architecture
# Berkeley Packet Filter, from the TCP header on: keep as many bytes as the header has. A segment's
# acknowledgement arrives, its data does not, and is sent again as what was lost on the way.
_HEADERS_ALONE = b"".join(
    struct.pack("HBBI", *each)
    for each in (
        (0x30, 0, 0, 12),  # A = the byte with the header's length, in words of 4, in its upper half
        (0x74, 0, 0, 2),  # A >>= 2
        (0x54, 0, 0, 0x3C),  # A &= 60
        (0x16, 0, 0, 0),  # return A
    )
)
# So long at first, then twice as long each time: a request that was cut in two is soon heard to its
# end (its sender tries again after 200 ms), and a slow answer finds the door shut at last.
_DEAF_SECONDS = 0.15
_CONTINUE = len(b"HTTP/1.1 100 Continue\r\n\r\n")  # is sent before a body, and is no answer


def drain(pid: int, port: int, timeout: float) -> bool:
    """Ends the listening of process `pid` on `port`; closes each connection once it is answered.

    Returns whether all were within `timeout` seconds.

    Raises:
        OSError: this system or this user may not take another process's sockets.
    """
    process = os.pidfd_open(pid)
    try:
        for listener in _sockets(pid, process, port, _LISTEN):
            with listener:
                listener.shutdown(socket.SHUT_RDWR)
        return _close_answered(pid, process, port, timeout)
    finally:
        os.close(process)


def wait_until_alone(pid: int, port: int, timeout: float) -> bool:
    """Waits until nobody is connected to process `pid` on `port`; whether that came in time.

    For systems that allow no `drain`, behind a proxy that drains by itself and then goes.
    """
    deadline = time.monotonic() + timeout
    while _connected(pid, port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _connected(pid: int, port: int) -> bool:
    wanted = _inodes(pid, port, _ESTABLISHED)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(entry) in wanted:
                return True
    return False


def _close_answered(pid: int, process: int, port: int, timeout: float) -> bool:
    """The copies are kept: a client that asks again as soon as it is answered leaves a gap that
    looking all of them up each time would miss."""
    deadline = time.monotonic() + timeout
    waiting: dict[int, _Watched] = {}  # by inode
    look_up = 0.0
    try:
        while True:
            if time.monotonic() >= look_up:  # those too that were accepted at the last moment
                for copy in _sockets(pid, process, port, _ESTABLISHED):
                    inode = os.fstat(copy.fileno()).st_ino
                    if inode in waiting:
                        copy.close()
                    else:
                        waiting[inode] = _Watched(copy)
                look_up = time.monotonic() + _LOOK_UP
            for inode, watched in list(waiting.items()):
                if watched.is_done():
                    with suppress(OSError):  # the other side was first
                        watched.copy.shutdown(socket.SHUT_RDWR)
                    waiting.pop(inode).copy.close()
            if not waiting and not _inodes(pid, port, _ESTABLISHED):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
    finally:
        for watched in waiting.values():
            watched.copy.close()


@dataclass(frozen=True)
class _Look:
    """What TCP_INFO says: bytes in all, and milliseconds since."""

    received: int
    sent: int
    since_received: int
    since_sent: int
    since_acknowledged: int


@dataclass
class _Watched:
    """A copy of a connection's socket, and the bytes it had received and sent in all when it was
    last looked at. An answer is taken to be sent at once, and the next request to follow it.

    Args:
        answered: the bytes received when an answer was seen to go out.
        deaf_since: when it was kept from hearing more; None while it hears, since `hearing_since`.
        deaf_for: seconds until it is let hear again.
        deaf_at: the bytes sent by then: only an answer makes it deaf once more.
    """

    copy: socket.socket
    received: int = -1
    sent: int = 0
    answered: int = -1
    hearing_since: float = -math.inf
    deaf_since: float | None = None
    deaf_for: float = _DEAF_SECONDS
    deaf_at: int = -1

    def is_done(self) -> bool:
        """Whether it waits for no answer, or either side has closed it."""
        found = self._look()
        if found is None:
            return True
        done = self._is_answered(found)
        if not done:
            self._hear_or_not()
        elif self.deaf_since is None:
            self._deafen()
            again = self._look()
            done = again is None or again.received == found.received  # or a request came meanwhile
        return done

    def _look(self) -> _Look | None:
        """None where the connection is not established any more."""
        info = self.copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        if info[0] != _ESTABLISHED_NOW:
            return None
        totals = (struct.unpack_from("Q", info, at)[0] for at in (_BYTES_RECEIVED, _BYTES_SENT))
        times = (_LAST_RECEIVED, _LAST_SENT, _LAST_ACK)
        return _Look(*totals, *(struct.unpack_from("I", info, at)[0] for at in times))

    def _is_answered(self, found: _Look) -> bool:
        if found.received == self.received and found.sent - self.sent not in (0, _CONTINUE):
            self.answered = found.received
        self.received, self.sent = found.received, found.sent
        if not found.received or _unsent(self.copy):
            return not found.received
        if self.answered == found.received or not found.sent:
            return bool(found.sent)
        if found.since_sent != found.since_received:
            return found.since_sent < found.since_received
        # An acknowledgement without data, later than both, is of the answer. One that came to deaf
        # ears may have had data.
        heard = 1e3 * (time.monotonic() - self.hearing_since) if self.deaf_since is None else 0
        return (
            found.since_acknowledged < min(found.since_received, heard)
            or found.since_sent > TIE_PATIENCE_MS
        )

    def _hear_or_not(self) -> None:
        now = time.monotonic()
        if self.deaf_since is None:
            if self.sent > self.deaf_at:
                self._deafen()
        elif now > self.deaf_since + self.deaf_for:
            with suppress(OSError):
                self.copy.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            self.deaf_since, self.deaf_at, self.hearing_since = None, self.sent, now
            self.deaf_for *= 2

    def _deafen(self) -> None:
        program = ctypes.create_string_buffer(_HEADERS_ALONE, len(_HEADERS_ALONE))
        head = struct.pack("HP", len(_HEADERS_ALONE) // 8, ctypes.addressof(program))
        with suppress(OSError):  # a system without filters: the gap is looked for alone
            self.copy.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
            self.deaf_since = time.monotonic()


def _unsent(connection: socket.socket) -> int:
    """Bytes of an answer that the other side has not acknowledged."""
    buffer = bytearray(4)
    fcntl.ioctl(connection, termios.TIOCOUTQ, buffer)
    return int(struct.unpack("i", buffer)[0])


def _sockets(pid: int, process: int, port: int, state: str) -> Iterator[socket.socket]:
    """Copies of the sockets of the process with this local port and in this state."""
    wanted = _inodes(pid, port, state)
    for entry in sorted(Path(f"/proc/{pid}/fd").iterdir()):
        try:
            target = os.readlink(entry)
        except FileNotFoundError:  # closed meanwhile
            continue
        copy = _copy(process, int(entry.name)) if target in wanted else None
        # The number may be another's by now.
        if copy is not None and copy.getsockname()[1] == port:
            yield copy


def _copy(process: int, number: int) -> socket.socket | None:
    """A copy of the process's socket of this number; None where it has closed it."""
    libc = ctypes.CDLL(None, use_errno=True)
    copied = libc.syscall(_PIDFD_GETFD, process, number, 0)
    if copied < 0:
        error = ctypes.get_errno()
        if error == errno.EBADF:
            return None
        raise OSError(error, f"pidfd_getfd: {os.strerror(error)}")
    return socket.socket(fileno=copied)


def _inodes(pid: int, port: int, state: str) -> set[str]:
    """The sockets, as /proc names them, with this local port and state."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{table}")
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == state:
                found.add(f"socket:[{fields[9]}]")
    return found
