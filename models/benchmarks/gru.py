"""The GRU from its equations against `nn.GRU`, and against the loop as one would first write it.

    python -m models.benchmarks.gru --output docs/benchmarks/gru.json

Interleaved in one process: every round times each implementation once, with its backward pass and
without. Medians, and ratios to `nn.GRU` (above 1: faster than it). "products" is the least that any
implementation of the forward pass has to do: the inputs' product, and the state's at every step.
On a GPU `nn.GRU` is cuDNN's, and ours may take its steps by one kernel: `--device cuda --dtype
float32 tf32 bfloat16 --recurrence loop triton`.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.benchmarks.timing import (
    DTYPES,
    Call,
    Key,
    check_device,
    computing_in,
    medians,
    passes,
    write,
)
from models.command import command
from models.gru import GRU, side_by_side
from models.recurrence import use

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


class Both(nn.Module):
    """Two directions of our own, side by side or one after the other."""

    def __init__(self, width: int, hidden: int, together: bool) -> None:
        super().__init__()
        self.ways = nn.ModuleList([GRU(width, hidden), GRU(width, hidden)])
        self.together = together

    def forward(self, inputs: Tensor, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """As a bidirectional `nn.GRU`, but for the final states, which nothing here reads."""
        ahead, back = self.ways
        assert isinstance(ahead, GRU) and isinstance(back, GRU)
        flipped = inputs.flip(1)
        if self.together:
            forward, backward = side_by_side([ahead, back], [inputs, flipped], hidden_states)
        else:
            forward, backward = (
                ahead(inputs, hidden_states[:1])[0],
                back(flipped, hidden_states[1:])[0],
            )
        return torch.cat([forward, backward.flip(1)], dim=2), hidden_states


@command
def main(arguments: list[str] | None = None) -> int:
    """Time every shape, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m models.benchmarks.gru", description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shape", type=int, nargs=4, action="append", metavar=("B", "T", "I", "H"))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", nargs="+", choices=list(DTYPES), default=["float32"])
    parser.add_argument("--recurrence", nargs="+", choices=("loop", "triton"), default=["loop"],
                        help="how ours takes its steps")  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/gru.json"))
    given = parser.parse_args(arguments)
    device = check_device(parser, given.device)
    if "triton" in given.recurrence and device.type != "cuda":
        parser.error("--recurrence triton: needs --device cuda")
    rows: list[dict[str, Any]] = []
    for threads, precision, backend in product(given.threads, given.dtype, given.recurrence):
        torch.set_num_threads(threads)
        use(backend)
        dtype = computing_in(precision)
        for shape in given.shape or SHAPES:
            found = measure(tuple(shape), given.rounds, device, dtype)
            made = {"threads": threads, "dtype": precision, "recurrence": backend}
            rows += [made | row for row in found]
    write(given.output, "gru", arguments, rows, device)
    for row in rows:
        print(
            f"{row['threads']} threads {row['dtype']:<8} {row['recurrence']:<6} "
            f"{row['shape']!s:>20} {row['what']:<9} "
            f"{row['implementation']:<23} {1e3 * row['seconds']:9.2f} ms "
            f"{row['ratio_to_nn_gru']:5.2f} x nn.GRU"
        )
    return 0


def measure(
    shape: tuple[int, int, int, int], rounds: int, device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """A row for each implementation and pass; `shape` is (B, T, I, H), seconds are medians."""
    batch_size, steps, width, hidden = shape
    models: dict[tuple[str, str], nn.Module] = {
        ("nn.GRU", "nn.GRU"): nn.GRU(width, hidden, batch_first=True),
        ("GRU", "nn.GRU"): GRU(width, hidden),
        ("loop", "nn.GRU"): LoopGRU(width, hidden),
        ("nn.GRU, both directions", "nn.GRU, both directions"): nn.GRU(
            width, hidden, batch_first=True, bidirectional=True
        ),
        ("GRU, side by side", "nn.GRU, both directions"): Both(width, hidden, True),
        ("GRU, one by one", "nn.GRU, both directions"): Both(width, hidden, False),
    }
    options: Any = {"device": device, "dtype": dtype}
    inputs = torch.randn(batch_size, steps, width, **options, requires_grad=True)
    calls: dict[Key, Call] = {}
    for (name, peer), model in models.items():
        model.to(**options)
        state = torch.zeros(1 + ("both" in peer), batch_size, hidden, **options)
        leaves = [inputs, *model.parameters()]

        def run(x: Tensor, model: nn.Module = model, state: Tensor = state) -> Tensor:
            outputs: Tensor = model(x, state)[0]
            return outputs

        for what, call in passes(run, [inputs], leaves).items():
            calls[name, peer, what] = call
    calls["products", "nn.GRU", "inference"] = products(inputs, hidden)
    found = medians(calls, rounds, device)
    return [
        {
            "shape": list(shape),
            "what": what,
            "implementation": name,
            "seconds": seconds,
            "ratio_to_nn_gru": found[peer, peer, what] / seconds,
        }
        for (name, peer, what), seconds in found.items()
    ]


def products(inputs: Tensor, hidden: int) -> Call:
    """The matrix products of one direction's forward pass, in the fastest form found."""
    x = inputs.detach()
    w_i, w_h = x.new_ones(3 * hidden, x.shape[2]), x.new_ones(hidden, 3 * hidden)
    state, gates = x.new_ones(len(x), hidden), x.new_ones(len(x), 3 * hidden)

    @torch.inference_mode()
    def run() -> None:
        F.linear(x, w_i)
        for _ in range(x.shape[1]):
            torch.mm(state, w_h, out=gates)

    return run


if __name__ == "__main__":
    raise SystemExit(main())
