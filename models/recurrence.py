"""The steps of a GRU in few, large operations, with a backward pass written by hand.

Autograd over a Python loop keeps some ten results a step and replays as many small operations.
Here a step forward is one product and four element-wise operations, in place; the derivatives of
the gates are computed for all steps at once; a step of the backward pass is one product and two
element-wise operations; and the gradient of each weight matrix is a single product over all steps
(Appleyard et al. 2016, https://arxiv.org/abs/1604.01946, section 3). Directions that are read side
by side share the element-wise operations of their steps.

B batch, T steps, I input size, H hidden size, D directions. The gates are stacked in the order
r, z, n.
"""

from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

# Inference computes the inputs' share of the gates for some steps ahead: for few enough that it is
# still in the cache when its step comes, for enough that one product is worth it.
STEPS_AHEAD = 32
ELEMENTS_AHEAD = 2**17  # of states, over those steps
# From so many elements a step on, tanh a = 2σ(2a) − 1 costs less on a CPU than torch's tanh, though
# it is one operation more.
WIDE = 2048

_kernels: ModuleType | None = None


def use(backend: str) -> None:
    """Has every recurrence of this process, of tensors on a GPU, take its steps from now on by
    "loop", PyTorch's operations, or "triton", one kernel for all steps.

    Raises:
        ValueError: another name, or no Triton here.
    """
    global _kernels
    if backend not in ("loop", "triton"):
        raise ValueError(f"recurrence={backend}: loop or triton")
    try:
        _kernels = import_module("models.triton_recurrence") if backend == "triton" else None
    except ImportError as error:
        raise ValueError(
            f"recurrence=triton: {error}; it comes with PyTorch for CUDA, or: pip install triton"
        ) from error


def kernels_for(tensor: Tensor) -> ModuleType | None:
    """The kernels, where they are wanted and run on this tensor's device."""
    return _kernels if _kernels is not None and _kernels.takes(tensor) else None


def unrolled(
    inputs: Tensor, initial: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor
) -> Tensor:
    """The states after each step, (B, T, H), by operations that autograd, TorchScript and
    torch.export follow.

    Args:
        inputs: (B, T, I). initial: the state (B, H).
        w_i: (3H, I). w_h: (3H, H). b_i, b_h: (3H,).
    """
    # The inputs' share of every gate at every step is one product; only the state's share has
    # to wait for the step before. `unbind`, unlike indexing, has a backward linear in T.
    hidden_size = w_h.shape[1]
    gates, candidate = F.linear(inputs, w_i, b_i).split(  # (B, T, 2H), (B, T, H)
        [2 * hidden_size, hidden_size], dim=2
    )
    gates_by_step = gates.unbind(1)
    candidate_by_step = candidate.unbind(1)

    h = initial
    states: list[Tensor] = []
    for step in range(len(gates_by_step)):
        from_h = F.linear(h, w_h, b_h)  # (B, 3H)
        gates_h, candidate_h = from_h.split([2 * hidden_size, hidden_size], dim=1)
        r, z = torch.sigmoid(gates_by_step[step] + gates_h).chunk(2, dim=1)  # (B, H) each
        n = torch.tanh(candidate_by_step[step] + r * candidate_h)  # (B, H)
        h = n + z * (h - n)  # (1 − z) ⊙ n + z ⊙ h with one product fewer
        states.append(h)
    return torch.stack(states, dim=1)


