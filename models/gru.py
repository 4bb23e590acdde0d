"""The gated recurrent unit (Cho et al. 2014, https://arxiv.org/abs/1406.1078) from its equations.

B batch, T steps, I input size, H hidden size.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from models.recurrence import recurrence, unrolled


class GRU(nn.Module):
    """One layer, one direction, the equations and the initialisation of `nn.GRU`:

        r = σ(x W_irᵀ + b_ir + h W_hrᵀ + b_hr)
        z = σ(x W_izᵀ + b_iz + h W_hzᵀ + b_hz)
        n = tanh(x W_inᵀ + b_in + r ⊙ (h W_hnᵀ + b_hn))
        h' = (1 − z) ⊙ n + z ⊙ h

    Every parameter is read when it is used, so that a caller may replace any of them.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size

        self.w_ir = nn.Parameter(torch.empty(hidden_size, input_size))
        self.w_iz = nn.Parameter(torch.empty(hidden_size, input_size))
        self.w_in = nn.Parameter(torch.empty(hidden_size, input_size))
        self.b_ir = nn.Parameter(torch.empty(hidden_size))
        self.b_iz = nn.Parameter(torch.empty(hidden_size))
        self.b_in = nn.Parameter(torch.empty(hidden_size))

        self.w_hr = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.w_hz = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.w_hn = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.b_hr = nn.Parameter(torch.empty(hidden_size))
        self.b_hz = nn.Parameter(torch.empty(hidden_size))
        self.b_hn = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws every parameter uniformly from ±1/√H, as `nn.GRU` does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, inputs: Tensor, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """Reads `inputs` (B, T, I) from the state `hidden_states` (1, B, H).

        Returns the state after every step (B, T, H) and the last one (1, B, H). `ValueError` for a
        state of another shape.
        """
        w_i, w_h, b_i, b_h = self.stacked()
        if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            outputs = unrolled(inputs, hidden_states[0], w_i, w_h, b_i, b_h)
            return outputs, outputs[:, -1].unsqueeze(0)
        wanted = (1, inputs.shape[0], self.hidden_size)
        if tuple(hidden_states.shape) != wanted:
            raise ValueError(f"hidden_states: got {tuple(hidden_states.shape)}; give {wanted}")
        outputs = side_by_side([self], [inputs], hidden_states)[0]
        return outputs, outputs[:, -1].clone().unsqueeze(0)  # no view: `outputs` may be changed

    def stacked(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The gates' parameters in the order r, z, n: (3H, I), (3H, H), (3H,), (3H,)."""
        return (
            torch.cat([self.w_ir, self.w_iz, self.w_in]),
            torch.cat([self.w_hr, self.w_hz, self.w_hn]),
            torch.cat([self.b_ir, self.b_iz, self.b_in]),
            torch.cat([self.b_hr, self.b_hz, self.b_hn]),
        )


def side_by_side(
    grus: Sequence[GRU], inputs: Sequence[Tensor], hidden_states: Tensor
) -> list[Tensor]:
    """The outputs (B, T, H) of several GRUs of one shape, each over its own `inputs` (B, T, I) from
    its own state, of `hidden_states` (D, B, H), step by step together: the two directions of a
    bidirectional one cost less so than one after the other."""
    parameters = zip(*(gru.stacked() for gru in grus), strict=True)
    w_i, w_h, b_i, b_h = (_stack(parts) for parts in parameters)
    # In the weights' own precision, under autocast too: a state is a sum of many steps.
    with torch.autocast(inputs[0].device.type, enabled=False):
        x = _stack([sequence.transpose(0, 1) for sequence in inputs]).to(w_h.dtype)
        states = recurrence(x, hidden_states.to(w_h.dtype), w_i, w_h, b_i, b_h)  # (T, B, D, H)
    return list(states.transpose(0, 1).unbind(2))


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """`torch.stack`, which copies even where there is only one."""
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))
