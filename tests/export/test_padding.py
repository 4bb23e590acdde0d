"""Skipping padding changes neither logits nor their order, and computes less."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from export.padding import ParallelParts, skip_padding


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


class Slow(Recorder):
    """Takes the longer the more tokens it gets, and lets other threads run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[str, list[int]] = {}
        """Each thread's parts in their order, by their lengths."""

    def __call__(self, input_ids: Any, attention_mask: Any) -> Any:
        own = self.threads.setdefault(threading.current_thread().name, [])
        own.append(input_ids.shape[1])
        time.sleep(1e-5 * input_ids.size)
        return super().__call__(input_ids, attention_mask)


def never() -> Any:
    raise AssertionError("a lone review needs no second engine")


@pytest.mark.parametrize("seed", range(20))
def test_parts_on_several_threads_answer_in_the_same_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    batch_size, steps = int(random.integers(2, 40)), int(random.integers(1, 60))
    mask = (np.arange(steps) < random.integers(0, steps + 1, batch_size)[:, None]).astype(np.int64)
    ids = random.integers(0, 1000, (batch_size, steps))
    engine = Slow()
    parts = ParallelParts(Recorder(), lambda: engine, workers=int(random.integers(2, 5)))
    for _ in range(3):
        np.testing.assert_array_equal(parts(ids, mask), Recorder()(ids, mask))
    assert sum(b for b, _ in engine.shapes) == 3 * batch_size


def test_a_batch_is_shared_by_all_threads_from_its_longest_part_on() -> None:
    mask = (np.arange(100) < np.arange(1, 33)[:, None] * 3).astype(np.int64)
    engine = Slow()
    ParallelParts(Recorder(), lambda: engine, workers=2)(np.ones_like(mask), mask)
    assert len(engine.threads) == 2
    assert sorted(length for own in engine.threads.values() for length in own) == list(
        range(12, 97, 12)
    )
    # which thread is first is chance; that each goes from long to short is not
    assert all(own == sorted(own, reverse=True) for own in engine.threads.values())
    two = Slow()
    ParallelParts(Recorder(), lambda: two, workers=2)(np.ones_like(mask[:2]), mask[:2])
    assert sorted(two.shapes) == [(1, 3), (1, 6)], "two reviews are one for each thread"


def test_a_lone_review_goes_to_the_engine_whose_operators_share_the_threads() -> None:
    engine = Recorder()
    ParallelParts(engine, never, workers=2)(np.ones((1, 9), np.int64), np.ones((1, 9), np.int64))
    assert engine.shapes == [(1, 9)]


def test_a_part_that_fails_on_any_thread_fails_the_batch() -> None:
    def broken(input_ids: Any, attention_mask: Any) -> Any:
        time.sleep(0.005)
        if input_ids.shape[1] == 7:
            raise ValueError("seven")
        return Recorder()(input_ids, attention_mask)

    parts = ParallelParts(Recorder(), lambda: broken, workers=3, rows=1)
    for position in range(3, 12):
        lengths = np.arange(1, 13)
        lengths[position:] += 20  # the failing part among the first or the last ones
        lengths[position] = 7
        mask = (np.arange(40) < lengths[:, None]).astype(np.int64)
        with pytest.raises(ValueError, match="seven"):
            parts(np.ones_like(mask), mask)


def test_callers_of_one_backend_do_not_wait_for_one_another_in_vain() -> None:
    mask = (np.arange(30) < np.arange(1, 31)[:, None]).astype(np.int64)
    ids = np.random.default_rng(0).integers(0, 100, mask.shape)
    parts = ParallelParts(Recorder(), Slow, workers=2)
    with ThreadPoolExecutor(4) as callers:
        for found in callers.map(lambda _: parts(ids, mask), range(16)):
            np.testing.assert_array_equal(found, Recorder()(ids, mask))
