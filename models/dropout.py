"""Dropout (Srivastava et al. 2014) whose mask does not cost more than the layers around it.

Where MKL does not draw it (it does on Intel's processors), PyTorch draws a CPU mask one number
after the other: on an AMD EPYC a fifth of a small Transformer's training step (docs/speed.md). Here
NumPy's SFC64 draws four elements at a time, seeded by one draw from PyTorch's own generator, so
that `torch.manual_seed` and a resumed generator repeat it.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEPS = 1 << 16  # 16 bits an element: a probability is kept to within 1/131072
_SMALL = 8192  # elements: below it seeding takes longer than PyTorch's whole mask


class Dropout(nn.Dropout):
    """`nn.Dropout`, with the mask drawn by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return dropout(input, self.p, self.training)


def dropout(inputs: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`: zeroes elements with probability `p` and scales the others by 1 / (1 - p)."""
    if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return F.dropout(inputs, p, training)
    kept = round((1 - p) * _STEPS)
    if not training or not inputs.is_cpu or inputs.numel() < _SMALL or kept in (0, _STEPS):
        return F.dropout(inputs, p, training)
    keep = _random_steps(inputs.shape) < kept - _STEPS // 2
    return inputs * keep.to(inputs.dtype).mul_(_STEPS / kept)


def _random_steps(shape: torch.Size) -> Tensor:
    """Every int16 with the same probability, of this shape."""
    seed = int(torch.randint(2**63 - 1, (), device="cpu"))
    count = shape.numel()
    words = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(words.view(np.int16)[:count]).view(shape)
