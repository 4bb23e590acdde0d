"""The steps of `models.recurrence` as two Triton kernels: every step in one launch.

A loop in Python launches five kernels a step; on a GPU that is all the time it takes. Here a
program owns some rows of the batch in one direction and takes all of their steps itself, so that
nothing has to be agreed on between programs: the state goes through memory, which the threads of
a program share behind a barrier. It reads the weights anew at every step, from the GPU's cache.

Optional: `models.recurrence.use("triton")` imports it. Rounding apart it gives what the loop
gives. With `TRITON_INTERPRET=1` in the environment Triton runs it on CPU tensors.

B batch, T steps, H hidden size, D directions.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)  # which Triton settles as it reads the kernels
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ROWS, COLUMNS, DEPTH = 16, 64, 64  # of a product at a time: of the batch, of H, summed over


def takes(tensor: Tensor) -> bool:
    """Whether kernels run on this tensor: on a GPU, or interpreted."""
    return tensor.is_cuda or INTERPRETED


def advance(states: Tensor, gates: Tensor, n: Tensor, w_h: Tensor) -> None:
    """Fills `states` (T + 1, B, D, H) from the first on.

    Args:
        gates: (at least T, B, D, 3H). The inputs' share of the arguments of r and z with all
            biases, and the candidate's b_h; afterwards r, z and the state's share of the candidate.
        n: (at least T, B, D, H). The inputs' share of the candidate with b_i; afterwards the
            candidate.
        w_h: (D, 3H, H).
    """
    _check(states, gates, n, w_h)
    steps, batch, directions, hidden = len(states) - 1, *states.shape[1:]
    _launch(_advance, (states, gates, n, w_h), steps, batch, directions, hidden)


def retreat(state: Tensor, z: Tensor, gates: Tensor, w_h: Tensor) -> None:
    """Steps back: turns the gradients of the results into those of the states, `state`
    (T + 1, B, D, H), and the factors `gates` (T, B, D, 3, H) into the gradients of the gates.

    Args:
        z: (T, B, D, H), its rows 3H apart: a part of what `advance` left in `gates`.
    """
    _check(state, gates, w_h)
    steps, batch, directions, hidden = z.shape
    assert z.stride() == (batch * directions * 3 * hidden, directions * 3 * hidden, 3 * hidden, 1)
    _launch(_retreat, (state, z, gates, w_h), steps, batch, directions, hidden)


def _launch(kernel: Any, tensors: tuple[Tensor, ...], steps: int, batch: int, directions: int,
            hidden: int) -> None:  # fmt: skip
    """One program for some rows of the batch in one direction."""
    kernel[triton.cdiv(batch, ROWS), directions](
        *tensors, steps, batch, directions,
        HIDDEN=hidden, ROWS=ROWS, COLUMNS=COLUMNS, DEPTH=DEPTH, PRECISION=_precision(),
    )  # fmt: skip


def _check(*tensors: Tensor) -> None:
    assert all(tensor.is_contiguous() for tensor in tensors)
    dtype = tensors[0].dtype
    if dtype not in DTYPES:
        raise ValueError(
            f"the Triton recurrence computes in {', '.join(map(str, DTYPES))}, not {dtype}; "
            'use("loop") takes any'
        )


def _precision() -> str:
    """Of float32 products: what PyTorch's own have."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


