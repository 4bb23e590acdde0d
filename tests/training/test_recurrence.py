"""`train.recurrence`: refused where it cannot be had, and the same training where it can."""

import importlib.util
import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest


def interpreter_is_old() -> bool:
    """Whether Triton's interpreter fails with NumPy 2.4, where there is one."""
    try:
        return tuple(map(int, version("triton").split(".")[:2])) < (3, 9)
    except PackageNotFoundError:
        return False


CUSTOM = ["model.architecture=custom-gru", "train.max_steps=4", "train.log_every=1",
          "train.epochs=1"]  # fmt: skip


def test_a_model_that_has_no_use_for_it_is_refused(tmp_path: Path, train) -> None:
    refused = train(tmp_path / "run", "train.recurrence=triton", check=False)
    assert refused.returncode == 2 and not (tmp_path / "run").exists()
    assert "train.recurrence=triton: on a GPU gru-encoder does not" in refused.stderr


def test_without_a_gpu_or_triton_it_is_refused(tmp_path: Path, train) -> None:
    refused = train(tmp_path / "run", *CUSTOM, "train.recurrence=triton", check=False)
    assert refused.returncode == 2 and not (tmp_path / "run").exists()
    assert re.search(r"recurrence=triton: (needs a GPU|No module named .triton)", refused.stderr)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
@pytest.mark.skipif(interpreter_is_old(), reason="Triton's interpreter needs 3.9 with NumPy 2.4")
def test_it_learns_as_the_loop_does(tmp_path: Path, small, environment: dict[str, str]) -> None:
    """Triton interpreted, so that no GPU is needed."""

    def losses(backend: str, **variables: str) -> list[float]:
        run = tmp_path / backend
        command = [sys.executable, "-m", "training",
                   *small(run, *CUSTOM, f"train.recurrence={backend}")]  # fmt: skip
        done = subprocess.run(command, env=environment | variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("Triton" in done.stderr) == (backend == "triton")
        lines = map(json.loads, (run / "history.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["kind"] == "train"]

    loop = losses("loop")
    assert len(loop) == 4 and loop[0] != loop[-1]
    assert losses("triton", TRITON_INTERPRET="1") == pytest.approx(loop, rel=1e-4)
