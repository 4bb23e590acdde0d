"""Skipping padding changes neither logits nor their order, and computes less."""

from typing import Any

import numpy as np
import pytest

from export.padding import skip_padding


class Recorder:
    """Logits that depend on a review's real tokens; remembers the shapes it was given."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        assert input_ids.flags["C_CONTIGUOUS"] and attention_mask.flags["C_CONTIGUOUS"]
        self.shapes.append(input_ids.shape)
        score = (input_ids * attention_mask).sum(axis=1)
        return np.stack([score, -score], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_any_ragged_batch_gets_the_same_logits_in_the_same_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    batch_size, steps = int(random.integers(1, 40)), int(random.integers(1, 60))
    lengths = random.integers(0, steps + 1, batch_size)
    mask = (np.arange(steps) < lengths[:, None]).astype(np.int64)
    if seed % 3 == 0:  # with gaps: not what training makes, but what a caller may
        mask *= random.integers(0, 2, mask.shape)
    ids = random.integers(0, 1000, (batch_size, steps))
    engine = Recorder()
    np.testing.assert_array_equal(skip_padding(engine)(ids, mask), Recorder()(ids, mask))
    assert sum(b for b, _ in engine.shapes) == batch_size
    assert all(t >= 1 for _, t in engine.shapes)


def test_a_ragged_batch_is_computed_in_parts_of_like_length() -> None:
    lengths = np.array([1, 100, 2, 99, 1, 98, 2, 97])
    mask = (np.arange(120) < lengths[:, None]).astype(np.int64)
    engine = Recorder()
    skip_padding(engine, rows=4)(np.ones_like(mask), mask)
    assert engine.shapes == [(4, 2), (4, 100)]


def test_a_batch_without_padding_is_one_call() -> None:
    engine = Recorder()
    skip_padding(engine)(np.ones((64, 9), np.int64), np.ones((64, 9), np.int64))
    assert engine.shapes == [(64, 9)]
