"""What happens at which step."""

import numpy as np
import pytest
import torch
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from training.feed import micro_batches
from training.schedule import Schedule
from training.settings import TrainConfig

LENGTHS = np.random.default_rng(0).integers(3, 256, 1003)


def _schedule(**settings) -> Schedule:
    return Schedule(TrainConfig(**{"batch_size": 50, "epochs": 3} | settings), LENGTHS)


def test_every_review_is_trained_on_once_an_epoch_in_another_order() -> None:
    schedule = _schedule()
    assert schedule.steps_per_epoch == 21
    orders = []
    for epoch in range(3):
        rows = [schedule.rows(epoch * 21 + i) for i in range(21)]
        orders.append(np.concatenate(rows))
        assert sorted(orders[-1]) == list(range(1003))
    assert not np.array_equal(orders[0], orders[1])


def test_a_step_can_be_asked_for_without_those_before_it() -> None:
    straight, jumped = _schedule(), _schedule()
    rows = [straight.rows(step) for step in range(63)]
    for step in (62, 5, 30):
        assert np.array_equal(jumped.rows(step), rows[step])


@pytest.mark.parametrize(
    ("name", "reference"),
    [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)],
)
def test_learning_rate_is_transformers_after_the_warm_up(name: str, reference) -> None:
    schedule = _schedule(schedule=name, warmup_fraction=0.1, learning_rate=3e-3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-3)
    theirs = reference(optimizer, round(0.1 * 63), 63)
    for step in range(63):
        if step >= 6:  # ours starts the warm-up at 1/6 of the peak, theirs wastes a step at 0
            assert schedule.learning_rate(step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_validations_are_evenly_spread_and_the_last_step_has_one() -> None:
    assert _schedule(evaluations_per_epoch=1).validation_steps == {21, 42, 63}
    steps = sorted(_schedule(evaluations_per_epoch=4).validation_steps)
    assert len(steps) == 12 and steps[-1] == 63
    assert sorted(_schedule(max_steps=10).validation_steps) == [5, 10]


def test_reviews_seen_count_the_short_last_batch() -> None:
    schedule = _schedule()
    seen = 0
    for step in range(63):
        seen += len(schedule.rows(step))
        assert schedule.reviews(step + 1) == seen


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_processes_share_a_batch_wholly_and_in_as_many_parts(count: int, world: int) -> None:
    rows = np.arange(count)
    parts = [micro_batches(rows, rank, world, 4) for rank in range(world)]
    assert len({len(p) for p in parts}) == 1
    assert sorted(np.concatenate([part for p in parts for part in p])) == list(rows)
    assert all(len(part) <= 4 for p in parts for part in p)
