"""The batches on which an export must answer as its checkpoint does.

Every length from 1 to 256 and every batch size from 1 to 64 that breaks kernels (one, odd, a power
of two and its neighbours), every shape of mask, ids that no tokenizer gives in that order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

LENGTHS = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    100,
    127,
    128,
    129,
    200,
    255,
    256,
)
BATCHES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64)
MASKS = ("none", "ragged", "one real token", "one row alone unpadded")
TOKENS = ("random", "padding id", "one id repeated", "highest id", "lowest and highest")
MOST_TOKENS = 4096  # of one batch: long reviews come in small batches, or eager would take minutes


@dataclass(frozen=True)
class Case:
    """A batch: `input_ids` and `attention_mask` (B, T), and words that say what it is."""

    name: str
    input_ids: Ids
    attention_mask: Ids


def cases(vocabulary_size: int, max_length: int = LENGTHS[-1], seed: int = 0) -> list[Case]:
    """Every length, every batch size, every mask, every kind of ids, each with several of the
    others; the same for the same seed."""
    random = np.random.default_rng(seed)
    made = []
    masks, tokens, batches = cycle(MASKS), cycle(TOKENS), cycle(BATCHES)
    for steps in _lengths(max_length):
        for mask in MASKS:
            batch_size = min(next(batches), max(1, MOST_TOKENS // steps))
            made.append(_case(batch_size, steps, mask, next(tokens), vocabulary_size, random))
    for batch_size in BATCHES:
        for steps in (1, 2, min(17, max_length), min(MOST_TOKENS // batch_size, max_length)):
            made.append(
                _case(batch_size, steps, next(masks), next(tokens), vocabulary_size, random)
            )
    return made


def review_cases(rows: list[list[int]], size: int = 32) -> Iterator[Case]:
    """Real reviews, as token ids, in batches of their own order, padded to the longest of each."""
    for index, batch in enumerate(padded_batches(rows, size)):
        yield Case(f"labelled reviews from {index * size} on", *batch)


def padded_batches(rows: list[list[int]], size: int) -> Iterator[tuple[Ids, Ids]]:
    """The rows in their own order, `size` a batch, padded to the longest of each."""
    for start in range(0, len(rows), size):
        yield padded(rows[start : start + size])


def padded(rows: list[list[int]]) -> tuple[Ids, Ids]:
    """Token ids of unequal length -> `input_ids`, `attention_mask` (B, T), T the longest."""
    steps = max(1, *(len(row) for row in rows))
    input_ids = np.zeros((len(rows), steps), np.int64)
    attention_mask = np.zeros((len(rows), steps), np.int64)
    for i, row in enumerate(rows):
        input_ids[i, : len(row)] = row
        attention_mask[i, : len(row)] = 1
    return input_ids, attention_mask


def _lengths(max_length: int) -> list[int]:
    return sorted({steps for steps in LENGTHS if steps < max_length} | {max_length})


def _case(
    batch_size: int,
    steps: int,
    mask: str,
    tokens: str,
    vocabulary_size: int,
    random: np.random.Generator,
) -> Case:
    lengths = _mask_lengths(mask, batch_size, steps, random)
    attention_mask = (np.arange(steps) < lengths[:, None]).astype(np.int64)
    # Ids under the padding stay: whatever lies there must not be read.
    input_ids = _token_ids(tokens, (batch_size, steps), vocabulary_size, random)
    name = f"batch {batch_size}, length {steps}, mask: {mask}, ids: {tokens}"
    return Case(name, input_ids, attention_mask)


def _mask_lengths(
    mask: str, batch_size: int, steps: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """The number of real tokens of each row: (B,)"""
    if mask == "ragged":
        return random.integers(1, steps + 1, batch_size)
    if mask == "one real token":
        return np.ones(batch_size, np.int64)
    lengths = np.full(batch_size, steps, np.int64)
    if mask == "one row alone unpadded":
        lengths[1:] = 1
    return lengths


def _token_ids(
    tokens: str, shape: tuple[int, int], vocabulary_size: int, random: np.random.Generator
) -> Ids:
    last = vocabulary_size - 1
    if tokens == "random":
        return random.integers(0, vocabulary_size, shape)
    if tokens == "lowest and highest":
        return random.integers(0, 2, shape) * last
    chosen = {"padding id": 0, "highest id": last}.get(tokens)
    if chosen is None:
        chosen = int(random.integers(1, vocabulary_size))
    return np.full(shape, chosen, np.int64)
