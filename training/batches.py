"""Which reviews go together, and the tensors they make.

B reviews in a batch, T tokens in its longest, N reviews in all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_POOL = 50  # batches whose reviews are sorted together: larger saves little more padding


@dataclass(frozen=True)
class Batch:
    """`input_ids` and `attention_mask` (B, T) int64, padded on the right with 0; `labels` (B,),
    -1 for a review without one; `teacher` (B, C) float32, a teacher's logits."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    teacher: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from pinned memory without waiting for the copy."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; `torch.utils.data.DataLoader` looks for this name."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        teacher = None if self.teacher is None else change(self.teacher)
        return Batch(
            change(self.input_ids), change(self.attention_mask), change(self.labels), teacher
        )

    @classmethod
    def blank(cls, device: torch.device) -> "Batch":
        """One made-up review of one token, for a process that has none of its own in a step."""
        one = torch.ones(1, 1, dtype=torch.int64, device=device)  # (1, 1)
        return cls(one, one.clone(), torch.zeros(1, dtype=torch.int64, device=device))


class Table(Protocol):
    """What `collate` needs of a `training.data.TokenTable`."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each review, (N,)."""

    @property
    def labels(self) -> NDArray[np.int8]:
        """0 or 1, (N,)."""

    def ids(self, i: int) -> NDArray[np.integer]:
        """Token ids of review i."""


def epoch_plan(
    lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int, bucketed: bool = True
) -> list[NDArray[np.int64]]:
    """Row indices of an epoch's batches; every row once, the same on every process.

    Bucketed: the shuffled rows are cut into pools of fifty batches, each pool is sorted by length
    and cut into batches, and the batches are shuffled; so a batch holds reviews of like length and
    the next one may hold any other. Where the rows do not divide evenly, the last batch is the
    short one, and it is made of rows drawn at random: not of the longest.

    Args:
        lengths: tokens in each review, (N,).
        seed, epoch: the order is a function of these two.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: expected at least 1")
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))  # (N,)
    whole = len(order) - len(order) % batch_size
    if bucketed:
        for start in range(0, whole, _POOL * batch_size):
            pool = order[start : min(start + _POOL * batch_size, whole)]
            pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, whole, batch_size)]
    if bucketed:
        batches = [batches[i] for i in random.permutation(len(batches))]
    return [*batches, order[whole:]] if whole < len(order) else batches


def collate(
    table: Table,
    rows: Sequence[int] | NDArray[np.integer],
    padding: Literal["longest", "max"] = "longest",
    max_length: int = 256,
    teacher: NDArray[np.float32] | None = None,
) -> Batch:
    """Tensors of these rows; T is the longest of them, or `max_length` whatever they are.

    Args:
        teacher: a teacher's logits (N, C) for all rows of the table.

    Raises:
        ValueError: a review is longer than `max_length`: the table was made for longer ones.
    """
    rows = np.asarray(rows, np.int64)
    lengths = table.lengths[rows]  # (B,)
    longest = int(lengths.max(initial=1))
    if longest > max_length:
        raise ValueError(
            f"max_length={max_length}: a review has {longest} tokens; load the data with the same "
            "max_length"
        )
    width = longest if padding == "longest" else max_length
    input_ids = np.zeros((len(rows), width), np.int64)  # (B, T)
    for ids_row, row, length in zip(input_ids, rows, lengths, strict=True):
        ids_row[:length] = table.ids(int(row))
    mask = np.arange(width) < lengths[:, None]  # (B, T)
    return Batch(
        torch.from_numpy(input_ids),
        torch.from_numpy(mask.astype(np.int64)),
        torch.from_numpy(table.labels[rows].astype(np.int64)),
        None if teacher is None else torch.from_numpy(teacher[rows]),
    )
