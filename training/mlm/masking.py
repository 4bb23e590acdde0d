"""Which tokens are hidden: BERT's masking (Devlin et al. 2019), a function of seed and step.

B pieces in a batch, T tokens in its longest, K hidden tokens in all.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.mlm.texts import Piece

_AS_MASK, _AS_RANDOM = 0.8, 0.1  # the rest stays as it is, and is predicted all the same


class MaskedBatch(NamedTuple):
    """`input_ids` and `attention_mask` (B, T); `rows`, `columns` and `targets` (K,) say what is
    to be predicted where."""

    input_ids: Tensor
    attention_mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "MaskedBatch":
        """The batch on a device."""
        return MaskedBatch(*(tensor.to(device) for tensor in self))


def masked_batch(
    pieces: list[Piece],
    random: np.random.Generator,
    probability: float,
    mask_id: int,
    vocabulary: NDArray[np.int64],
) -> MaskedBatch:
    """Pad with 0 and hide tokens, [CLS] and [SEP] never, one in every batch at least.

    Args:
        vocabulary: ids that may stand in for a hidden token: all but the special ones.
    """
    longest = max(map(len, pieces))
    ids = np.zeros((len(pieces), longest), np.int64)  # (B, T)
    inside = np.zeros((len(pieces), longest), bool)  # (B, T): may be hidden
    for i, piece in enumerate(pieces):
        ids[i, : len(piece)] = piece
        inside[i, 1 : len(piece) - 1] = True
    hidden = inside & (random.random(ids.shape) < probability)
    if not hidden.any():
        hidden[tuple(random.choice(np.argwhere(inside)))] = True
    rows, columns = np.nonzero(hidden)  # (K,)
    targets = ids[rows, columns]
    fate = random.random(len(rows))
    seen = np.where(fate < _AS_MASK, mask_id, targets)
    seen = np.where(fate >= 1 - _AS_RANDOM, random.choice(vocabulary, len(rows)), seen)
    mask = np.arange(longest) < np.array([len(piece) for piece in pieces])[:, None]
    ids[rows, columns] = seen
    arrays = (ids, mask.astype(np.int64), rows, columns, targets)
    return MaskedBatch(*(torch.from_numpy(array) for array in arrays))
