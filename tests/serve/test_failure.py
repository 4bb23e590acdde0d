"""Why a start failed, read from its own logs and not from those of an earlier start."""

from pathlib import Path

import pytest

from serve.failure import Logs

# As TorchServe 0.12 writes it of a worker that ends while it loads.
DIED = """\
2026-01-01T10:00:00,000 W-9000-tiny_1.0-stdout - Backend worker process died.
2026-01-01T10:00:00,000 W-9000-tiny_1.0-stdout - Traceback (most recent call last):
2026-01-01T10:00:00,000 W-9000-tiny_1.0-stdout -   File "x.py", line 1, in <module>
2026-01-01T10:00:00,000 W-9000-tiny_1.0-stdout - module.Fail: no such model
"""
REASON = "a worker did not load the model: Fail: no such model"
TAKEN = "java.net.BindException: Address already in use\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_an_earlier_starts_failure_is_not_this_ones(tmp_path: Path) -> None:
    empty = Logs(tmp_path)
    append(tmp_path / "worker.log", DIED)
    append(tmp_path / "server.log", TAKEN)
    assert empty.explain_failure(None) == REASON
    logs = Logs(tmp_path)
    assert logs.explain_failure(None) is None and logs.last_line() == ""
    assert logs.explain_failure(1) == "Java ended with status 1: it said nothing"
    append(tmp_path / "server.log", "warned\n\n")
    assert logs.explain_failure(1) == "Java ended with status 1: warned"
    assert logs.last_line() == "warned"
    append(tmp_path / "worker.log", DIED)
    assert logs.explain_failure(None) == REASON


@pytest.mark.parametrize("longer", [False, True])
def test_a_log_that_was_rolled_is_read_from_its_beginning(tmp_path: Path, longer: bool) -> None:
    worker = tmp_path / "worker.log"
    worker.write_text("x" * 20 + "\n" if longer else "old\n" * 1000)
    logs = Logs(tmp_path)
    worker.rename(tmp_path / "worker.1.log")
    append(worker, DIED)
    assert logs.explain_failure(None) == REASON


def test_a_log_that_was_emptied_is_read_from_its_beginning(tmp_path: Path) -> None:
    worker = tmp_path / "worker.log"
    worker.write_text("old\n" * 1000)
    logs = Logs(tmp_path)
    worker.write_text(DIED)
    assert logs.explain_failure(None) == REASON
