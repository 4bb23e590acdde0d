"""Two classifiers on the same rows: is one better, or does it only look so?

Of N rows, `only_left` are answered rightly by the left model alone and `only_right` by the right
one alone. Rows on which both are right or both are wrong say nothing about which is better. Where
only the number of right answers of each is known, the tests for independent samples stand in: two
models mostly err on the same rows, so that these find less, not more, than there is.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, fisher_exact, norm

CONFIDENCE = 0.95
POWER = 0.80
RESAMPLES = 10_000
SEED = 0


def mcnemar(only_left: int, only_right: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947): a fair coin decides the unlike rows."""
    unlike = only_left + only_right
    return float(binomtest(only_left, unlike, 0.5).pvalue) if unlike else 1.0


def difference_interval(only_left: int, only_right: int, rows: int) -> tuple[float, float]:
    """95% percentile bootstrap interval of the right model's accuracy less the left one's.

    Resampling rows with replacement draws the three counts (left alone, right alone, alike) from
    a multinomial distribution, so the rows themselves are not needed.
    """
    shares = np.array([only_left, only_right, rows - only_left - only_right]) / rows
    drawn = np.random.default_rng(SEED).multinomial(rows, shares, size=RESAMPLES)  # (R, 3)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / rows, [tail, 100 - tail])
    return float(low), float(high)


def detectable_difference(only_left: int, only_right: int, rows: int) -> float:
    """Smallest true difference in accuracy that these rows would have shown in 80 of 100 cases.

    The paired difference has standard error √(share of unlike rows / N) where it is small
    (Connor 1987); a two-sided test at 5% then needs (1.96 + 0.84) of them. At least one unlike
    row is assumed, since two models that never differed would otherwise promise any precision.
    """
    unlike = max(1, only_left + only_right) / rows
    return _deviations() * math.sqrt(unlike / rows)


def unpaired_p(left_correct: int, right_correct: int, rows: int) -> float:
    """Two-sided p-value of Fisher's exact test on the right answers of each model, N rows each."""
    table = [[left_correct, rows - left_correct], [right_correct, rows - right_correct]]
    return float(fisher_exact(table).pvalue)


def unpaired_interval(left_correct: int, right_correct: int, rows: int) -> tuple[float, float]:
    """95% interval of the right model's accuracy less the left one's, from their Wilson intervals
    (Newcombe 1998, method 10, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873)."""
    left, right = (binomtest(count, rows).proportion_ci(CONFIDENCE, method="wilson")
                   for count in (left_correct, right_correct))  # fmt: skip
    p, q = left_correct / rows, right_correct / rows
    return (
        q - p - math.hypot(q - right.low, left.high - p),
        q - p + math.hypot(right.high - q, p - left.low),
    )


def unpaired_detectable(left_correct: int, right_correct: int, rows: int) -> float:
    """As `detectable_difference`, of two independent samples: √(p(1 − p)/N + q(1 − q)/N), at least
    one error or right answer assumed."""
    variance = sum(max(1, c) * max(1, rows - c) / rows**3 for c in (left_correct, right_correct))
    return _deviations() * math.sqrt(variance)


def _deviations() -> float:
    """Standard errors between no difference and one that the power is asked for."""
    return float(norm.ppf(0.5 + CONFIDENCE / 2) + norm.ppf(POWER))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979) of m p-values, in the order given.

    The k-th smallest is multiplied by m − k + 1, never falls below its predecessor, and ends at 1.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
