"""`python -m training` on a GPU, in bf16: the loss falls, and an interrupted run goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.cuda

RECURRENT: list[str] = []  # of the small experiment itself
TRANSFORMER = ["model.architecture=transformer", "model.arguments={embed_dim: 16, hidden_dim: 32}"]
BF16 = ["train.mixed_precision=bf16", "train.learning_rate=0.02", "train.epochs=12",
        "train.save_every=10"]  # fmt: skip


def _history(run: Path) -> list[dict[str, Any]]:
    path = run / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("model", [RECURRENT, TRANSFORMER], ids=["gru", "transformer"])
def test_the_loss_falls_and_an_interrupted_run_goes_on(model: list[str], tmp_path, small) -> None:
    run = tmp_path / "run"
    arguments = small(run, *BF16, *model)
    if model:  # the sizes there are a GRU's
        arguments = [a for a in arguments if not a.startswith("model.arguments.")]
    command = [sys.executable, "-m", "training", *arguments]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while first.poll() is None and not _history(run) and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "resuming after step" in done.stderr

    result = json.loads((run / "result.json").read_text())
    assert result["memory"]["device"] == "cuda"
    losses = [line["loss"] for line in _history(run) if line["kind"] == "train"]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
