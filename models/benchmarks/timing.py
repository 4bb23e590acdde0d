"""Implementations timed in turns, and the JSON that comes of it."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], object]
Key = tuple[str, ...]


def medians(calls: dict[Key, Call], rounds: int, device: torch.device) -> dict[Key, float]:
    """Median seconds of each call; a round makes each once, so that all meet the same machine."""
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(rounds + 1):
        for key, call in calls.items():
            began = time.perf_counter()
            call()
            wait_for(device)
            if number:  # the first round warms up
                seconds[key].append(time.perf_counter() - began)
    return {key: statistics.median(values) for key, values in seconds.items()}


def wait_for(device: torch.device) -> None:
    """Returns when the device has done what it was given: a GPU computes behind the caller."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


DTYPES = {"float32": torch.float32, "tf32": torch.float32,
          "bfloat16": torch.bfloat16, "float16": torch.float16}  # fmt: skip


def computing_in(precision: str) -> torch.dtype:
    """The dtype of one of `DTYPES`; has both our products and cuDNN's use TF32 for "tf32", and none
    of them otherwise: by default cuDNN alone does, which would compare two precisions."""
    allowed = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    return DTYPES[precision]


def check_device(parser: argparse.ArgumentParser, given: str) -> torch.device:
    """The device that `--device` names; a usage error where it is not here."""
    if given == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device; leave it out for the CPU")
    return torch.device(given)


def passes(
    run: Callable[..., Tensor], inputs: list[Tensor], leaves: Iterable[Tensor]
) -> dict[str, Call]:
    """`run(*inputs)` alone, and with its backward pass, which gives `leaves` their gradients."""
    leaves = list(leaves)

    def train() -> None:
        for leaf in leaves:
            leaf.grad = None
        outputs = run(*inputs)
        outputs.backward(torch.ones_like(outputs))

    @torch.inference_mode()
    def infer() -> None:
        run(*detached)

    detached = [tensor.detach() for tensor in inputs]
    return {"training": train, "inference": infer}


def write(
    path: Path,
    module: str,
    arguments: list[str] | None,
    rows: list[dict[str, Any]],
    device: torch.device,
) -> None:
    """`rows` with how they were made, as JSON; whole or not at all."""
    result = {
        "command": " ".join(
            [f"python -m models.benchmarks.{module}", *(arguments or sys.argv[1:])]
        ),
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)
