"""Feeds the endpoint's core what a fuzzer thinks of, led by coverage; needs `pip install atheris`.

    python tests/serve/fuzz.py --seconds 300

The core is all between TorchServe and the model: reading of bodies, answering, and the reading of
TorchServe's socket. Whatever a stranger sends:

- the status is 200, 400, 413, 415 or 422, the answer JSON; nothing is raised;
- an error repeats nothing of what was sent;
- a good request beside it is answered as if it were alone;
- the buffered reader of the socket finds what TorchServe's own finds.

`tests/serve/test_fuzz.py` runs the same checks, without atheris, on bytes of its own.
"""

import argparse
import json
import os
import random
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

import serve.buffered_socket
import serve.classifier
import serve.requests
import serve.responses
from serve.buffered_socket import Reader, read_requests
from serve.classifier import TextClassifier
from serve.problems import Problem
from serve.requests import Limits, read_request
from serve.responses import Identity, Response, answer

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # TorchServe leaves its version's file open
    from ts.protocol import otf_message_handler

CANARY = "zqxj"
LIMITS = Limits(body_bytes=4000, text_bytes=200, items=6)
STATUSES = (200, 400, 413, 415, 422)
TYPES = (
    "application/json", "text/plain", "application/json; charset=utf-8", "application/ld+json",
    "text/plain; charset=latin-1", "multipart/form-data; boundary=x", "", None,
)  # fmt: skip
NAMES = (
    "text", "explain", "instances", "inputs", "parameters", "id", "name", "shape", "datatype",
    "data", "outputs", "other",
)  # fmt: skip
GOOD = (b'{"text": "very good"}', "application/json")
DEEPEST = 6
SEEDS = 32  # inputs to begin with: from none, long ones are found late


class Bytes:
    """Decisions out of a fuzzer's bytes; zeros when they are used up."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> bytes:
        taken = self._data[self._place : self._place + count]
        self._place += count
        return taken

    def number(self, below: int) -> int:
        return int.from_bytes(self.take(1) or b"\0") % below

    def pick(self, values: Any) -> Any:
        return values[self.number(len(values))]


def json_value(source: Bytes, depth: int = 0) -> Any:
    """A JSON value near the protocols: their names, texts, and what does not belong."""
    kind = source.number(10 if depth < DEEPEST else 6)
    if kind < 2:
        return CANARY + source.take(source.number(24)).decode("latin-1")
    if kind == 2:  # halves of a pair, which JSON can say and UTF-8 cannot, among them
        return source.pick(("\ud83d", "\ude00", "\U0001f600", "", "e\u0301"))
    if kind == 3:
        return source.pick((None, True, False, 0, -1, 1e308, float("nan"), 10**30))
    if kind == 4:
        return source.pick(("text", "BYTES", "FP32", "a" * 201, "ß" * 101, "\0", " \n"))
    if kind == 5:
        return source.number(8)
    if kind < 8:
        return [json_value(source, depth + 1) for _ in range(source.number(8))]
    return {source.pick(NAMES): json_value(source, depth + 1) for _ in range(source.number(6))}


def v2_request(source: Bytes) -> dict[str, Any]:
    """A whole request with any id, which values put together at random hardly ever are."""
    data = [source.pick(("good", "very bad", "\ud83d", ""))]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": data}
    return {"id": json_value(source, DEEPEST), "inputs": [tensor]}


def requests_of(source: Bytes) -> list[tuple[bytes, str | None]]:
    """Up to four requests: body and Content-Type."""
    found = []
    for _ in range(source.number(4) + 1):
        kind = source.pick(TYPES)
        if source.number(3) == 0:
            body = source.take(source.number(256))
        elif source.number(4) == 0:
            body = b"[" * source.number(256) * 64  # deeper than Python's recursion
        else:
            value = v2_request(source) if source.number(4) == 0 else json_value(source)
            try:
                body = json.dumps(value, ensure_ascii=source.number(2) == 0).encode()
            except UnicodeEncodeError:
                body = b'"\xed\xa0\x80"'  # a surrogate, as UTF-8 must not have it
        found.append((body, kind))
    return found


def make_classifier() -> TextClassifier:
    """A tokenizer of words, and a model that adds up their numbers."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "very": 2, "good": 3, "bad": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

    def backend(input_ids: Any, attention_mask: Any) -> Any:
        total = (input_ids * attention_mask).sum(axis=1).astype(np.float32)
        return np.stack([-total / 10, total / 10], axis=1)

    return TextClassifier(tokenizer, backend, ["negative", "positive"], max_length=16)


