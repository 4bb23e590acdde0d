"""Stepping only the rows in use gives what PyTorch's dense AdamW gives."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.optim import AdamW

from training.row_wise import RowWise

VOCABULARY, WIDTH, STEPS = 40, 3, 700  # more steps than the tail of a momentum is followed
BETAS, DECAY = (0.9, 0.999), 0.05


class _Ids:
    """Stands for a token table: what `begin` asks of one."""

    def __init__(self, ids: list[list[int]]) -> None:
        self._ids = ids

    def ids(self, i: int) -> np.ndarray:
        return np.array(self._ids[i])


def _rate(step: int) -> float:
    return 0.01 * (1 - step / STEPS)


def _uses() -> list[list[int]]:
    """The tokens of each step: some in most, some hardly ever or never, one only at first."""
    random = np.random.default_rng(0)
    likely = random.random(VOCABULARY) ** 4
    likely[-3:] = 0
    uses = [list(np.flatnonzero(random.random(VOCABULARY) < likely)) for _ in range(STEPS)]
    uses[0].append(VOCABULARY - 1)
    return uses


def _gradient(step: int, scale: float) -> torch.Tensor:
    """Of every row, (V, D); a step takes those of its rows."""
    generator = torch.Generator().manual_seed(step)
    return scale * torch.randn(VOCABULARY, WIDTH, generator=generator, dtype=torch.float64)


def _dense(uses: list[list[int]], epsilon: float, scale: float) -> torch.Tensor:
    table = _table()
    optimizer = AdamW([table], betas=BETAS, eps=epsilon, weight_decay=DECAY)
    for step, used in enumerate(uses):
        optimizer.param_groups[0]["lr"] = _rate(step)
        table.grad = torch.zeros_like(table)
        table.grad[used] = _gradient(step, scale)[used]
        optimizer.step()
    return table.detach()


def _table() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, VOCABULARY * WIDTH, dtype=torch.float64)
                        .reshape(VOCABULARY, WIDTH))  # fmt: skip


def _row_wise(uses: list[list[int]], epsilon: float, scale: float) -> torch.Tensor:
    table, tokens = _table(), _Ids(uses)
    optimizer = AdamW([table], betas=BETAS, eps=epsilon, weight_decay=DECAY, fused=True)
    rows = RowWise(table, optimizer, _rate, BETAS, epsilon, DECAY)
    for step, used in enumerate(uses):
        optimizer.param_groups[0]["lr"] = _rate(step)
        rows.begin(step, tokens, np.array([step]))
        local = rows.local(torch.tensor(used, dtype=torch.int64))
        table.grad = torch.zeros_like(table)
        table.grad[local] = _gradient(step, scale)[used]
        optimizer.step()
        rows.end(step)
        if step % 100 == 17:
            rows.flush(step + 1)
    rows.flush(STEPS)
    return table.detach()


@pytest.mark.parametrize(
    ("epsilon", "scale", "tolerance"),
    [
        (1e-40, 1e-3, 1e-9),  # without epsilon nothing is approximated: float64's sums of 700 terms
        (1e-8, 1e-3, 1e-6),  # epsilon is 1e-4 of sqrt(v)
        (1e-8, 1e-7, 5e-4),  # epsilon is larger than sqrt(v); of weights near 1
    ],
)
def test_rows_that_slept_come_to_where_dense_adamw_has_them(epsilon, scale, tolerance) -> None:
    uses = _uses()
    dense, sparse = _dense(uses, epsilon, scale), _row_wise(uses, epsilon, scale)
    assert (dense - _table()).abs().max() > 0.1  # there is something to be wrong about
    torch.testing.assert_close(sparse, dense, rtol=0, atol=tolerance)


SETTINGS = ["model.arguments.dropout=0.3", "train.micro_batch_size=11", "train.epochs=2"]
ROW_WISE = "train.row_wise_embeddings=true"


def _weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "best/model.safetensors")


TRANSFORMER = "model.arguments={embed_dim: 8, hidden_dim: 8, num_heads: 2}"


@pytest.mark.parametrize(
    ("architecture", "own"),
    [
        ("gru-encoder", SETTINGS),
        ("gru-encoder-decoder", SETTINGS),
        ("custom-gru", SETTINGS),
        ("transformer", [TRANSFORMER, "train.max_gradient_norm=1.0"]),
    ],
)
def test_a_run_trains_the_model_that_dense_adamw_trains(tmp_path, train, architecture, own) -> None:
    dense, sparse = tmp_path / "dense", tmp_path / "sparse"
    settings = [f"model.architecture={architecture}", *own]
    train(dense, *settings)
    train(sparse, *settings, ROW_WISE)
    ours, theirs = _weights(sparse), _weights(dense)
    for name, value in theirs.items():
        # A key's bias moves no attention weight, so that its gradient is rounding and nothing else.
        if not name.endswith("attn.key.bias"):
            # AdamW divides by the gradient's own size: float32 rounding is carried over the steps
            np.testing.assert_allclose(ours[name], value, atol=2e-4, err_msg=name)


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, train, small, environment) -> None:
    """Rows are asleep where it stops, between two validations."""
    undisturbed, run = tmp_path / "undisturbed", tmp_path / "run"
    settings = [*SETTINGS, "train.evaluations_per_epoch=1", "train.save_every=1000",
                "train.log_every=1", ROW_WISE]  # fmt: skip
    train(undisturbed, *settings)
    command = [sys.executable, "-m", "training", *small(run, *settings)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    history = run / "history.jsonl"
    while not (history.exists() and '"step": 7,' in history.read_text()):
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)
    assert not (run / "result.json").exists()
    assert "resuming after step" in train(run, *settings).stderr
    same = [(p / "best/model.safetensors").read_bytes() for p in (undisturbed, run)]
    assert same[0] == same[1]


def test_two_processes_train_the_model_that_one_trains(tmp_path, train, small, environment) -> None:
    """The table is left out of the wrapper's all-reduce, and summed by rows."""
    alone, run = tmp_path / "alone", tmp_path / "run"
    settings = ["model.arguments.dropout=0.0", "train.epochs=1", ROW_WISE]
    train(alone, *settings, data="embedded:333")
    config = Path(__file__).parents[2] / "accelerate_configs/cpu_two_processes.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
               "-m", "training", *small(run, *settings, data="embedded:333")]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300,
        env=environment | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "result.json").read_text())["machine"]["processes"] == 2
    for name, value in _weights(alone).items():
        # as above: float32 sums in another order
        np.testing.assert_allclose(_weights(run)[name], value, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.architecture=ngram-bag", "ngram-bag has no table"),
        ("train.compile=true", "not with train.compile"),
    ],
)
def test_what_cannot_be_had_together_is_refused(tmp_path, train, setting, said) -> None:
    model = (
        ["model.arguments={embedding_size: 8}", "initial.deviation=null"]
        if "ngram" in setting
        else ["model.architecture=transformer", "model.arguments={embed_dim: 8, hidden_dim: 8}"]
    )
    refused = train(tmp_path / "run", *model, setting, ROW_WISE, check=False)
    assert refused.returncode == 2
    assert "train.row_wise_embeddings" in refused.stderr and said in refused.stderr
