"""A small experiment on embedded reviews, run as its user runs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
    small: Command, environment: dict[str, str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m training` to its end."""

    def call(output: Path, *settings: str, check: bool = True, **keywords: str):
        command = [sys.executable, "-m", "training", *small(output, *settings, **keywords)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert not check or done.returncode == 0, done.stderr
        return done

    return call
