"""Layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450), block of rows by block.

Each operation over a whole activation reads it from memory and writes it back. Over a block of rows
that stays in the cache the same operations cost a third; and the backward pass, by hand, keeps two
numbers a row in the place of autograd's four activations.

R rows, D width.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK = 2**17  # elements a thread: 512 KiB in float32, which a core's second-level cache holds


def normalized(inputs: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(..., D) -> (..., D), by operations that autograd, TorchScript and torch.export follow."""
    centred = inputs - inputs.mean(dim=-1, keepdim=True)
    variance = centred.pow(2).mean(dim=-1, keepdim=True)  # the biased one
    return centred / torch.sqrt(variance + eps) * weight + bias


def layer_norm(inputs: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`normalized`, faster. Differentiable, twice too; halves are computed in float32."""
    result = torch.promote_types(inputs.dtype, weight.dtype)
    dtype = torch.promote_types(result, torch.float32)
    rows = inputs.to(dtype).reshape(-1, inputs.shape[-1])  # (R, D)
    with torch.autocast(inputs.device.type, enabled=False):
        outputs: Tensor = Normalization.apply(rows, weight.to(dtype), bias.to(dtype), eps)[0]
    return outputs.view(inputs.shape).to(result)


class Normalization(torch.autograd.Function):
    """`normalized` over rows (R, D), all tensors of one dtype: the result, then each row's mean and
    the reciprocal of its standard deviation, (R,) each."""

    @staticmethod
    def forward(
        rows: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        width = rows.shape[1]
        outputs = torch.empty_like(rows, memory_format=torch.contiguous_format)
        mean, scale = rows.new_empty(len(rows)), rows.new_empty(len(rows))
        average = rows.new_full((width,), 1 / width)
        for x, y, m, s in _blocks(rows, outputs, mean, scale):
            torch.mv(x, average, out=m)
            torch.sub(x, m.unsqueeze(1), out=y)
            torch.linalg.vector_norm(y, dim=1, out=s)
            s.square_().div_(width).add_(eps).rsqrt_()
            torch.addcmul(bias, y.mul_(s.unsqueeze(1)), weight, out=y)
        return outputs, mean, scale

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps the arguments, the means and the scales."""
        rows, weight, bias, eps = inputs
        ctx.eps = eps
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(rows, weight, bias, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        """The gradients of the four arguments."""
        if grad is None:
            return (None,) * 4
        rows, weight, bias, mean, scale = ctx.saved_tensors
        if not torch.is_grad_enabled():
            # A caller may go backward under autocast, which would round the products here.
            with torch.autocast(grad.device.type, enabled=False):
                return *_backward(grad.contiguous(), rows, weight, mean, scale), None
        # A gradient of the gradient is wanted: autograd's own.
        arguments = (rows, weight, bias)
        wanted = [a for a, needed in zip(arguments, ctx.needs_input_grad, strict=False) if needed]
        outputs = normalized(rows, weight, bias, ctx.eps)
        found = iter(torch.autograd.grad(outputs, wanted, grad, create_graph=True))
        return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)


def _backward(
    grad: Tensor, rows: Tensor, weight: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of rows, weight and bias.

    With x̂ a row, normalised, s its scale and g = grad ⊙ weight: that of the row is
    s (g − mean(g) − x̂ mean(g ⊙ x̂)), of the weight Σ grad ⊙ x̂, of the bias Σ grad.
    """
    width = rows.shape[1]
    grad_rows = torch.empty_like(grad)
    grad_weight, grad_bias = torch.zeros_like(weight), torch.zeros_like(weight)
    column = weight / -width  # with it a product is minus a mean
    buffers = grad.new_empty(2, min(len(rows), _rows(rows)), width)
    for x, y, d, m, s in _blocks(rows, grad, grad_rows, mean, scale):
        normed, product = buffers[0, : len(x)], buffers[1, : len(x)]
        torch.sub(x, m.unsqueeze(1), out=normed).mul_(s.unsqueeze(1))  # x̂
        torch.mul(y, normed, out=product)
        ones = s.new_ones(len(x))
        grad_weight.addmv_(product.t(), ones)
        grad_bias.addmv_(y.t(), ones)
        torch.mul(y, weight, out=d)
        d.addcmul_(normed, (product @ column).unsqueeze(1)).add_((y @ column).unsqueeze(1))
        d.mul_(s.unsqueeze(1))
    return grad_rows, grad_weight, grad_bias


def _rows(tensor: Tensor) -> int:
    """How many rows of `tensor` (R, D) make a block: all of them where the cost is in launches."""
    if tensor.device.type != "cpu":
        return max(1, len(tensor))
    return max(1, BLOCK * torch.get_num_threads() // max(1, tensor.shape[1]))


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same rows of every tensor, as many as the first one allows at a time."""
    return zip(*(tensor.split(_rows(tensors[0])) for tensor in tensors), strict=True)