def recurrence(*arguments: Tensor) -> Tensor:
    """The states after each step, (T, B, D, H), of D directions, each read from step 0 on.

    Differentiable, twice too. Exports follow `unrolled` instead.

    Args:
        arguments: inputs (D, T, B, I), initial states (D, B, H), w_i (D, 3H, I), w_h (D, 3H, H),
            b_i (D, 3H), b_h (D, 3H); all of one dtype and on one device.
    """
    if torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments):
        states: Tensor = Recurrence.apply(*arguments)[0]
        return states
    inputs, initial = arguments[:2]
    chunk = inputs.shape[1]
    if not kernels_for(initial):
        chunk = min(chunk, STEPS_AHEAD, max(1, ELEMENTS_AHEAD // max(1, initial.numel())))
    return _forward(chunk, *arguments)[0][1:]


def _forward(
    chunk: int, inputs: Tensor, initial: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All states (T + 1, B, D, H); and of the last `chunk` steps r, z and the state's share of the
    candidate (chunk, B, D, 3H), and the candidate (chunk, B, D, H)."""
    directions, steps, batch_size, width = inputs.shape
    hidden = w_h.shape[2]
    states = initial.new_empty(steps + 1, batch_size, directions, hidden)
    states[0] = initial.transpose(0, 1)
    gates = initial.new_empty(chunk, batch_size, directions, 3 * hidden)
    n = initial.new_empty(chunk, batch_size, directions, hidden)
    gates_ahead = gates.view(-1, directions, 3 * hidden)[..., : 2 * hidden].unbind(1)
    n_ahead = n.view(-1, directions, hidden).unbind(1)
    b_gates = torch.cat([b_i[:, : 2 * hidden] + b_h[:, : 2 * hidden], b_h[:, 2 * hidden :]], dim=1)
    kernels = kernels_for(initial)
    wide = not kernels and initial.device.type == "cpu" and initial.numel() >= WIDE
    if kernels:
        advance = partial(kernels.advance, gates=gates, n=n, w_h=w_h)
    else:
        # Contiguous: else the product would transpose the matrix again at every step.
        matrices = [w.t().contiguous() for w in w_h]  # (H, 3H) each
        advance = partial(_advance, views=_views(gates, n), matrices=matrices, wide=wide)
    scale = 2 if wide else 1  # of the candidate's argument
    for start in range(0, steps, chunk):
        x = inputs[:, start : start + chunk].reshape(directions, -1, width)  # (D, chunk · B, I)
        gates.copy_(b_gates)
        n.copy_(scale * b_i[:, 2 * hidden :])
        for x_d, gates_d, n_d, w_d in zip(x, gates_ahead, n_ahead, w_i, strict=True):
            gates_d[: len(x_d)].addmm_(x_d, w_d[: 2 * hidden].t())
            n_d[: len(x_d)].addmm_(x_d, w_d[2 * hidden :].t(), alpha=scale)
        advance(states[start : start + chunk + 1])
    return states, gates, n


Views = list[tuple[tuple[Tensor, ...], Tensor, Tensor, Tensor, Tensor, Tensor]]


def _views(gates: Tensor, n: Tensor) -> Views:
    """Of each step: the gates of each direction (B, 3H), then over all directions r and z (., 2H),
    r, z, the state's share of the candidate, and the candidate (., H)."""
    hidden = n.shape[3]
    flat = gates.flatten(1, 2)  # (chunk, B · D, 3H)
    by_direction = [part.unbind() for part in gates.unbind(2)]
    return list(
        zip(
            zip(*by_direction, strict=True),
            flat[..., : 2 * hidden].unbind(),
            flat[..., :hidden].unbind(),
            flat[..., hidden : 2 * hidden].unbind(),
            flat[..., 2 * hidden :].unbind(),
            n.flatten(1, 2).unbind(),
            strict=True,
        )
    )


def _advance(states: Tensor, views: Views, matrices: list[Tensor], wide: bool) -> None:
    """Fills `states` (steps + 1, B, D, H) from the first on; `views` hold the inputs' share of the
    gates, and afterwards the gates. `matrices` (H, 3H) are each direction's W_hᵀ. The
    candidate's argument, so far, is doubled where `wide`."""
    minus_one = states.new_full((), -1.0)
    flat = states.flatten(1, 2).unbind()
    by_direction = zip(*(part.unbind() for part in states.unbind(2)), strict=True)
    # Not strict: the last chunk may have fewer steps than there are views.
    for h_d, h, next_h, (gates_d, rz, r, z, from_h, n) in zip(by_direction, flat, flat[1:], views):  # noqa: B905
        for product, state, matrix in zip(gates_d, h_d, matrices):  # noqa: B905
            product.addmm_(state, matrix)
        rz.sigmoid_()
        if wide:
            n.addcmul_(r, from_h, value=2).sigmoid_()
            torch.add(minus_one, n, alpha=2, out=n)
        else:
            n.addcmul_(r, from_h).tanh_()
        torch.lerp(n, h, z, out=next_h)  # (1 − z) ⊙ n + z ⊙ h


class Recurrence(torch.autograd.Function):
    """`recurrence` where a gradient is wanted: of the same arguments the same result, then what
    backward needs."""

    @staticmethod
    def forward(*arguments: Tensor) -> tuple[Tensor, ...]:
        """As `_forward`, of all steps."""
        results = _forward(arguments[0].shape[1], *arguments)
        return results[0][1:], *results

    @staticmethod
    def setup_context(
        ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]
    ) -> None:
        """Keeps the arguments, and of the results all but the first."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the six arguments."""
        if grad is None:
            return (None,) * 6
        arguments, results = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        if not torch.is_grad_enabled():
            # A caller may go backward under autocast, which would round the products here.
            with torch.autocast(grad.device.type, enabled=False):
                return _backward(grad, *arguments, *results)
        # A gradient of the gradient is wanted: autograd's own.
        wanted = [a for a, needed in zip(arguments, ctx.needs_input_grad, strict=True) if needed]
        states = torch.stack([_unrolled(*parts) for parts in zip(*arguments, strict=True)], dim=2)
        found = iter(torch.autograd.grad(states, wanted, grad, create_graph=True))
        return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)


def _unrolled(inputs: Tensor, *others: Tensor) -> Tensor:
    """`unrolled`, steps first: `inputs` (T, B, I) -> (T, B, H)."""
    return unrolled(inputs.transpose(0, 1), *others).transpose(0, 1)


def _backward(
    grad: Tensor,
    inputs: Tensor,
    initial: Tensor,
    w_i: Tensor,
    w_h: Tensor,
    b_i: Tensor,
    b_h: Tensor,
    states: Tensor,
    found: Tensor,
    n: Tensor,
) -> tuple[Tensor, ...]:
    steps, batch_size, directions, hidden = n.shape
    r, z, from_h = found.split(hidden, dim=3)
    before = states[:-1]  # (T, B, D, H)
    # What the gradient of the state is multiplied with to give that of each gate's argument. In
    # place where it can be: at these sizes, fresh memory costs more than the arithmetic.
    through_n = torch.addcmul(n.new_ones(()), n, n, value=-1)  # 1 − n²
    through_n.addcmul_(through_n, z, value=-1)  # (1 − z)(1 − n²), (T, B, D, H)
    gates = n.new_empty(steps, batch_size, directions, 3, hidden)  # r, z, the state's share of n
    slope = torch.addcmul(r, r, r, value=-1)  # r(1 − r)
    torch.mul(slope.mul_(from_h), through_n, out=gates[..., 0, :])
    torch.addcmul(z, z, z, value=-1, out=slope)  # z(1 − z)
    torch.sub(before, n, out=gates[..., 1, :])
    gates[..., 1, :].mul_(slope)
    torch.mul(through_n, r, out=gates[..., 2, :])

    # The gradients of `states`: each step adds its own to the one before.
    state = torch.cat([torch.zeros_like(states[:1]), grad])  # (T + 1, B, D, H)
    kernels = kernels_for(state)
    (kernels.retreat if kernels else _retreat)(state, z, gates, w_h)
    flat = gates.flatten(3).flatten(0, 1)  # (T·B, D, 3H)
    grad_b_h = flat.sum(0)
    grad_w_h = _transposed_products(flat, before.flatten(0, 1))
    torch.mul(state[1:], through_n, out=gates[..., 2, :])  # from here on of the inputs' share of n
    x = inputs.flatten(1, 2).transpose(0, 1)  # (T·B, D, I)
    grad_w_i = _transposed_products(flat, x)
    grad_b_i = torch.cat([grad_b_h[:, : 2 * hidden], flat[..., 2 * hidden :].sum(0)], dim=1)
    grad_inputs = torch.stack([part @ w for part, w in zip(flat.unbind(1), w_i, strict=True)])
    grad_inputs = grad_inputs.view(directions, steps, batch_size, -1)
    return grad_inputs, state[0].transpose(0, 1), grad_w_i, grad_w_h, grad_b_i, grad_b_h


def _retreat(state: Tensor, z: Tensor, gates: Tensor, w_h: Tensor) -> None:
    """Steps back: turns the gradients of the results into those of the states, `state`
    (T + 1, B, D, H), and the factors `gates` (T, B, D, 3, H) into the gradients of the gates."""
    flat, factors = state.flatten(1, 2).unbind(), gates.flatten(1, 2).unbind()
    by_direction = zip(*(part.unbind() for part in state[:-1].unbind(2)), strict=True)
    gates_by_direction = zip(*(part.unbind() for part in gates.flatten(3).unbind(2)), strict=True)
    matrices = w_h.unbind()
    each = zip(flat[1:], flat[:-1], z.flatten(1, 2).unbind(), factors, by_direction,
               gates_by_direction, strict=True)  # fmt: skip
    for after, earlier, z_t, gates_t, earlier_d, gates_d in reversed(list(each)):
        gates_t.mul_(after.unsqueeze(1))
        earlier.addcmul_(after, z_t)
        for target, gradient, matrix in zip(earlier_d, gates_d, matrices):  # noqa: B905
            target.addmm_(gradient, matrix)


def _transposed_products(left: Tensor, right: Tensor) -> Tensor:
    """(R, D, M), (R, D, K) -> (D, M, K), summed over the rows R."""
    pairs = zip(left.unbind(1), right.unbind(1), strict=True)
    return torch.stack([a.t() @ b for a, b in pairs])
