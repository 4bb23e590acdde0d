"""The GRU from its equations against `nn.GRU`, and against the loop as one would first write it.

    python -m models.benchmarks.gru --output docs/benchmarks/gru.json

Interleaved in one process: every round times each implementation once, with its backward pass and
without. Medians, and ratios to `nn.GRU` (above 1: faster than it).
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.gru import GRU

SHAPES = ((32, 256, 256, 256), (1, 128, 256, 256))
"""B reviews, T steps, I input size, H hidden size."""


class LoopGRU(GRU):
    """The four equations, step by step, with nothing gathered: the form they are published in."""

    def forward(self, inputs: Tensor, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """As `GRU.forward`."""
        h, states = hidden_states[0], []
        for x in inputs.unbind(1):
            r = torch.sigmoid(x @ self.w_ir.T + self.b_ir + h @ self.w_hr.T + self.b_hr)
            z = torch.sigmoid(x @ self.w_iz.T + self.b_iz + h @ self.w_hz.T + self.b_hz)
            n = torch.tanh(x @ self.w_in.T + self.b_in + r * (h @ self.w_hn.T + self.b_hn))
            h = (1 - z) * n + z * h
            states.append(h)
        return torch.stack(states, dim=1), h.unsqueeze(0)


def main(arguments: list[str] | None = None) -> int:
    """Time every shape, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m models.benchmarks.gru", description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shape", type=int, nargs=4, action="append", metavar=("B", "T", "I", "H"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/gru.json"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = []
    for shape in given.shape or SHAPES:
        rows += measure(tuple(shape), given.rounds, torch.device(given.device))
    result = {
        "command": " ".join(["python -m models.benchmarks.gru", *(arguments or sys.argv[1:])]),
        "torch": torch.__version__,
        "threads": given.threads,
        "rows": rows,
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"{row['shape']!s:>22} {row['what']:<9} {row['implementation']:<8} "
            f"{1e3 * row['seconds']:9.2f} ms  {row['ratio_to_nn_gru']:5.2f} x nn.GRU"
        )
    return 0


def measure(
    shape: tuple[int, int, int, int], rounds: int, device: torch.device
) -> list[dict[str, Any]]:
    """A row for each implementation and pass; `shape` is (B, T, I, H), seconds are medians."""
    batch_size, steps, width, hidden = shape
    models = {
        "nn.GRU": nn.GRU(width, hidden, batch_first=True),
        "GRU": GRU(width, hidden),
        "loop": LoopGRU(width, hidden),
    }
    inputs = torch.randn(batch_size, steps, width, device=device, requires_grad=True)
    state = torch.zeros(1, batch_size, hidden, device=device)
    calls = {
        (name, what): _call(model.to(device), inputs, state, what)
        for name, model in models.items()
        for what in ("training", "inference")
    }
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(rounds + 1):
        for key, call in calls.items():
            elapsed = _timed(call, device)
            if number:  # the first round warms up
                seconds[key].append(elapsed)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    return [
        {
            "shape": list(shape),
            "what": what,
            "implementation": name,
            "seconds": median,
            "ratio_to_nn_gru": medians["nn.GRU", what] / median,
        }
        for (name, what), median in medians.items()
    ]


def _call(model: nn.Module, inputs: Tensor, state: Tensor, what: str) -> Callable[[], None]:
    def train() -> None:
        model.zero_grad()
        inputs.grad = None
        model(inputs, state)[0].sum().backward()

    @torch.inference_mode()
    def infer() -> None:
        model(inputs.detach(), state)

    return train if what == "training" else infer


def _timed(call: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
