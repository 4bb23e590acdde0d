"""What `nn.GRU` computes, from its weights: a direction at a time, or the whole of it.

B batch, T steps, I input size, H hidden size, L layers.
"""

import torch
from torch import Tensor

from models.recurrence import recurrence


def in_one_buffer(weights: list[Tensor]) -> list[Tensor]:
    """The weights of a GRU, four a direction, as views of one new buffer: all matrices and then all
    biases. cuDNN wants them so; else it makes such a buffer itself, and a warning."""
    matrices: list[Tensor] = []
    biases: list[Tensor] = []
    for first in range(0, len(weights), 4):
        matrices += weights[first : first + 2]
        biases += weights[first + 2 : first + 4]
    order = matrices + biases
    sizes = [weight.numel() for weight in order]
    parts = torch.cat([weight.reshape(-1) for weight in order]).split(sizes)
    views = [part.view_as(weight) for part, weight in zip(parts, order)]  # noqa: B905, TorchScript
    placed: list[Tensor] = []
    for first in range(0, len(matrices), 2):
        placed += views[first : first + 2]
        placed += views[len(matrices) + first : len(matrices) + first + 2]
    return placed


def recurrence_trains_faster(x: Tensor, weights: list[Tensor]) -> bool:
    """On CPUs PyTorch's backward pass of a GRU takes a product a step for each weight matrix;
    `recurrence` takes one for all steps (docs/speed.md)."""
    wanted = x.requires_grad or any([weight.requires_grad for weight in weights])
    return x.is_cpu and wanted and torch.is_grad_enabled()


def run_direction(x: Tensor, initial: Tensor, flat_weights: list[Tensor], which: int) -> Tensor:
    """Direction `which` of an `nn.GRU`, read left to right: (B, T, I) -> outputs (B, T, H).

    `flat_weights` and `initial` (L · directions, B, H) are the whole `nn.GRU`'s, in its order.
    """
    # Four tensors a direction: input weight, hidden weight, input bias, hidden bias.
    weights = flat_weights[4 * which : 4 * which + 4]
    state = initial[which : which + 1].contiguous()
    if x.is_cpu and not (
        torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling()
    ):
        # In the weights' own precision, under autocast too, as `models.gru`.
        with torch.autocast("cpu", enabled=False):
            return _on_cpu(x.to(weights[0].dtype), state.to(weights[0].dtype), weights)
    return _one_direction(x, state, weights)


def _on_cpu(x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
    """`run_direction` of these weights from `state` (1, B, H)."""
    if not recurrence_trains_faster(x, weights):
        return _one_direction(x, state, weights)
    stacked = [weight.unsqueeze(0) for weight in weights]
    states = recurrence(x.transpose(0, 1).unsqueeze(0), state, *stacked)  # (T, B, 1, H)
    return states.squeeze(2).transpose(0, 1)


def _one_direction(x: Tensor, state: Tensor, weights: list[Tensor]) -> Tensor:
    """As `_on_cpu`, by PyTorch's operator."""
    # As in training, which matters to cuDNN only: there it keeps what backward needs.
    return torchs_gru(x, state, weights, 1, 0.0, True, False)[0]


def torchs_gru(
    x: Tensor,
    initial: Tensor,
    weights: list[Tensor],
    num_layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
) -> tuple[Tensor, Tensor]:
    """A whole `nn.GRU` of these weights, batch first: outputs (B, T, directions · H) and states.

    Under autocast on a GPU it runs in autocast's dtype: left to itself, cuDNN's operator takes
    float16 for bfloat16 too, in which small gradients are 0 unless a scaler makes them larger.
    """
    if not torch.jit.is_scripting():  # noqa: SIM102, TorchScript leaves out what is below it alone
        if x.is_cuda and torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
            weights = [weight.to(dtype) for weight in weights]
            with torch.autocast("cuda", enabled=False):
                return torchs_gru(x.to(dtype), initial.to(dtype), weights, num_layers, dropout,
                                  training, bidirectional)  # fmt: skip
    if x.is_cuda:
        weights = in_one_buffer(weights)
    # Positional: with biases, and last of all batch first.
    return torch.gru(x, initial, weights, True, num_layers, dropout, training, bidirectional, True)
