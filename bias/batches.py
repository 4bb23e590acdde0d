"""Rows of token ids in batches of like length. B rows in a batch, T tokens in its longest."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def batches_by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Indices in batches of like length, each of at most `tokens` tokens after padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def padded(rows: Sequence[tuple[int, ...]], padding: int, device: str) -> tuple[Tensor, Tensor]:
    """`input_ids` and `attention_mask`, (B, T), padded on the right with `padding`."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), padding, dtype=torch.int64)  # (B, T)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)
