"""`python -m serve ask`: a real endpoint, started, asked over HTTP and stopped; and mistakes."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serve import ask_command

PATIENCE = 120  # seconds on a busy machine; alone it takes three


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "serve", "ask", *map(str, arguments)]


def is_refused(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_bundle_is_started_asked_over_http_and_gone(bundle: Path) -> None:
    done = subprocess.run(
        command(bundle, "a very good book", "bad", "good " * 40),
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    ready, *answers, stopped = done.stdout.splitlines()
    found = re.fullmatch(r"ready     (http://127\.0\.0\.1:\d+)/predictions/tiny/1\.0 .* s", ready)
    assert found and is_refused(found[1])
    assert [line.split()[0] for line in answers] == ["positive", "negative", "positive"]
    # e^4 / (1 + e^4): "bad" alone leans by 2 either way
    assert "98.2% in" in answers[1]
    assert answers[2].endswith("(cut)")
    assert stopped == "stopped   drained, nothing left behind"


def test_a_text_that_is_not_taken_is_named_by_its_place(bundle: Path) -> None:
    done = subprocess.run(
        command(bundle, "good", " ", "bad"), capture_output=True, text=True, timeout=PATIENCE
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and "text 2: empty" in line


def test_a_terminated_one_leaves_nothing_behind(bundle: Path) -> None:
    with subprocess.Popen(
        command(bundle, *["good"] * 20_000), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as asking:  # fmt: skip
        assert asking.stdout is not None and asking.stderr is not None
        assert asking.stdout.readline().startswith("ready")
        started = psutil.Process(asking.pid).children(recursive=True)
        assert started
        asking.send_signal(signal.SIGTERM)
        assert asking.wait(PATIENCE) == 130
        assert "interrupted" in asking.stderr.read()
    assert not any(process.is_running() for process in started)


def test_what_is_left_behind_is_named(tmp_path: Path) -> None:
    server = SimpleNamespace(alive=lambda: True, instance=SimpleNamespace(folder=tmp_path))
    found = ask_command.leftovers(server, [os.getpid()])  # type: ignore[arg-type]
    assert found == ["Java's process", f"worker {os.getpid()}", f"folder {tmp_path}"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "good"], 2, "no config.json in it"),
        (["http://127.0.0.1:{port}/x", "good", "--workers", "3"], 2, "--workers: http://127.0.0.1"),
        (["nowhere", "good", "--token-file", "key.json"], 2, "--token-file"),
        (["http://127.0.0.1:{port}/predictions/tiny", "good"], 1, "no answer after 5 attempts"),
        (
            ["http://127.0.0.1:{port}/predictions/tiny", "good", "--token-file", "no.json"],
            2,
            "token file no.json: not there",
        ),
        (
            ["http://127.0.0.1:{port}/predictions/tiny", "good", "--token-file", "/"],
            2,
            "token file /: cannot be read",
        ),
        (["ftp://127.0.0.1/tiny", "good"], 2, "no config.json in it"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("serve.client.FIRST_PAUSE", 0.01)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        filled = [each.format(port=closed.getsockname()[1]) for each in arguments]
        assert ask_command.main(filled) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1
