"""The token that a proxy reads: there from the start, true after every refresh, gone at the end."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import serve.nginx_token
from serve.client import Client, TokenRefused
from serve.management import Management
from serve.nginx_token import NginxToken
from serve.served_model import Model
from serve.server import Server
from serve.server_config import ServerConfig

LINE = re.compile(r'set \$endpoint_token "([^"]+)";\n')


class Scripted(Management):
    """A TorchServe that gives tokens by numbers, good for so many seconds."""

    def __init__(self, key_file: Path, seconds: float) -> None:
        super().__init__(0, key_file)
        self.seconds, self.given = seconds, 0
        self.refresh("inference")

    def refresh(self, kind: str) -> None:
        assert kind == "inference"
        self.given += 1
        expires = (datetime.now(UTC) + timedelta(seconds=self.seconds)).isoformat()[:-6] + "Z"
        token = {"key": f"token-{self.given}", "expiration time": expires}
        content = {"inference": token, "management": token, "API": {"key": "api"}}
        self.key_file.write_text(json.dumps(content))


def token_in(path: Path) -> str:
    match = LINE.fullmatch(path.read_text())
    assert match
    return match[1]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_file_follows_the_tokens_and_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve.nginx_token, "PERIOD", 0.02)
    management, path = Scripted(tmp_path / "keys", seconds=3600), tmp_path / "token.conf"
    keeper = NginxToken(path, management, token_minutes=60)
    keeper.start()
    assert token_in(path) == "token-1" and path.stat().st_mode & 0o777 == 0o600
    management.refresh("inference")  # another client's
    wait_until(lambda: token_in(path) == "token-2")
    management.seconds = 50  # less than a minute: it is refreshed ahead, each time
    management.refresh("inference")
    wait_until(lambda: int(token_in(path).partition("-")[2]) > 4)
    keeper.stop()
    keeper.stop()
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]


def test_a_file_that_cannot_be_written_for_a_while_is_said_once_and_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve.nginx_token, "PERIOD", 0.02)
    folder = tmp_path / "mounted"
    folder.mkdir()
    management = Scripted(tmp_path / "keys", seconds=3600)
    keeper = NginxToken(folder / "token.conf", management, token_minutes=60)
    keeper.start()
    folder.rename(tmp_path / "away")
    management.refresh("inference")
    time.sleep(0.3)
    folder.mkdir()
    wait_until((folder / "token.conf").exists)
    assert token_in(folder / "token.conf") == "token-2"
    keeper.stop()
    said = capsys.readouterr().err
    assert said.startswith("--nginx-token-file: not up to date") and len(said.splitlines()) == 1


def test_what_cannot_be_written_is_refused_before_anything_starts(
    bundle: Path, tmp_path: Path
) -> None:
    for path in (tmp_path / "none" / "token.conf", tmp_path):
        config = ServerConfig(nginx_token_file=path)
        with (
            pytest.raises(ValueError, match=r"--nginx-token-file: .* cannot be written"),
            Server([Model(bundle, "tiny")], config),
        ):
            pass


def test_a_proxy_has_a_token_that_works_after_the_first_expired(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token.conf"
    path.write_text("an earlier start's")
    config = ServerConfig(nginx_token_file=path, token_minutes=0.1)
    with Server([Model(bundle, "tiny")], config) as server:
        first = token_in(path)
        wait_until(lambda: token_in(path) != first)
        url = f"{server.url}/predictions/tiny"
        assert Client(url, token=token_in(path)).predict(["good"])[0].label == "positive"
        with pytest.raises(TokenRefused):
            Client(url, token=first).predict(["good"])
    assert not path.exists()
    assert capfd.readouterr().err == ""
