"""The buffered reader against TorchServe's own, on the same bytes, cut anywhere."""

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ts.protocol import otf_message_handler

from serve import buffered_socket
from serve.buffered_socket import Reader, install, read_requests


class Pieces:
    """A connection that gives its bytes in pieces of these sizes, never more than asked for."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes, self.calls = data, list(sizes), 0

    def recv(self, count: int) -> bytes:
        self.calls += 1
        size = min(count, self.sizes.pop() if self.sizes else count)
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def string(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


END = struct.pack("!i", -1)
NAMES = st.text(max_size=12).map(str.encode)
REQUESTS = st.tuples(
    st.uuids().map(lambda value: str(value).encode()),
    st.lists(st.tuples(NAMES, NAMES), max_size=4),
    st.lists(st.tuples(NAMES, st.just(b"application/x"), st.binary(max_size=300)), max_size=3),
)


def encode(requests: list[Any]) -> bytes:
    """A batch as TorchServe's front end writes it."""
    message = b""
    for request_id, headers, inputs in requests:
        message += string(request_id)
        message += b"".join(string(name) + string(value) for name, value in headers) + END
        message += b"".join(b"".join(map(string, each)) for each in inputs) + END
    return b"I" + message + END


@given(
    batches=st.lists(st.lists(REQUESTS, max_size=4), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 90), max_size=60),
)
def test_it_reads_what_torchserves_reader_reads(batches: list[Any], sizes: list[int]) -> None:
    data = b"".join(map(encode, batches))
    stock, pieces = Pieces(data, []), Pieces(data, sizes)
    reader = Reader(pieces)  # type: ignore[arg-type]
    for _ in batches:
        command, expected = otf_message_handler.retrieve_msg(stock)
        assert reader.take(1) == command == b"I"
        assert read_requests(reader) == expected


def test_one_call_reads_a_whole_batch() -> None:
    request = (b"id", [(b"a", b"b")] * 20, [(b"body", b"application/json", b"{}")])
    stock, buffered = Pieces(encode([request] * 8), []), Pieces(encode([request] * 8), [])
    otf_message_handler.retrieve_msg(stock)
    reader = Reader(buffered)  # type: ignore[arg-type]
    assert reader.take(1) == b"I" and len(read_requests(reader)) == 8
    assert buffered.calls == 1
    assert stock.calls > 8 * 80


def test_a_closed_connection_ends_the_worker_as_torchserves_reader_does() -> None:
    with pytest.raises(SystemExit) as caught:
        Reader(Pieces(b"I\0", [])).take(5)  # type: ignore[arg-type]
    assert caught.value.code == 0


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A main module that looks like TorchServe's worker."""
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "TorchModelServiceWorker", object, raising=False)
    monkeypatch.setattr(main, "retrieve_msg", otf_message_handler.retrieve_msg, raising=False)
    yield main


def test_it_takes_the_place_of_the_workers_reader_and_leaves_other_commands_to_it(
    worker: Any,
) -> None:
    ours, theirs = socket.socketpair()
    load = b"L" + string(b"tiny") + string(b"/m") + struct.pack("!i", 8) + string(b"h")
    load += struct.pack("!i", -1) + string(b"") + b"\1"
    with ours, theirs:
        theirs.sendall(encode([(b"id", [], [(b"body", b"text/plain", b"good")])]) + load)
        assert install()
        command, requests = worker.retrieve_msg(ours)
        assert command == b"I" and requests[0]["parameters"][0]["value"] == b"good"
        command, message = worker.retrieve_msg(ours)
        assert command == b"L" and message["modelName"] == b"tiny" and message["batchSize"] == 8


def test_it_stays_away_from_another_version_or_place(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buffered_socket, "VERSION", "0.11.1")
    assert not install()
    assert worker.retrieve_msg is otf_message_handler.retrieve_msg
    monkeypatch.undo()
    assert not install()  # the main module is pytest's again
