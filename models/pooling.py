"""From one vector a step to one vector a review. B batch, T steps, D width."""

from typing import Literal, get_args

from torch import Tensor

Pooling = Literal["first", "mean", "max"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


def check_pooling(how: str) -> str:
    """`how` itself, or a `ValueError` that lists what is allowed."""
    if how not in POOLINGS:
        raise ValueError(f"pooling: got {how!r}; allowed are {', '.join(POOLINGS)}")
    return how


def pool(outputs: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """One vector a review: `outputs` (B, T, D), `mask` (B, T) or None (all real) -> (B, D).

    `how` is "first" (the output at step 0), "mean" or "max" (over the real steps; zeros for a
    review that has none).
    """
    if how == "first":
        return outputs[:, 0]
    if how == "mean":
        if mask is None:
            return outputs.mean(dim=1)
        real = (mask != 0).to(outputs.dtype)  # (B, T)
        total = (real.unsqueeze(1) @ outputs).squeeze(1)  # (B, D)
        return total / real.sum(dim=1, keepdim=True).clamp(min=1.0)
    if mask is None:
        return outputs.amax(dim=1)
    padded = mask == 0
    largest = outputs.masked_fill(padded.unsqueeze(2), float("-inf")).amax(dim=1)  # (B, D)
    return largest.masked_fill(padded.all(dim=1, keepdim=True), 0.0)
