"""The figures of a result, against scikit-learn, scipy and arithmetic by hand."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import accuracy_score, f1_score, log_loss

from training.metrics import evaluate_logits


def _example(n: int = 500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    odds = rng.normal(labels * 2.0 - 1.0, 1.5)
    return np.stack([np.zeros(n), odds], -1).astype(np.float32), labels.astype(np.int8)


def test_accuracy_loss_and_f1_are_scikit_learns() -> None:
    logits, labels = _example()
    metrics = evaluate_logits(logits, labels)
    predictions = logits.argmax(-1)
    probabilities = np.exp(logits.astype(float)) / np.exp(logits.astype(float)).sum(
        -1, keepdims=True
    )
    assert metrics.n == 500
    assert metrics.accuracy.value == accuracy_score(labels, predictions)
    # float64 sums of 500 terms in another order
    assert metrics.f1.value == pytest.approx(f1_score(labels, predictions), abs=1e-12)
    assert metrics.loss.value == pytest.approx(log_loss(labels, probabilities), abs=1e-12)


def test_calibration_error_by_hand() -> None:
    """Ten answers of confidence 0.9 of which 6 are right, ten of 0.7 of which 7 are."""
    confidence = np.array([0.9] * 10 + [0.7] * 10)
    right = np.array([1] * 6 + [0] * 4 + [1] * 7 + [0] * 3)
    logits = np.stack([np.zeros(20), np.log(confidence / (1 - confidence))], -1)
    metrics = evaluate_logits(logits, right)  # the answer is always 1, so right means label 1
    # |0.6 - 0.9| · ½ + |0.7 - 0.7| · ½; float64 rounding only
    assert metrics.calibration_error.value == pytest.approx(0.15, abs=1e-9)


def test_the_accuracy_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    truth, n, trials, covered = 0.9, 200, 400, 0
    for _ in range(trials):
        right = rng.random(n) < truth
        logits = np.stack([np.where(right, 0.0, 1.0), np.where(right, 1.0, 0.0)], -1)
        interval = evaluate_logits(logits, np.ones(n, dtype=np.int8)).accuracy
        covered += interval.low <= truth <= interval.high
    # Wilson's coverage at n = 200 is within 0.93 and 0.97; five binomial deviations of 400 trials
    low, high = binom.interval(1 - 1e-6, trials, 0.95)
    assert low - 0.02 * trials <= covered <= high


@pytest.mark.parametrize("name", ["accuracy", "loss", "f1", "calibration_error"])
def test_intervals_hold_the_value_and_shrink_with_the_square_root_of_n(name: str) -> None:
    small = getattr(evaluate_logits(*_example(500)), name)
    large = getattr(evaluate_logits(*_example(8000)), name)
    for interval in (small, large):
        assert interval.low <= interval.value <= interval.high
    # 16 times the reviews: a quarter of the width; within 35% of it for sampling
    ratio = (large.high - large.low) / (small.high - small.low)
    assert ratio == pytest.approx(0.25, rel=0.35)


def test_answers_that_are_all_negative_have_f1_zero_as_in_scikit_learn() -> None:
    logits = np.tile([1.0, 0.0], (8, 1))
    labels = np.array([0, 1] * 4, dtype=np.int8)
    assert evaluate_logits(logits, labels).f1.value == f1_score(labels, np.zeros(8)) == 0.0


def test_no_reviews_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        evaluate_logits(np.zeros((0, 2)), np.zeros(0, dtype=np.int8))
