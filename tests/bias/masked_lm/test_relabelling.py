"""Exact tests by relabelling, against scipy and against enumeration."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from bias.relabelling import adjusted_p, difference, empirical_null, relabellings
from training.results.statistics import holm

RANDOM = np.random.default_rng(7)
EXACT = 1e-12  # the same sums in another order


@pytest.mark.parametrize("aligned", [True, False])
def test_p_is_scipys_exact_permutation_p(aligned: bool) -> None:
    a, b = RANDOM.normal(0.4, 1, 6), RANDOM.normal(0, 1, 6)
    ours = difference(a, b, aligned).p
    theirs = stats.permutation_test(
        (a, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        permutation_type="samples" if aligned else "independent", n_resamples=np.inf,
    ).pvalue  # fmt: skip
    assert ours == pytest.approx(theirs, abs=EXACT)


@pytest.mark.parametrize("aligned", [True, False])
def test_interval_is_students(aligned: bool) -> None:
    a, b = RANDOM.normal(0.4, 1, 7), RANDOM.normal(0, 3, 7)
    ours = difference(a, b, aligned)
    tested = stats.ttest_rel(a, b) if aligned else stats.ttest_ind(a, b, equal_var=False)
    assert (ours.low, ours.high) == pytest.approx(tuple(tested.confidence_interval(0.95)), abs=1e-9)


def test_relabellings_begin_with_what_was_observed_and_are_all_there() -> None:
    weights, whole = relabellings(2, 3, aligned=False)
    assert whole and len(weights) == 10
    np.testing.assert_allclose(weights[0], [1 / 2, 1 / 2, -1 / 3, -1 / 3, -1 / 3])
    assert len({tuple(row) for row in weights}) == 10
    signs, whole = relabellings(3, 3, aligned=True)
    assert whole and len(signs) == 8


def test_a_sample_of_relabellings_holds_the_observed_one_and_its_p_is_never_zero() -> None:
    weights, whole = relabellings(20, 20, aligned=False, most=50)
    assert not whole and (weights[0, :20] > 0).all()
    assert difference(np.arange(20) + 100.0, np.arange(20.0), aligned=False, most=50).p == 1 / 50


@pytest.mark.parametrize("aligned", [True, False])
def test_adjusted_p_is_the_share_of_relabellings_with_a_larger_maximal_t(aligned: bool) -> None:
    a, b = RANDOM.normal(0, 1, (5, 12)), RANDOM.normal(0, 1, (5, 12))
    a[:, 3] += 4
    largest = []
    if aligned:
        for signs in product([1, -1], repeat=5):
            d = (a - b) * np.array(signs)[:, None]
            largest.append(np.abs(stats.ttest_1samp(d, 0).statistic))
    else:
        both = np.concatenate([a, b])
        for chosen in combinations(range(10), 5):
            rest = [i for i in range(10) if i not in chosen]
            t = stats.ttest_ind(both[list(chosen)], both[rest]).statistic
            largest.append(np.abs(t))
    maxima = np.array(largest).max(axis=1)
    wanted = [(maxima >= t * (1 - 1e-9)).mean() for t in largest[0]]
    np.testing.assert_allclose(adjusted_p(a, b, aligned), wanted, atol=EXACT)


@pytest.mark.parametrize("aligned", [True, False])
def test_false_findings_are_as_rare_as_promised(aligned: bool) -> None:
    """400 draws without any difference: each test rejects in 5% of them, up to chance."""
    single = any_token = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        # Tokens of one person share a shift: dependence, which the correction must stand.
        a, b = (random.normal(size=(6, 30)) + random.normal(size=(6, 1)) for _ in range(2))
        single += difference(a[:, 0], b[:, 0], aligned).p <= 0.05
        any_token += adjusted_p(a, b, aligned).min() <= 0.05
    # 99.9% bounds of a binomial at 5%; exact tests may reject less for their coarse p
    low, high = stats.binom.ppf([0.0005, 0.9995], 400, 0.05)
    attainable = 2 / 64 if aligned else 46 / 924  # the largest p of the design up to 5%
    assert single <= high and any_token <= high
    assert single >= stats.binom.ppf(0.0005, 400, attainable) * 0.8 and low > 0


def test_empirical_null_finds_the_outlier_of_a_wide_bulk_and_not_the_bulk() -> None:
    values = np.append(RANDOM.normal(1.0, 3.0, 999), 1.0 + 3.0 * 6)
    p = empirical_null(values)
    assert p[-1] < 1e-6
    assert (p[:-1] < 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_holm_steps_down() -> None:
    # by hand: .005·4, .01·3, max(.03, .03·2), max(.06, .04·1)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_a_group_of_one_or_none_is_refused_with_its_size() -> None:
    with pytest.raises(ValueError, match="groups of 1 and 5 members"):
        difference(np.zeros(1), np.zeros(5), aligned=False)
    with pytest.raises(ValueError, match="groups of 0 and 2"):
        relabellings(0, 2, aligned=False)
    with pytest.raises(ValueError, match="aligned groups have 2 and 3"):
        relabellings(2, 3, aligned=True)


def test_a_difference_without_spread_has_no_width_and_is_no_error() -> None:
    same = difference(np.ones(4), np.ones(4), aligned=False)
    assert (same.value, same.low, same.high, same.p, same.cohen_d) == (0, 0, 0, 1, 0)
