"""Stops another process from taking requests, and waits until it has answered those it took.

TorchServe resets the requests in flight when it is told to stop, and has no way to be told to take
no more. On Linux its parent can do that: `pidfd_getfd` (Linux 5.6) gives a copy of its listening
socket, and `shutdown` on it ends the listening for all. The connections' own copies then tell, by
TCP_INFO, which last received and which last sent: the former wait for an answer.
"""

import ctypes
import errno
import fcntl
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
# In Linux's struct tcp_info (uapi/linux/tcp.h): milliseconds since data was sent and received, and
# the bytes received and sent (Linux 4.19) in all.
_LAST_SENT, _LAST_RECEIVED, _BYTES_RECEIVED, _BYTES_SENT = 44, 52, 128, 200
_INFO_SIZE = 208
# The two times tick with the kernel (1 to 10 ms): where they are equal, nobody knows which came
# first. An answer settles it; without one for this long, a connection that has had answers is taken
# to be idle.
TIE_PATIENCE_MS = 2000
_POLL = 0.0002
_LOOK_UP = 0.05  # seconds between looking for connections that were not known yet
_ESTABLISHED_NOW = 1  # in TCP_INFO's first byte


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


@dataclass
class _Watched:
    """A copy of a connection's socket, and the bytes it had received and sent in all when it was
    last looked at."""

    copy: socket.socket
    received: int = -1
    sent: int = 0
    answered: int = -1
    """The bytes received when an answer was seen to go out."""

    def is_done(self) -> bool:
        """Whether it waits for no answer, or either side has closed it."""
        info = self.copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        if info[0] != _ESTABLISHED_NOW:
            return True
        (received,) = struct.unpack_from("Q", info, _BYTES_RECEIVED)
        (sent,) = struct.unpack_from("Q", info, _BYTES_SENT)
        if received == self.received and sent > self.sent:
            self.answered = received
        self.received, self.sent = received, sent
        if not received:
            return True
        if not sent or _unsent(self.copy):
            return False
        if self.answered == received:
            return True
        (since_sent,) = struct.unpack_from("I", info, _LAST_SENT)
        (since_received,) = struct.unpack_from("I", info, _LAST_RECEIVED)
        return since_sent < since_received or (
            since_sent == since_received and since_sent > TIE_PATIENCE_MS
        )


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
