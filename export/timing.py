"""Times of several backends in one run, taken in turns, so that what slows the machine slows all.

Seconds are wall-clock. A measure of one process's start and memory takes a process of its own.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.backends import Backend
from export.cases import padded_batches

# A backend's threads take milliseconds to get their core after another's call: PyTorch's spin on
# it, ONNX Runtime's sleep. So a call is timed among calls of its own backend.
SETTLE = 0.01  # seconds

Ids = NDArray[np.int64]
Advance = Callable[[], None]

_COLD = """
import json, sys, time
import numpy
from export.backends import open_backend
folder, name, length, device = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
ids = numpy.ones((1, length), numpy.int64)
backend = open_backend(folder, name, threads=1, device=device)
backend(ids, ids)
try:  # not getrusage: its peak is the parent's, where that was larger, even after exec
    with open("/proc/self/status") as file:
        peak = 1024 * int(next(line for line in file if line.startswith("VmHWM")).split()[1])
except FileNotFoundError:  # not Linux
    from resource import RUSAGE_SELF, getrusage
    peak = getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"peak": peak}))
"""


def latency(
    backends: dict[str, Backend], length: int, rounds: int, advance: Advance, pause: float = 0.0
) -> dict[str, dict[str, float]]:
    """Milliseconds of one review of `length` tokens: name -> p50, p90, p99 over `rounds` calls,
    each after `pause` seconds of nothing."""
    random = np.random.default_rng(0)
    vocabulary_size = min(backend.vocabulary_size for backend in backends.values())
    input_ids = random.integers(1, vocabulary_size, (1, length))
    batches = [(input_ids, np.ones_like(input_ids))]
    times = in_turns(backends, batches, rounds, advance, pause)
    return {
        name: {f"p{q}": float(np.percentile(each, q)) * 1e3 for q in (50, 90, 99)}
        for name, each in times.items()
    }


def throughput(
    backends: dict[str, Backend],
    rows: list[list[int]],
    batch_size: int,
    rounds: int,
    advance: Advance,
) -> dict[str, float]:
    """Reviews a second, of real reviews in their own order, padded to the longest of each batch:
    from the median time of each batch over `rounds`."""
    batches = list(padded_batches(rows, batch_size))
    times = in_turns(backends, batches, rounds, advance)
    return {
        name: len(rows) / float(np.median(np.reshape(each, (rounds, -1)), axis=0).sum())
        for name, each in times.items()
    }


def cold_start(
    folder: Path, name: str, length: int, rounds: int, device: str = "cpu"
) -> dict[str, float]:
    """From the start of Python to the first logits, in seconds, and the process's peak memory, not
    the GPU's, in bytes: medians over `rounds` processes. `ValueError` where one fails, with what it
    said last."""
    command = [sys.executable, "-c", _COLD, str(folder), name, str(length), device]
    seconds, peaks = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            last = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ValueError(
                f"{name}: a process that opens it ended with status {run.returncode} ({last})"
            )
        seconds.append(time.perf_counter() - start)
        peaks.append(json.loads(run.stdout)["peak"])
    return {"seconds": float(np.median(seconds)), "peak_bytes": float(np.median(peaks))}


def tokenising(tokenizer: Any, texts: list[str], max_length: int) -> float:
    """Seconds a review, one review a call on one thread, the median over the texts."""
    tokenizer.enable_truncation(max_length)
    times = []
    for text in texts:
        start = time.perf_counter()
        tokenizer.encode(text)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def in_turns(
    backends: dict[str, Backend],
    batches: list[tuple[Ids, Ids]],
    rounds: int,
    advance: Advance,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Seconds of every call, round by round: each round runs each batch on every backend, and
    begins with another backend than the round before. Each timed call follows untimed ones of one
    review on the same backend, and a pause of so many seconds."""
    names = list(backends)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:  # what a first call sets up is not what is measured here
        for input_ids, attention_mask in batches:
            backends[name](input_ids, attention_mask)
    for turn in range(rounds):
        first = turn % len(names)
        for input_ids, attention_mask in batches:
            for name in names[first:] + names[:first]:
                start = time.perf_counter()
                while time.perf_counter() - start < SETTLE:
                    backends[name](input_ids[:1], attention_mask[:1])
                if pause:
                    time.sleep(pause)
                start = time.perf_counter()
                backends[name](input_ids, attention_mask)
                times[name].append(time.perf_counter() - start)
        advance()
    return times
