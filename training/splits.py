"""Which rows train, validate and test: stratified draws with a seed, and rows that repeat."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Repeats:
    """What repeats among N texts: `first` (N,), the rows to keep; `contradicting` (N,), the first
    rows of texts that occur with both labels."""

    first: Mask
    contradicting: Mask


def find_repeats(hashes: NDArray[np.uint64], labels: NDArray[np.int8]) -> Repeats:
    """Compare N texts by their hashes."""
    first = np.zeros(len(hashes), bool)
    contradicting = np.zeros(len(hashes), bool)
    if len(hashes):
        order = np.argsort(hashes, kind="stable")  # stable: the first row leads its group
        starts = _group_starts(hashes[order])
        leaders = order[starts]
        ordered = labels[order]
        lowest = np.minimum.reduceat(ordered, starts)
        highest = np.maximum.reduceat(ordered, starts)
        first[leaders] = True
        contradicting[leaders[lowest != highest]] = True
    return Repeats(first, contradicting)


def occurs_in(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> Mask:
    """Which of `hashes` (N,) are also among `others` (M,)."""
    if not len(others):
        return np.zeros(len(hashes), bool)
    known = np.sort(others)
    found: Mask = known[np.minimum(np.searchsorted(known, hashes), len(known) - 1)] == hashes
    return found


def stratified(strata: NDArray[np.integer], count: int, *seed: int) -> Mask:
    """Mark `count` of N rows drawn at random so that each stratum keeps its share.

    Each stratum gives its share of `count` rounded down; the rows that are left to give go to the
    strata that were rounded down most (largest remainders), so that the sum is exact.
    """
    chosen = np.zeros(len(strata), bool)
    values, sizes = np.unique(strata, return_counts=True)
    count = min(count, len(strata))
    shares = sizes * count / max(1, len(strata))
    quotas = np.floor(shares).astype(np.int64)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    quotas[by_remainder[: count - quotas.sum()]] += 1
    random = np.random.default_rng(seed)
    for value, quota in zip(values, quotas, strict=True):
        members = np.flatnonzero(strata == value)
        chosen[random.permutation(members)[:quota]] = True
    return chosen


def _group_starts(ordered: NDArray[np.uint64]) -> Rows:
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    return np.concatenate([[0], changes])
