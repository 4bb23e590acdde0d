"""Commands that are stopped, or that the disk refuses, end in one line."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from models.bundle import write_tensors
from models.command import command

ROOT = Path(__file__).parents[1]
MAINS = [path.relative_to(ROOT).as_posix() for package in ("models", "training", "export", "serve",
         "bias") for path in sorted((ROOT / package).rglob("*.py"))
         if "def main(" in path.read_text(encoding="utf-8")]  # fmt: skip


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 2,
         "error: [Errno 13] Permission denied: 'runs/x'\n"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), 2,
         "error: [Errno 28] No space left on device: 'a/b'\n"),
        (ValueError("--limit: got 0;\n  give at least 1"), 2,
         "error: --limit: got 0; give at least 1\n"),
    ],
)  # fmt: skip
def test_what_ends_a_command_is_one_line(
    raised: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main() -> int:
        raise raised

    assert main() == status and capsys.readouterr().err == said


@pytest.mark.parametrize("path", MAINS)
def test_every_command_ends_so(path: str) -> None:
    assert "@command\ndef main(" in (ROOT / path).read_text(encoding="utf-8")


def test_ctrl_c_while_data_is_made_is_no_traceback(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    run = tmp_path / "run"
    given = [sys.executable, "-m", "training", "--experiment", "demo", "--output", str(run),
               "--data", "embedded:200000", "--set", f"data.cache_dir={tmp_path}"]  # fmt: skip
    with subprocess.Popen(
        given, env=environment, stderr=subprocess.PIPE, text=True,
        # a shell has its background jobs ignore it, and they their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        until = time.monotonic() + 100
        while not list(tmp_path.glob("*.lock")) and time.monotonic() < until:
            time.sleep(0.05)  # until the vocabulary is made
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors and not run.exists()


def test_a_reader_that_leaves_early_is_no_traceback(environment: dict[str, str]) -> None:
    given = f"{sys.executable} -m training --list | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", given], env=environment,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.stderr == ""


def test_tensors_that_do_not_fit_on_the_disk_are_an_os_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("models.bundle.save_file", full)
    with pytest.raises(OSError, match=r"weights: cannot be written: .*No space left"):
        write_tensors({"weight": torch.ones(2)}, tmp_path / "weights")
