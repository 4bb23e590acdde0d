"""Stratified draws and repeats, against scikit-learn and against plain dictionaries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from training.splits import find_repeats, occurs_in, stratified

# on a busy machine one example may take any time
unhurried = settings(deadline=None, max_examples=50)
_FEW = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), max_size=40)


@unhurried
@given(_FEW)
def test_repeats_are_those_a_dictionary_finds(rows: list[tuple[int, int]]) -> None:
    hashes = np.array([text for text, _ in rows], np.uint64)
    labels = np.array([label for _, label in rows], np.int8)
    seen: dict[int, int] = {}
    for i, (text, _) in enumerate(rows):
        seen.setdefault(text, i)
    both = {text for text, _ in rows if {label for t, label in rows if t == text} == {0, 1}}
    found = find_repeats(hashes, labels)
    assert np.flatnonzero(found.first).tolist() == sorted(seen.values())
    assert np.flatnonzero(found.contradicting).tolist() == sorted(seen[text] for text in both)


@unhurried
@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_occurrence_is_membership(own: list[int], others: list[int]) -> None:
    found = occurs_in(np.array(own, np.uint64), np.array(others, np.uint64))
    assert found.tolist() == [value in others for value in own]


@unhurried
@given(st.lists(st.integers(0, 3), max_size=200), st.integers(0, 220), st.integers(0, 3))
def test_a_draw_has_its_size_and_every_stratum_its_share(
    strata: list[int], count: int, seed: int
) -> None:
    values = np.array(strata, np.int64)
    chosen = stratified(values, count, seed)
    assert chosen.sum() == min(count, len(strata))
    for value in set(strata):
        share = min(count, len(strata)) * strata.count(value) / len(strata)
        assert abs(int(chosen[values == value].sum()) - share) < 1  # rounded up or down, no more


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.33])
def test_the_proportions_are_scikit_learns(fraction: float) -> None:
    labels = np.random.default_rng(1).choice([0, 1, 2], 1003, p=[0.6, 0.3, 0.1])
    count = round(fraction * len(labels))
    _, theirs = train_test_split(labels, test_size=count, stratify=labels, random_state=0)
    ours = labels[stratified(labels, count, 0)]
    # both round largest remainders first; ties may go either way
    assert np.abs(np.bincount(ours) - np.bincount(theirs)).max() <= 1


def test_a_draw_is_a_function_of_its_seed() -> None:
    strata = np.arange(500) % 2
    first = stratified(strata, 100, 7, 1)
    assert np.array_equal(first, stratified(strata, 100, 7, 1))
    assert not np.array_equal(first, stratified(strata, 100, 7, 2))
    assert not np.array_equal(first, stratified(strata, 100, 8, 1))
