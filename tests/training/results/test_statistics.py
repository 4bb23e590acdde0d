"""The statistics against figures worked out by hand and against simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from training.results.statistics import (
    detectable_difference,
    difference_interval,
    holm,
    mcnemar,
    unpaired_detectable,
    unpaired_interval,
    unpaired_p,
)


@pytest.mark.parametrize(
    ("only_left", "only_right", "p"),
    [
        (1, 9, 2 * (1 + 10) / 2**10),
        (9, 1, 2 * (1 + 10) / 2**10),
        (0, 5, 2 / 2**5),
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_the_two_sided_tail_of_a_fair_coin(only_left, only_right, p):
    assert mcnemar(only_left, only_right) == pytest.approx(p, rel=1e-12)  # float64 sums


def test_holm_equals_a_hand_worked_example():
    # sorted: 0.005·4, 0.01·3, 0.03·2, 0.04·1; the last must not fall below the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_passes_one_and_takes_no_p_values():
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_equals_one_made_by_resampling_rows():
    rng = np.random.default_rng(5)
    only_left, only_right, rows = 30, 55, 1000
    outcome = np.concatenate([np.full(30, -1), np.full(55, 1), np.zeros(rows - 85)])
    means = [outcome[rng.integers(0, rows, rows)].mean() for _ in range(4000)]
    # both are estimates of the same quantiles; 0.002 is twice the grid of 1/1000
    expected = np.percentile(means, [2.5, 97.5])
    assert difference_interval(only_left, only_right, rows) == pytest.approx(expected, abs=0.002)


def test_the_interval_covers_a_known_difference_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    rows, left, right, trials = 1500, 0.05, 0.08, 200
    counts = rng.multinomial(rows, [left, right, 1 - left - right], size=trials)
    bounds = [difference_interval(int(b), int(c), rows) for b, c, _ in counts]
    covered = np.mean([low <= right - left <= high for low, high in bounds])
    # three and a half standard errors of a share of 0.95 over 200 trials are 0.054
    assert covered == pytest.approx(0.95, abs=0.054)


def test_the_detectable_difference_is_detected_four_times_in_five():
    rng = np.random.default_rng(2)
    rows, unlike, trials = 4000, 0.1, 500
    difference = detectable_difference(0, int(unlike * rows), rows)
    shares = [(unlike - difference) / 2, (unlike + difference) / 2, 1 - unlike]
    counts = rng.multinomial(rows, shares, size=trials)
    shown = np.mean([binomtest(int(b), int(b + c)).pvalue < 0.05 for b, c, _ in counts])
    # the exact test is a little conservative; three standard errors over 500 trials are 0.054
    assert shown == pytest.approx(0.8, abs=0.06)


def test_two_models_that_never_differed_promise_no_infinite_precision():
    assert detectable_difference(0, 0, 100) == detectable_difference(1, 0, 100) > 0


def test_the_unpaired_interval_is_newcombes_published_example():
    # Newcombe 1998, table II, method 10: 9/10 against 3/10
    low, high = unpaired_interval(3, 9, 10)
    assert (low, high) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def test_the_unpaired_p_is_that_of_the_lady_tasting_tea():
    # Fisher 1935: 3 of 4 against 1 of 4; one-sided 17/70, two-sided twice that
    assert unpaired_p(3, 1, 4) == pytest.approx(34 / 70)


def test_the_unpaired_detectable_difference_is_detected_four_times_in_five():
    rng = np.random.default_rng(3)
    rows, trials = 2000, 400
    # the difference moves the variance, so that the power is asked for at the two shares themselves
    detectable = unpaired_detectable(int(0.88 * rows), int(0.85 * rows), rows)
    left, right = rng.binomial(
        rows, [0.865 + detectable / 2, 0.865 - detectable / 2], (trials, 2)
    ).T
    shown = np.mean(
        [unpaired_p(int(a), int(b), rows) < 0.05 for a, b in zip(left, right, strict=True)]
    )
    # Fisher's test is conservative; three standard errors over 400 trials are 0.06
    assert shown == pytest.approx(0.78, abs=0.06)
