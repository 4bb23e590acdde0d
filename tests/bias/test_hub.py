"""A name that is neither here nor to be had: one line, after one short question to the hub."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.utils
import pytest
from huggingface_hub import constants

from bias.__main__ import main
from training import hub


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    hub.hub_answers.cache_clear()
    yield
    hub.hub_answers.cache_clear()


class Unplugged:
    """A session without a network."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    def head(self, url: str, timeout: float) -> None:
        self.asked.append((url, timeout))
        raise OSError("Name or service not known")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the hub's client was let loose: {name}")


def test_without_a_network_an_unknown_name_is_one_line_after_one_question(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Unplugged()
    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: session)
    monkeypatch.setattr("huggingface_hub.utils._http.get_session", lambda: session)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited for a retry"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert main(["nobody/no-such-model", "--output", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody/no-such-model: cannot be loaded" in line
    assert "no such folder, and the hub does not answer" in line
    assert session.asked == [(constants.ENDPOINT, hub.PATIENCE)]
    assert not (tmp_path / "out").exists()


def test_a_hub_that_answers_anything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        assert hub.hub_answers()
        server.shutdown()


def test_offline_by_wish_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert not hub.hub_answers()
