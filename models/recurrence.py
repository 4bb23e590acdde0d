"""The steps of a GRU with a backward pass written by hand: fewer, larger operations.

Autograd over a Python loop keeps some ten results a step and replays as many small operations.
Here the derivatives of the gates are computed for all steps at once, a step of the backward pass
is one product and two element-wise operations, and the gradient of each weight matrix is a single
product over all steps (Appleyard et al. 2016, https://arxiv.org/abs/1604.01946, section 3).

B batch, T steps, I input size, H hidden size. The gates are stacked in the order r, z, n.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx


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


class Recurrence(torch.autograd.Function):
    """`unrolled`, with the same arguments and result. All tensors share one dtype and device."""

    @staticmethod
    def forward(
        inputs: Tensor, initial: Tensor, w_i: Tensor, w_h: Tensor, b_i: Tensor, b_h: Tensor
    ) -> tuple[Tensor, ...]:
        """The states (B, T, H), then what backward needs: all states, r and z, n, and the state's
        share of the candidate, one step after the other."""
        batch_size, steps, _ = inputs.shape
        hidden = w_h.shape[1]
        x = _by_step(inputs)  # (T·B, I)
        bias = b_i[: 2 * hidden] + b_h[: 2 * hidden]
        rz = torch.addmm(bias, x, w_i[: 2 * hidden].t()).view(steps, batch_size, 2 * hidden)
        n = torch.addmm(b_i[2 * hidden :], x, w_i[2 * hidden :].t())
        n = n.view(steps, batch_size, hidden)
        states = initial.new_empty(steps + 1, batch_size, hidden)
        states[0] = initial
        from_h = torch.empty_like(n)
        r, z = rz[..., :hidden].unbind(), rz[..., hidden:].unbind()
        w_rz, w_n = w_h.t().split([2 * hidden, hidden], dim=1)  # (H, 2H), (H, H)
        # Contiguous: else the product transposes the matrix again at every step.
        w_rz, w_n, b_n = w_rz.contiguous(), w_n.contiguous(), b_h[2 * hidden :]
        each = zip(rz.unbind(), r, z, n.unbind(), from_h.unbind(), states[:-1].unbind(),
                   states[1:].unbind(), strict=True)  # fmt: skip
        for rz_t, r_t, z_t, n_t, from_h_t, h, next_h in each:
            rz_t.addmm_(h, w_rz).sigmoid_()
            torch.addmm(b_n, h, w_n, out=from_h_t)
            n_t.addcmul_(r_t, from_h_t).tanh_()
            torch.lerp(n_t, h, z_t, out=next_h)  # (1 − z) ⊙ n + z ⊙ h
        return states[1:].transpose(0, 1), states, rz, n, from_h

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
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted: autograd's own
            wanted = [
                a for a, needed in zip(arguments, ctx.needs_input_grad, strict=True) if needed
            ]
            found = iter(torch.autograd.grad(unrolled(*arguments), wanted, grad, create_graph=True))
            return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)
        return _backward(grad, *arguments, *results)


def _backward(
    grad: Tensor,
    inputs: Tensor,
    initial: Tensor,
    w_i: Tensor,
    w_h: Tensor,
    b_i: Tensor,
    b_h: Tensor,
    states: Tensor,
    rz: Tensor,
    n: Tensor,
    from_h: Tensor,
) -> tuple[Tensor, ...]:
    steps, batch_size, hidden = n.shape
    r, z = rz[..., :hidden], rz[..., hidden:]
    before = states[:-1]  # (T, B, H)
    # What the gradient of the state is multiplied with to give that of each gate's argument. In
    # place where it can be: at these sizes, fresh memory costs more than the arithmetic.
    through_n = torch.addcmul(n.new_ones(()), n, n, value=-1)  # 1 − n²
    through_n.addcmul_(through_n, z, value=-1)  # (1 − z)(1 − n²), (T, B, H)
    gates = n.new_empty(steps, batch_size, 3, hidden)  # of r, z and the state's share of n
    slope = torch.addcmul(r, r, r, value=-1)  # r(1 − r)
    torch.mul(slope.mul_(from_h), through_n, out=gates[:, :, 0])
    torch.addcmul(z, z, z, value=-1, out=slope)  # z(1 − z)
    torch.sub(before, n, out=gates[:, :, 1])
    gates[:, :, 1].mul_(slope)
    torch.mul(through_n, r, out=gates[:, :, 2])

    # The gradients of `states`: each step adds its own to the one before, (T + 1, B, H).
    state = torch.cat([torch.zeros_like(initial).unsqueeze(0), grad.transpose(0, 1)])
    flat = gates.view(steps, batch_size, 3 * hidden)
    each = zip(state[1:].unbind(), state[:-1].unbind(), z.unbind(), gates.unbind(), flat.unbind(),
               strict=True)  # fmt: skip
    for after, earlier, z_t, gates_t, flat_t in reversed(list(each)):
        gates_t.mul_(after.unsqueeze(1))
        earlier.addcmul_(after, z_t).addmm_(flat_t, w_h)

    flat = flat.view(-1, 3 * hidden)  # (T·B, 3H)
    grad_w_h = flat.t() @ before.reshape(-1, hidden)
    grad_b_h = flat.sum(0)
    torch.mul(state[1:], through_n, out=gates[:, :, 2])  # from here on of the inputs' share of n
    grad_w_i = flat.t() @ _by_step(inputs)
    grad_b_i = torch.cat([grad_b_h[: 2 * hidden], flat[:, 2 * hidden :].sum(0)])
    grad_inputs = (flat @ w_i).view(steps, batch_size, -1).transpose(0, 1)
    return grad_inputs, state[0], grad_w_i, grad_w_h, grad_b_i, grad_b_h


def _by_step(sequence: Tensor) -> Tensor:
    """(B, T, D) -> (T·B, D), one step after the other."""
    return sequence.transpose(0, 1).reshape(-1, sequence.shape[2])
