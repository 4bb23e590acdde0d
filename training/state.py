"""All that resuming needs, in one folder that is either complete or not there.

`state/step-00001200/` holds `state.json`, `model.safetensors` and `optimizer.safetensors`. There
is no random state to keep: the data order is a function of the seed and the epoch, dropout is
seeded from the seed and the step, and the learning rate is a function of the step.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from models.bundle import write_tensors


@dataclass
class TrainState:
    """Where a run stands, apart from its tensors."""

    step: int = 0
    """Optimiser steps done."""
    best_step: int = -1
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    validations_since_best: int = 0
    train_seconds: float = 0.0
    train_cpu_seconds: float = 0.0
    """Processor time of the main process in `train_seconds`; other load cannot stretch it much."""
    evaluation_seconds: float = 0.0
    data_seconds: float = 0.0
    """Reading, tokenising and splitting; again, though from the cache, at every resuming."""
    teacher_seconds: float = 0.0
    """A teacher's forward passes, where it teaches this run first."""
    peak_bytes: int = 0
    """Memory; of all the processes that a run which was interrupted took."""
    train_reviews: int = 0
    """Reviews trained on during `train_seconds`, for the throughput."""
    train_tokens: int = 0
    running_loss: float = 0.0
    running_correct: float = 0.0
    running_reviews: int = 0
    """The three sums behind the train loss and accuracy since the last validation."""
    window: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Loss, correct, reviews and tokens since the last line of the history."""
    window_began: float = 0.0
    """`train_seconds` at that line."""
    history_bytes: int = 0
    """Length of history.jsonl at this step; what a killed run wrote after it is cut off."""
    scaler: dict[str, Any] | None = None
    """Of fp16's loss scaling."""
    trained_on: dict[str, str | int] = field(default_factory=dict)
    """`training.fingerprint` of the data; empty in a state that was saved before there was one."""
    stopped: str = ""
    """Empty while the run goes on; then why it ended."""


def save_state(folder: Path, state: TrainState, model: nn.Module, optimizer: Optimizer) -> None:
    """Write a state whole, then drop those before it."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{state.step:08d}"
    partial = folder / f".writing-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write_tensors(_model_tensors(model), partial / "model.safetensors")
    write_tensors(_optimizer_tensors(optimizer), partial / "optimizer.safetensors")
    (partial / "state.json").write_text(json.dumps(asdict(state), indent=1))
    for path in (*partial.iterdir(), partial):  # on the disk before those that it replaces go
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    partial.rename(final)
    for old in _complete(folder)[:-1]:
        shutil.rmtree(old)


def peek_state(folder: Path) -> TrainState | None:
    """The newest state without its tensors; None where there is none.

    Raises:
        ValueError: a damaged one.
    """
    complete = _complete(folder)
    return _read(complete[-1]) if complete else None


def load_state(folder: Path, model: nn.Module, optimizer: Optimizer) -> TrainState | None:
    """Put the newest state into `model` and `optimizer`; None where there is none.

    Raises:
        ValueError: a damaged one.
    """
    for leftover in folder.glob(".writing-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    complete = _complete(folder)
    if not complete:
        return None
    newest = complete[-1]
    state, tensors = _read(newest), _tensors(newest / "model.safetensors")
    stepped = _tensors(newest / "optimizer.safetensors")
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
    _load_optimizer(optimizer, stepped)
    return state


def _read(folder: Path) -> TrainState:
    path = folder / "state.json"
    try:
        return TrainState(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: damaged ({error}); train from the beginning with --restart, or "
                      "give another folder")  # fmt: skip


def _complete(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _model_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone()
            for name, tensor in model.state_dict().items()}  # fmt: skip


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """`{parameter index}.{name}`, such as `3.exp_avg`; the hyperparameters are the config's."""
    return {
        f"{index}.{name}": value.detach().cpu().contiguous().clone()
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def _load_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        entries.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
