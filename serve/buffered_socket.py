"""TorchServe 0.12.0's worker reads its socket with one system call a protocol field, some eighty a
request; this reads what is there in one, and parses the bytes.

It replaces `ts.model_service_worker`'s `retrieve_msg` inside the worker, only for the version whose
protocol it knows, and only where the switch is set. The message ("Flushing" a batch) is:

    command 'I'; per request: id, headers (name, value)* -1, inputs (name, type, value)* -1; -1

where each string is a big-endian int32 length and its bytes, and -1 is an int32.
"""

import logging
import socket
import struct
import sys
from typing import Any

VERSION = "0.12.0"
SWITCH = "TEXT_CLASSIFIER_BUFFERED_SOCKET"  # environment; "1" switches it on
CHUNK = 1 << 16
_INT = struct.Struct("!i")
_LOAD, _PREDICT = b"L", b"I"


class Reader:
    """A socket read in chunks. `SystemExit` where the other side closed, as the worker expects."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""
        self._place = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self._place + count
        if end > len(self._data):
            self._fill(count)
            end = count
        taken = self._data[self._place : end]
        self._place = end
        return taken

    def string(self) -> bytes | None:
        """The next string, None for the end of a list."""
        (length,) = _INT.unpack(self.take(4))
        return None if length == -1 else self.take(length)

    def _fill(self, count: int) -> None:
        parts = [self._data[self._place :]]
        missing = count - len(parts[0])
        while missing > 0:
            part = self._connection.recv(max(CHUNK, missing))
            if not part:
                logging.info("Frontend disconnected.")
                sys.exit(0)
            parts.append(part)
            missing -= len(part)
        self._data, self._place = b"".join(parts), 0


def read_requests(reader: Reader) -> list[dict[str, Any]]:
    """The requests of one batch, as TorchServe's reader gives them, bodies as bytes."""
    requests = []
    while (request_id := reader.string()) is not None:
        headers = []
        while (name := reader.string()) is not None:
            headers.append({"name": name, "value": reader.string()})
        inputs = []
        while (name := reader.string()) is not None:
            kind = (reader.string() or b"").decode("utf-8")
            value = reader.string()
            inputs.append({"name": name.decode("utf-8"), "contentType": kind, "value": value})
        requests.append({"requestId": request_id, "headers": headers, "parameters": inputs})
    return requests


def install() -> bool:
    """Puts the reader in the place of TorchServe's; whether it did. Only inside a worker.

    TorchServe sends nothing between a model's loading and the answer to it, so that no byte is lost
    between the two readers.
    """
    import ts

    worker = sys.modules.get("__main__")
    if ts.__version__.strip() != VERSION or not hasattr(worker, "TorchModelServiceWorker"):
        logging.warning(
            "buffered socket: not used: it knows TorchServe %s, this is %s",
            VERSION,
            ts.__version__.strip(),
        )
        return False
    stock = worker.retrieve_msg  # type: ignore[union-attr]
    readers: dict[int, Reader] = {}

    def retrieve(connection: socket.socket) -> tuple[bytes, Any]:
        reader = readers.get(id(connection)) or readers.setdefault(
            id(connection), Reader(connection)
        )
        command = reader.take(1)
        if command == _PREDICT:
            return command, read_requests(reader)
        return command, stock(_Replay(command, reader))[1]

    worker.retrieve_msg = retrieve  # type: ignore[union-attr]
    return True


class _Replay:
    """A connection for the stock reader: the command again, then what the buffered one has."""

    def __init__(self, command: bytes, reader: Reader) -> None:
        self._first, self._reader = command, reader

    def recv(self, count: int) -> bytes:
        first, self._first = self._first, b""
        return first or self._reader.take(count)
