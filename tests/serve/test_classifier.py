"""Texts to probabilities: right, in order, bucketed, computed once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serve.classifier import STRETCH, TextClassifier, buckets, pad, softmax

# float32 logits against float64 arithmetic on the same numbers
TOLERANCE = 1e-6


class Recorder:
    """A backend that remembers its batches, over one that knows the leaning of ids."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []
        self.rows = 0

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        self.shapes.append(input_ids.shape)
        self.rows += len(input_ids)
        total = (input_ids * attention_mask).sum(axis=1) / 1000
        return np.stack([-total, total], axis=1).astype(np.float32)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def classifier(bundle, recorder: Recorder) -> TextClassifier:
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    return TextClassifier(
        tokenizer, recorder, ["negative", "positive"], max_length=16, batch_size=4, batch_tokens=40
    )


def test_probabilities_are_the_softmax_of_the_logits_in_the_order_of_the_texts(
    classifier: TextClassifier,
) -> None:
    texts = ["good", "bad book", "the very good book", "good"]
    sums = [2, 3 + 4, 5 + 9 + 2 + 4, 2]
    expected = [1 / (1 + np.exp(-2 * total / 1000)) for total in sums]
    np.testing.assert_allclose(classifier.predict(texts)[:, 1], expected, atol=TOLERANCE)


def test_no_texts_give_no_probabilities(classifier: TextClassifier, recorder: Recorder) -> None:
    assert classifier.predict([]).shape == (0, 2)
    assert recorder.shapes == []


def test_a_text_that_occurs_twice_is_computed_once(
    classifier: TextClassifier, recorder: Recorder
) -> None:
    classifier.predict(["good", "bad", "good", "good"])
    assert recorder.rows == 2


def test_a_batch_holds_texts_of_like_length_and_stays_within_its_limits(
    classifier: TextClassifier, recorder: Recorder
) -> None:
    long, short = " ".join(["good"] * 10), "bad"
    texts = [f"{long} the", short, f"{long} a", f"{short} a", f"{long} is", f"{short} is"]
    classifier.predict(texts)
    assert all(rows <= 4 and rows * steps <= 40 for rows, steps in recorder.shapes)
    assert recorder.shapes == [(3, 11), (3, 2)]


def test_what_the_model_did_not_read_is_told(classifier: TextClassifier) -> None:
    scores = classifier.score(["good " * 16, "good " * 17])
    assert scores.truncated.tolist() == [False, True]
    assert scores.tokens.tolist() == [16, 16]


def test_more_texts_than_a_stretch_keep_their_order(classifier: TextClassifier) -> None:
    texts = ["good"] * STRETCH + ["bad"]
    probabilities = classifier.predict(texts)
    assert probabilities.shape == (STRETCH + 1, 2)
    assert probabilities[-1, 1] == pytest.approx(1 / (1 + np.exp(-2 * 3 / 1000)), abs=TOLERANCE)


@given(
    lengths=st.lists(st.integers(0, 50), max_size=60),
    batch_size=st.integers(1, 9),
    batch_tokens=st.integers(1, 200),
)
def test_every_row_is_in_one_bucket(lengths: list[int], batch_size: int, batch_tokens: int) -> None:
    batches = list(buckets(np.array(lengths, np.int64), batch_size, batch_tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[row] for row in batch)
        assert len(batch) <= batch_size
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens


@given(rows=st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=5))
def test_padding_is_on_the_right_and_masked(rows: list[list[int]]) -> None:
    input_ids, mask = pad(rows)
    for row, ids, seen in zip(rows, input_ids.tolist(), mask.tolist(), strict=True):
        assert ids[: len(row)] == row and not any(ids[len(row) :])
        assert seen == [1] * len(row) + [0] * (len(ids) - len(row))
    assert input_ids.shape[1] == max(1, *(len(row) for row in rows))


def test_softmax_of_large_logits_neither_overflows_nor_loses_the_sum() -> None:
    probabilities = softmax(np.array([[1000.0, 0.0], [-1000.0, 1000.0]], np.float32))
    np.testing.assert_allclose(probabilities, [[1, 0], [0, 1]], atol=1e-12)
