"""What reviews of unequal length need once they share a padded batch.

B batch, T steps, D width of a step. Masks are (B, T), 1 = real token, 0 = padding on the right.
Everything here is tensor operations with no branch on the data, so that it exports;
`pack_padded_sequence` does not.
"""

import torch
from torch import Tensor


def lengths_of(mask: Tensor) -> Tensor:
    """The number of real tokens of each review: (B, T) -> (B,) int64."""
    return (mask != 0).sum(dim=1)


def reversal(lengths: Tensor, steps: int) -> Tensor:
    """Indices (B, T) that reverse each review's real tokens and leave its padding where it is.

    Its own inverse.
    """
    step = torch.arange(steps, device=lengths.device).unsqueeze(0)  # (1, T)
    last = lengths.unsqueeze(1) - 1  # (B, 1)
    return torch.where(step <= last, last - step, step)


def reorder(sequence: Tensor, index: Tensor) -> Tensor:
    """Row b, step t of the result is `sequence[b, index[b, t]]`: (B, T, D) and (B, T) -> (B, T, D).

    One `index_select` over all B·T steps: its backward is some 20 times faster on a CPU than that
    of `gather` with an index expanded over D.
    """
    batch_size, steps, width = sequence.shape
    row = torch.arange(batch_size, device=index.device).unsqueeze(1) * steps  # (B, 1)
    flat = sequence.reshape(batch_size * steps, width)
    return flat.index_select(0, (index + row).reshape(-1)).reshape(batch_size, steps, width)


def state_at_end(outputs: Tensor, initial: Tensor, lengths: Tensor) -> Tensor:
    """The state after each review's last real token: (B, T, H), (B, H), (B,) -> (B, H).

    A review of length zero keeps its initial state.
    """
    last = (lengths - 1).clamp(min=0).reshape(-1, 1, 1).expand(-1, 1, outputs.shape[2])
    final = outputs.gather(1, last).squeeze(1)
    return torch.where((lengths > 0).unsqueeze(1), final, initial.to(final.dtype))


def zero_padding(sequence: Tensor, mask: Tensor) -> Tensor:
    """`sequence` (B, T, D) with zeros at the padded steps of `mask` (B, T)."""
    return sequence.masked_fill((mask == 0).unsqueeze(2), 0.0)


def masked_softmax(scores: Tensor, mask: Tensor | None, dim: int) -> Tensor:
    """Softmax over the entries of `dim` whose `mask` (broadcastable to `scores`) is not 0.

    Masked entries weigh exactly 0, and so does every entry where all are masked.
    """
    if mask is None:
        return scores.softmax(dim)
    padded = mask == 0
    # Finite, so that a row of padding has no 0/0 in it; float16 ends at 65504.
    lowest = -6e4 if scores.dtype == torch.float16 else -1e30
    return scores.masked_fill(padded, lowest).softmax(dim).masked_fill(padded, 0.0)
