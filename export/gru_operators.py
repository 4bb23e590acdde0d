"""A GRU layer as one operator, in two dialects with the same call.

`OnnxGRU` exists only inside an ONNX export: the operator has no torch kernel. `ScanGRU` runs in
torch and keeps the length dynamic in `torch.export`, where `nn.GRU` is unrolled to the example's.
T steps come first in here: (T, B, ...).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan


class Weights(NamedTuple):
    """One layer, one direction of a GRU, gates in torch's order: r, z, n."""

    w_i: Tensor  # (3H, I)
    w_h: Tensor  # (3H, H)
    b_i: Tensor  # (3H,)
    b_h: Tensor  # (3H,)


class OnnxGRU(nn.Module):
    """ONNX's `GRU` over the given directions, each reading only a review's real tokens.

    https://onnx.ai/onnx/operators/onnx__GRU.html
    """

    w: Tensor
    r: Tensor
    b: Tensor

    def __init__(self, directions: list[Weights], direction: str) -> None:
        """`direction` is ONNX's word: forward, reverse or bidirectional."""
        super().__init__()
        self.direction = direction
        self.hidden_size = directions[0].w_h.shape[1]
        self.register_buffer("w", torch.stack([_zrn(each.w_i) for each in directions]))
        self.register_buffer("r", torch.stack([_zrn(each.w_h) for each in directions]))
        biases = [torch.cat([_zrn(each.b_i), _zrn(each.b_h)]) for each in directions]
        self.register_buffer("b", torch.stack(biases))  # (directions, 6H)

    def forward(
        self, x: Tensor, lengths: Tensor, initial: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`x` (T, B, I), `lengths` (B,) int32, `initial` (directions, B, H), zeros if None ->
        outputs (T, directions, B, H), states after each review's last token (directions, B, H)."""
        steps, batch_size, _ = x.shape
        directions = self.w.shape[0]
        outputs, states = torch.onnx.ops.symbolic_multi_out(
            "GRU",
            [x, self.w, self.r, self.b, lengths, initial],
            # linear_before_reset: the reset gate scales the product with its bias, as torch's does.
            {
                "direction": self.direction,
                "hidden_size": self.hidden_size,
                "linear_before_reset": 1,
            },
            dtypes=[x.dtype, x.dtype],
            shapes=[
                [steps, directions, batch_size, self.hidden_size],
                [directions, batch_size, self.hidden_size],
            ],
            version=14,
        )
        return outputs, states


class ScanGRU(nn.Module):
    """The same call by torch's `scan`, whose body is one step (the equations of `models.gru`)."""

    def __init__(self, directions: list[Weights], direction: str) -> None:
        super().__init__()
        backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
        self.backward = backward[direction]
        for number, weights in enumerate(directions):
            for name, tensor in weights._asdict().items():
                self.register_buffer(f"{name}_{number}", tensor.clone())

    def forward(
        self, x: Tensor, lengths: Tensor, initial: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `OnnxGRU.forward`."""
        step = torch.arange(x.shape[0], device=x.device).unsqueeze(1)  # (T, 1)
        real = (step < lengths.unsqueeze(0)).unsqueeze(2)  # (T, B, 1)
        outputs, states = [], []
        for number, backward in enumerate(self.backward):
            weights = Weights(*(getattr(self, f"{name}_{number}") for name in Weights._fields))
            h = None if initial is None else initial[number]
            each, last = _scan(x, real, weights, h, backward)
            outputs.append(each)
            states.append(last)
        return torch.stack(outputs, dim=1), torch.stack(states)


def _scan(
    x: Tensor, real: Tensor, weights: Weights, initial: Tensor | None, backward: bool
) -> tuple[Tensor, Tensor]:
    """`x` (T, B, I), `real` (T, B, 1), state (B, H) -> outputs (T, B, H), last state (B, H)."""
    from_x = F.linear(x, weights.w_i, weights.b_i)  # (T, B, 3H)

    def step(h: Tensor, at: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        gates, is_real = at  # (B, 3H), (B, 1)
        r_x, z_x, n_x = gates.chunk(3, dim=1)
        r_h, z_h, n_h = F.linear(h, weights.w_h, weights.b_h).chunk(3, dim=1)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        n = torch.tanh(n_x + r * n_h)
        h = torch.where(is_real, n + z * (h - n), h)  # padding leaves the state as it is
        return h, h.clone()  # scan wants no output that is another's alias

    if initial is None:
        initial = from_x.new_zeros(x.shape[1], weights.w_h.shape[1])
    # Copied: scan's initial state may not be a view of an input.
    last, outputs = scan(step, initial.clone(), (from_x, real), dim=0, reverse=backward)
    return outputs, last


def _zrn(stacked: Tensor) -> Tensor:
    """Gates r, z, n, stacked along dimension 0, in ONNX's order: z, r, n."""
    r, z, n = stacked.chunk(3)
    return torch.cat([z, r, n])