CLASSIFIER, IDENTITY = make_classifier(), Identity("tiny", "1.0")


def respond(batch: list[tuple[bytes, str | None]]) -> list[Response]:
    """As the handler does it."""
    read: list[Any] = []
    for body, kind in batch:
        try:
            read.append(read_request(body, kind, LIMITS))
        except Problem as problem:
            read.append(problem)
    return answer(read, CLASSIFIER, IDENTITY)[0]


ALONE = respond([GOOD])[0]


def check_requests(source: Bytes) -> None:
    """A batch of strange requests around a good one."""
    batch = requests_of(source)
    place = source.number(len(batch) + 1)
    batch.insert(place, GOOD)
    responses = respond(batch)
    assert len(responses) == len(batch)
    assert responses[place] == ALONE, "a neighbour changed the answer to a good request"
    for response in responses:
        assert response.status in STATUSES, response.status
        sent = json.dumps(response.body, ensure_ascii=False)
        sent.encode("utf-8")
        if response.status != 200:
            assert CANARY not in sent, "an error repeats what was sent"


def message_of(source: Bytes) -> bytes:
    """A batch as TorchServe's front end writes it."""

    def string(value: bytes) -> bytes:
        return struct.pack("!i", len(value)) + value

    end = struct.pack("!i", -1)
    message = b"I"
    for _ in range(source.number(4)):
        message += string(source.take(36))
        for _ in range(source.number(6)):
            message += string(source.take(source.number(20))) + string(
                source.take(source.number(99))
            )
        message += end
        for _ in range(source.number(3)):
            name = source.take(source.number(9)).decode("latin-1").encode()
            message += string(name) + string(source.pick(TYPES[:4]).encode())
            message += string(source.take(source.number(256)))
        message += end
    return message + end


class Chunks:
    """A socket that gives at most so many bytes at a time."""

    def __init__(self, data: bytes, longest: int) -> None:
        self._data, self._longest = data, longest

    def recv(self, count: int) -> bytes:
        count = min(count, self._longest)
        part, self._data = self._data[:count], self._data[count:]
        return part


def check_socket(source: Bytes) -> None:
    """The buffered reader beside TorchServe's own, on the same bytes."""
    longest = source.number(64) + 1
    message = message_of(source)
    reader = Reader(Chunks(message, longest))  # type: ignore[arg-type]
    assert reader.take(1) == b"I"
    stock = otf_message_handler._retrieve_inference_msg(Chunks(message[1:], longest))
    assert read_requests(reader) == stock


CHECKS: tuple[Callable[[Bytes], None], ...] = (check_requests, check_socket)


def check(data: bytes) -> None:
    """One input: its first byte says which check."""
    source = Bytes(data)
    source.pick(CHECKS)(source)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python tests/serve/fuzz.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=int, default=300, metavar="N", help="default: 300")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="keep what was found here")
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit(f"{parser.prog}: atheris is not installed; run: pip install atheris")
    os.environ["TS_DECODE_INPUT_REQUEST"] = "false"  # as the server sets it
    for module in (serve.requests, serve.responses, serve.classifier, serve.buffered_socket):
        for value in vars(module).values():
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                atheris.instrument_func(value)
    with tempfile.TemporaryDirectory() as made:
        corpus = options.corpus or Path(made)
        corpus.mkdir(parents=True, exist_ok=True)
        for seed in range(SEEDS):
            (corpus / f"seed-{seed}").write_bytes(random.Random(seed).randbytes(1000))
        limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=60"]
        found = f"-artifact_prefix={corpus}/found-"
        atheris.Setup([sys.argv[0], *limits, found, str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
