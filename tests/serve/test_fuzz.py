"""The fuzzer's checks (`fuzz.py`) on bytes of our own; and that they see what is broken."""

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest

from serve.buffered_socket import Reader
from serve.responses import Response

ROUNDS = 400


@pytest.fixture(scope="module")
def fuzz() -> Any:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).with_name("fuzz.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def as_the_server_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")


def run(fuzz: Any, rounds: int = ROUNDS) -> None:
    chance = random.Random(0)
    for _ in range(rounds):
        fuzz.check(chance.randbytes(chance.randrange(2000)))


def test_no_bytes_break_the_core(fuzz: Any) -> None:
    run(fuzz)


def test_all_statuses_are_reached(fuzz: Any) -> None:
    chance, found = random.Random(1), set()
    for _ in range(ROUNDS):
        batch = fuzz.requests_of(fuzz.Bytes(chance.randbytes(2000)))
        found |= {response.status for response in fuzz.respond(batch)}
    assert found == set(fuzz.STATUSES)


def test_an_exception_is_found(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes, *_: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(fuzz, "read_request", broken)
    with pytest.raises(KeyError):
        run(fuzz)


def test_an_error_that_repeats_what_was_sent_is_found(
    fuzz: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = fuzz.respond

    def talkative(batch: list[tuple[bytes, str | None]]) -> list[Response]:
        return [
            each if each.status == 200 else Response(each.status, {"error": body.decode("latin-1")})
            for each, (body, _) in zip(honest(batch), batch, strict=True)
        ]

    monkeypatch.setattr(fuzz, "respond", talkative)
    with pytest.raises(AssertionError, match="repeats"):
        run(fuzz)


def test_a_reader_that_loses_a_byte_is_found(fuzz: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Reader.take

    def careless(reader: Reader, count: int) -> bytes:
        return honest(reader, count)[: max(4, count - 1)]

    monkeypatch.setattr(Reader, "take", careless)
    with pytest.raises(AssertionError):
        run(fuzz)
