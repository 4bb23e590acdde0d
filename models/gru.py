"""The gated recurrent unit (Cho et al. 2014, https://arxiv.org/abs/1406.1078) from its equations.

B batch, T steps, I input size, H hidden size.
"""

import math

import torch
import torch.nn as nn
from torch import Tensor

from models.recurrence import Recurrence, unrolled


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

        Returns the state after every step (B, T, H) and the last one (1, B, H).
        """
        w_i = torch.cat([self.w_ir, self.w_iz, self.w_in])  # (3H, I)
        b_i = torch.cat([self.b_ir, self.b_iz, self.b_in])  # (3H,)
        w_h = torch.cat([self.w_hr, self.w_hz, self.w_hn])  # (3H, H)
        b_h = torch.cat([self.b_hr, self.b_hz, self.b_hn])  # (3H,)
        state = hidden_states[0]  # (B, H)

        if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            outputs = unrolled(inputs, state, w_i, w_h, b_i, b_h)
        else:
            # In the weights' own precision, under autocast too: a state is a sum of many steps.
            with torch.autocast(inputs.device.type, enabled=False):
                dtype = w_h.dtype
                outputs = Recurrence.apply(inputs.to(dtype), state.to(dtype), w_i, w_h, b_i, b_h)[0]
        return outputs, outputs[:, -1].unsqueeze(0)
