"""Batches: every review once, of like length, padded on the right with 0."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from training.batches import Batch, collate, epoch_plan
from training.sources import open_source
from training.tokenization import load_tokenizer

# on a busy machine one example may take any time
unhurried = settings(deadline=None, max_examples=50)


class _Rows:
    """A table in plain lists."""

    def __init__(self, rows: list[list[int]], labels: list[int]) -> None:
        self.rows = rows
        self.lengths = np.array([len(row) for row in rows], np.int32)
        self.labels = np.array(labels, np.int8)

    def ids(self, i: int) -> np.ndarray:
        return np.array(self.rows[i], np.uint16)


_IDS = st.lists(st.integers(1, 65_535), max_size=9)
_SOME_ROWS = st.lists(st.tuples(_IDS, st.integers(0, 1)), min_size=1, max_size=8)
_LENGTHS = st.lists(st.integers(0, 60), max_size=300).map(lambda n: np.array(n, np.int32))


@unhurried
@given(_LENGTHS, st.integers(1, 40), st.integers(0, 5), st.booleans())
def test_an_epoch_has_every_row_once(
    lengths: np.ndarray, batch_size: int, epoch: int, bucketed: bool
) -> None:
    plan = epoch_plan(lengths, batch_size, 3, epoch, bucketed)
    assert len(plan) == -(-len(lengths) // batch_size)
    assert all(len(rows) == batch_size for rows in plan[:-1])  # the short one comes last
    rows = np.concatenate(plan) if plan else np.array([])
    assert sorted(rows) == list(range(len(lengths)))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    lengths = np.random.default_rng(0).integers(2, 256, 500)
    orders = {
        (seed, epoch): np.concatenate(epoch_plan(lengths, 16, seed, epoch)).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({tuple(order) for order in orders.values()}) == 4
    for (seed, epoch), order in orders.items():
        assert np.concatenate(epoch_plan(lengths, 16, seed, epoch)).tolist() == order


def _padding(lengths: np.ndarray, plan: list[np.ndarray]) -> float:
    return 1 - lengths.sum() / sum(lengths[rows].max() * len(rows) for rows in plan)


def test_bucketing_saves_nearly_all_padding_and_keeps_batches_in_random_order() -> None:
    lengths = np.random.default_rng(0).integers(2, 256, 20_000)
    plan = epoch_plan(lengths, 32, 0, 0, bucketed=True)
    assert (
        _padding(lengths, plan)
        < 0.05
        < 0.4
        < _padding(lengths, epoch_plan(lengths, 32, 0, 0, False))
    )
    means = np.array([lengths[rows].mean() for rows in plan[:-1]])
    # 625 batches in random order: the correlation of neighbours is 0 within 4 standard errors
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 4 / np.sqrt(len(means))


def test_the_short_last_batch_is_not_of_the_longest_reviews() -> None:
    lengths = np.arange(1000)
    means = [lengths[epoch_plan(lengths, 64, 0, epoch)[-1]].mean() for epoch in range(30)]
    assert 400 < np.mean(means) < 600  # 499.5, standard error 8 over thirty draws of forty


def test_a_batch_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size=0"):
        epoch_plan(np.array([1]), 0, 0, 0)


@unhurried
@given(
    _SOME_ROWS,
    st.data(),
)
def test_a_batch_is_what_pad_sequence_makes(
    rows: list[tuple[list[int], int]], data: st.DataObject
) -> None:
    table = _Rows([ids for ids, _ in rows], [label for _, label in rows])
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=12))
    batch = collate(table, chosen)
    tensors = [torch.tensor(rows[i][0], dtype=torch.int64) for i in chosen]
    expected = pad_sequence(tensors, batch_first=True, padding_value=0)
    width = max(1, expected.shape[1])  # of empty reviews only, a batch is one column of padding
    assert batch.input_ids.shape == batch.attention_mask.shape == (len(chosen), width)
    assert torch.equal(batch.input_ids[:, : expected.shape[1]], expected)
    assert batch.attention_mask.sum(1).tolist() == [len(tensor) for tensor in tensors]
    assert torch.equal(batch.attention_mask, (batch.input_ids != 0).long())
    assert batch.labels.tolist() == [rows[i][1] for i in chosen]
    assert {t.dtype for t in (batch.input_ids, batch.attention_mask, batch.labels)} == {torch.int64}


def test_padding_to_the_maximum_has_one_width() -> None:
    table = _Rows([[5, 6], [7]], [0, 1])
    assert collate(table, [1, 0], "max", 8).input_ids.tolist() == [[7] + [0] * 7, [5, 6] + [0] * 6]
    with pytest.raises(ValueError, match="max_length=1: a review has 2 tokens"):
        collate(table, [0], "max", 1)


def test_no_rows_give_an_empty_batch_and_a_blank_one_is_a_review_of_one_token() -> None:
    empty = collate(_Rows([[5]], [1]), np.array([], np.int64))
    assert empty.input_ids.shape == (0, 1) and len(empty.labels) == 0
    blank = Batch.blank(torch.device("cpu"))
    assert blank.input_ids.shape == (1, 1) and blank.attention_mask.tolist() == [[1]]
    moved = pickle.loads(pickle.dumps(blank)).to(torch.device("cpu"))
    assert torch.equal(moved.input_ids, blank.input_ids)


def test_real_reviews_are_padded_by_less_than_five_percent(shared_data: Path) -> None:
    """Of 4,402 reviews; 2% of 67,435, whose pools of fifty batches are full."""
    tokenizer = load_tokenizer(str(shared_data / "bert-base-uncased"))
    tokenizer.enable_truncation(256)
    reviews = open_source(str(shared_data / "amazon_polarity")).splits["test"].read("title+content")
    encoded = [e for stretch in reviews for e in tokenizer.encode_batch_fast(stretch.texts)]
    lengths = np.array([len(encoding.ids) for encoding in encoded])
    assert _padding(lengths, epoch_plan(lengths, 64, 0, 0, bucketed=True)) < 0.05
    assert _padding(lengths, epoch_plan(lengths, 64, 0, 0, bucketed=False)) > 0.4