@triton.jit
def _advance(states, gates, n, w_h, steps, batch, directions,
             HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
             PRECISION: tl.constexpr):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = (row < batch)[:, None]
    direction = tl.program_id(1)
    place = (row * directions + direction)[:, None]  # of a row among those of one step
    w_h += direction * 3 * HIDDEN * HIDDEN
    next_states = states + batch * directions * HIDDEN
    for _ in range(steps):
        for first in range(0, HIDDEN, COLUMNS):
            column = first + tl.arange(0, COLUMNS)[None, :]
            known = here & (column < HIDDEN)
            gate = gates + place * (3 * HIDDEN) + column
            state = place * HIDDEN + column
            r = tl.load(gate, known, 0).to(tl.float32)
            z = tl.load(gate + HIDDEN, known, 0).to(tl.float32)
            from_h = tl.load(gate + 2 * HIDDEN, known, 0).to(tl.float32)
            for start in range(0, HIDDEN, DEPTH):
                k = start + tl.arange(0, DEPTH)
                h = tl.load(states + place * HIDDEN + k[None, :],
                            here & (k < HIDDEN)[None, :], 0)  # fmt: skip
                w = w_h + column * HIDDEN + k[:, None]  # of W_hᵀ, (DEPTH, COLUMNS)
                inside = (column < HIDDEN) & (k < HIDDEN)[:, None]
                r = tl.dot(h, tl.load(w, inside, 0), r, input_precision=PRECISION)
                w += HIDDEN * HIDDEN
                z = tl.dot(h, tl.load(w, inside, 0), z, input_precision=PRECISION)
                w += HIDDEN * HIDDEN
                from_h = tl.dot(h, tl.load(w, inside, 0), from_h, input_precision=PRECISION)
            r, z = 1 / (1 + tl.exp(-r)), 1 / (1 + tl.exp(-z))
            argument = tl.load(n + state, known, 0).to(tl.float32) + r * from_h
            candidate = 2 / (1 + tl.exp(-2 * argument)) - 1  # tanh
            before = tl.load(states + state, known, 0).to(tl.float32)
            tl.store(gate, r, known)
            tl.store(gate + HIDDEN, z, known)
            tl.store(gate + 2 * HIDDEN, from_h, known)
            tl.store(n + state, candidate, known)
            tl.store(next_states + state, candidate + z * (before - candidate), known)
        tl.debug_barrier()  # the next step reads what other threads wrote
        states = next_states
        next_states += batch * directions * HIDDEN
        gates += batch * directions * 3 * HIDDEN
        n += batch * directions * HIDDEN


@triton.jit
def _retreat(gradients, z, gates, w_h, steps, batch, directions,
             HIDDEN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
             PRECISION: tl.constexpr):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = (row < batch)[:, None]
    direction = tl.program_id(1)
    place = (row * directions + direction)[:, None]
    w_h += direction * 3 * HIDDEN * HIDDEN
    for back in range(steps):
        step = steps - 1 - back
        a_step = tl.cast(batch * directions * HIDDEN, tl.int64)
        earlier = gradients + step * a_step
        after = earlier + a_step
        gates_t = gates + step * 3 * a_step
        z_t = z + step * 3 * a_step
        for first in range(0, HIDDEN, COLUMNS):
            column = first + tl.arange(0, COLUMNS)[None, :]
            known = here & (column < HIDDEN)
            gradient = tl.load(after + place * HIDDEN + column, known, 0).to(tl.float32)
            for gate in range(3):
                factor = gates_t + place * (3 * HIDDEN) + gate * HIDDEN + column
                tl.store(factor, tl.load(factor, known, 0).to(tl.float32) * gradient, known)
        tl.debug_barrier()  # every column's product is over all gates
        for first in range(0, HIDDEN, COLUMNS):
            column = first + tl.arange(0, COLUMNS)[None, :]
            known = here & (column < HIDDEN)
            state = place * HIDDEN + column
            total = tl.load(earlier + state, known, 0).to(tl.float32)
            kept = tl.load(z_t + place * (3 * HIDDEN) + column, known, 0).to(tl.float32)
            total += kept * tl.load(after + state, known, 0).to(tl.float32)
            for start in range(0, 3 * HIDDEN, DEPTH):
                k = start + tl.arange(0, DEPTH)
                g = tl.load(gates_t + place * (3 * HIDDEN) + k[None, :],
                            here & (k < 3 * HIDDEN)[None, :], 0)  # fmt: skip
                w = tl.load(w_h + k[:, None] * HIDDEN + column,
                            (k < 3 * HIDDEN)[:, None] & (column < HIDDEN), 0)  # fmt: skip
                total = tl.dot(g, w, total, input_precision=PRECISION)
            tl.store(earlier + state, total, known)
        tl.debug_barrier()  # the step before reads what other threads wrote
