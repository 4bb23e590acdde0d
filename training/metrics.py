"""What a classifier's answers are worth: five figures, each with a 95% interval.

N reviews, C classes. Everything is numpy on the host: evaluation has already gathered the logits.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import binomtest

RESAMPLES = 1000
BINS = 15  # of the calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class Interval:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """Of `n` reviews: accuracy, cross-entropy in nats, F1 of the positive class, and ECE."""

    n: int
    accuracy: Interval
    loss: Interval
    f1: Interval
    calibration_error: Interval

    def summary(self) -> str:
        """Accuracy with its interval, for a line on the terminal."""
        a = self.accuracy
        return f"accuracy {a.value:.4f} ({a.low:.4f} to {a.high:.4f}, n = {self.n:,})"

    def as_dict(self) -> dict[str, object]:
        """Plain dictionaries, for JSON."""
        return asdict(self)


def evaluate_logits(
    logits: NDArray[np.floating], labels: NDArray[np.integer], seed: int = 0
) -> Metrics:
    """Measure `logits (N, C)` against `labels (N,)`.

    Accuracy has Wilson's interval; loss the normal one of a mean; F1 and the expected calibration
    error (Guo et al. 2017, 15 equal bins of confidence) the normal one with a bootstrap standard
    error, since resampling biases the calibration error itself upwards.

    Raises:
        ValueError: no reviews, or as many labels as rows is not the case.
    """
    if len(labels) == 0 or len(labels) != len(logits):
        raise ValueError(f"expected one label a row and at least one row, got {len(labels)} labels "
                         f"for {len(logits)} rows")  # fmt: skip
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)  # (N, C)
    predictions = log_probabilities.argmax(-1)
    correct = predictions == labels
    losses = _losses(log_probabilities, labels)
    wilson = binomtest(int(correct.sum()), len(labels)).proportion_ci(method="wilson")
    rng = np.random.default_rng(seed)
    confidence = np.exp(log_probabilities.max(-1))
    loss_error = float(losses.std(ddof=1)) / np.sqrt(len(losses)) if len(losses) > 1 else 0.0
    return Metrics(
        n=len(labels),
        accuracy=Interval(float(correct.mean()), float(wilson.low), float(wilson.high)),
        loss=_normal(float(losses.mean()), loss_error, upper=np.inf),
        f1=_f1(predictions, labels, rng),
        calibration_error=_calibration_error(confidence, correct, rng),
    )


def cross_entropy(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The mean in nats, of `logits` (N, C) with `labels` (N,)."""
    return float(_losses(log_softmax(logits.astype(np.float64), axis=-1), labels).mean())


def _losses(
    log_probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.floating]:
    """(N,), of log-probabilities (N, C)."""
    losses: NDArray[np.floating] = -log_probabilities[np.arange(len(labels)), labels]
    return losses


def _normal(value: float, standard_error: float, upper: float = 1.0) -> Interval:
    margin = 1.959964 * float(standard_error)
    return Interval(value, max(0.0, value - margin), float(min(upper, value + margin)))


def _f1(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], rng: np.random.Generator
) -> Interval:
    """F1 needs the four cells of the confusion table only, so the bootstrap resamples those."""
    true_positive = int(((predictions == 1) & (labels == 1)).sum())
    wrong = int((predictions != labels).sum())
    n = len(labels)
    cells = np.array([true_positive, wrong, n - true_positive - wrong])
    drawn = rng.multinomial(n, cells / n, size=RESAMPLES)
    score = _f1_of_cells(cells[None])[0]
    return _normal(float(score), float(_f1_of_cells(drawn).std(ddof=1)))


def _f1_of_cells(cells: NDArray[np.integer]) -> NDArray[np.floating]:
    """2·TP / (2·TP + FP + FN), and 0 where there is nothing positive, as scikit-learn has it."""
    denominator = 2 * cells[:, 0] + cells[:, 1]
    return np.divide(2 * cells[:, 0], denominator, out=np.zeros(len(cells)), where=denominator > 0)


def _calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_], rng: np.random.Generator
) -> Interval:
    """Mean |confidence − accuracy| over bins of confidence, weighted by the bins' share."""
    n = len(confidence)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = correct.astype(np.float64) - confidence

    def error(rows: NDArray[np.integer]) -> float:
        return float(np.abs(np.bincount(bins[rows], gap[rows], minlength=BINS)).sum() / n)

    resampled = [error(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    return _normal(error(np.arange(n)), float(np.std(resampled, ddof=1)))
