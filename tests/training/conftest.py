"""A small experiment on embedded reviews, by its command: in this process, or in another."""

import io
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from training.__main__ import main

SMALL = ["data.vocabulary_size=600", "data.max_length=48", "model.arguments.embedding_size=8",
         "model.arguments.hidden_size=8", "train.epochs=2", "train.batch_size=32",
         "train.save_every=5", "train.log_every=3", "train.tracker=none"]  # fmt: skip

Command = Callable[..., list[str]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenised once for all tests of a session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(cache: Path) -> Command:
    """`small(output, *settings)`: the arguments of `python -m training` for a run of seconds."""

    def arguments(output: Path, *settings: str, data: str = "embedded:400") -> list[str]:
        return ["--experiment", "demo", "--data", data, "--output", str(output),
                "--set", *SMALL, f"data.cache_dir={cache}", *settings]  # fmt: skip

    return arguments


@pytest.fixture
def train(
    small: Command, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`python -m training` to its end, in this process: to start one takes longer than to train."""

    def call(output: Path, *settings: str, check: bool = True, **keywords: str):
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # as `environment` hides GPUs
        out, errors = io.StringIO(), io.StringIO()
        arguments = small(output, *settings, **keywords)
        AcceleratorState._reset_state(reset_partial_state=True)  # as a new process begins
        with redirect_stdout(out), redirect_stderr(errors):
            status = main(arguments)
        AcceleratorState._reset_state(reset_partial_state=True)
        done = subprocess.CompletedProcess(arguments, status, out.getvalue(), errors.getvalue())
        assert not check or status == 0, done.stderr
        return done

    return call
