"""What a review costs in floating-point operations, and how many a second a device gives.

Their ratio is the share of the peak that training reaches (MFU; Chowdhery et al. 2022,
https://arxiv.org/abs/2204.02311, appendix B). T tokens of a review.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.benchmarks.timing import wait_for
from training.benchmarks.reference_loop import TorchsOwn

_SIDES = {"cuda": (4096, 8192), "cpu": (512, 1024)}  # of the square matrices
_TRIES = 10
_ENOUGH = 1.0  # seconds of tries
_LENGTHS = (32, 64, 96)


def counted(model: nn.Module, length: int) -> int:
    """Operations of a training step, forward and backward, on one review of `length` tokens.

    A multiplication and an addition are two. `model` is on the CPU, whose operators the counter
    sees: it knows neither cuDNN's GRU nor our own, nor the CPU's fused attention.
    """
    ids, labels = torch.ones(1, length, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        F.cross_entropy(TorchsOwn(model)(ids, torch.ones_like(ids)), labels).backward()
    return counter.get_total_flops()


def mean_operations(model: nn.Module, lengths: NDArray[np.integer]) -> float:
    """The mean of `counted` over reviews of these lengths (N,), none of them padded: what has to be
    computed, whatever a loop computes besides."""
    # Products are linear in T and attention is quadratic, so that three lengths tell all.
    found = np.polyfit(_LENGTHS, [counted(model, length) for length in _LENGTHS], 2)
    return float(np.polyval(found, lengths.astype(np.float64)).mean())


def peak(device: torch.device, precision: str) -> float:
    """Operations a second of the fastest of a few large products: what this device gives now.

    `precision` is "bfloat16", "float32" or "tf32", which is float32 by tensor cores.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    best = 0.0
    with _tf32(precision == "tf32"):
        for side in _SIDES[device.type]:
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
            first = time.perf_counter()
            for _ in range(_TRIES):
                wait_for(device)
                began = time.perf_counter()
                a @ b
                wait_for(device)
                best = max(best, 2 * side**3 / (time.perf_counter() - began))
                if time.perf_counter() - first > _ENOUGH:  # as where bfloat16 is emulated
                    break
    return best


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
