"""Clustered inference against scipy, by hand, and by how often it is right over many samples."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test, ttest_1samp

from bias import stats

SAMPLES = 400
# Of 400 samples, 95% intervals miss 20 ± 8.5 times (two standard errors), 5% tests likewise.
MISSES = range(8, 37)


def clustered_sample(seed: int, mean: float = 0.0) -> tuple[np.ndarray, list[int]]:
    """25 clusters of 2 to 8 values that share an effect of their cluster."""
    generator = np.random.default_rng(seed)
    sizes = generator.integers(2, 9, 25)
    effects = np.repeat(generator.normal(mean, 1, 25), sizes)
    clusters = np.repeat(np.arange(25), sizes)
    return effects + generator.normal(0, 0.5, len(effects)), clusters.tolist()


def test_the_mean_is_that_of_all_values_and_order_does_not_matter() -> None:
    values, clusters = clustered_sample(0)
    data = stats.clustered(values, clusters)
    assert data.mean == pytest.approx(values.mean())
    order = np.random.default_rng(1).permutation(len(values))
    again = stats.clustered(values[order], [clusters[i] for i in order])
    assert again.standard_error == pytest.approx(data.standard_error)


def test_one_value_a_cluster_gives_the_textbook_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    data = stats.clustered(values, range(40))
    assert data.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(40))


def test_students_interval_is_scipys_for_one_value_a_cluster() -> None:
    values = np.random.default_rng(0).normal(size=40)
    theirs = ttest_1samp(values, 0).confidence_interval(0.95)
    assert stats.student_interval(stats.clustered(values, range(40))) == pytest.approx(theirs)


def test_values_without_a_cluster_each_are_refused() -> None:
    with pytest.raises(ValueError, match="give one cluster each"):
        stats.clustered([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="clusters"):
        stats.clustered([], [])


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    misses = 0
    for seed in range(SAMPLES):
        low, high = stats.bootstrap_interval(
            stats.clustered(*clustered_sample(seed)), resamples=400, seed=seed
        )
        misses += not low <= 0 <= high
    assert misses in MISSES


def test_the_bootstrap_interval_is_absent_for_two_clusters_and_a_point_where_nothing_varies() -> (
    None
):
    assert all(map(math.isnan, stats.bootstrap_interval(stats.clustered([1, 2], ["a", "b"]))))
    same = stats.clustered([0.25] * 8, range(8))
    assert stats.bootstrap_interval(same) == (0.25, 0.25)


def test_the_sign_flip_p_is_exact_for_few_clusters() -> None:
    sums = np.array([0.4, -0.1, 0.3, 0.9, 0.2])
    flipped = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = np.mean([value >= sums.sum() - 1e-12 for value in flipped])
    assert stats.sign_flip_p(stats.clustered(sums, range(5))) == expected


def test_the_sign_flip_p_agrees_with_scipys_for_many_clusters() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, 40)
    theirs = permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=9999, rng=1
    ).pvalue
    # both are shares of 10,000 draws: four standard errors of a p near 0.05
    assert stats.sign_flip_p(stats.clustered(values, range(40))) == pytest.approx(theirs, abs=0.012)


def test_the_sign_flip_test_rejects_a_true_null_as_often_as_it_says() -> None:
    rejected = sum(
        stats.sign_flip_p(stats.clustered(*clustered_sample(seed)), flips=500, seed=seed) < 0.05
        for seed in range(SAMPLES)
    )
    assert rejected in MISSES


def test_ignoring_clusters_would_reject_far_too_often() -> None:
    """What clustering is for: the same samples, each value taken for a cluster of its own."""
    rejected = 0
    for seed in range(100):
        values, _ = clustered_sample(seed)
        data = stats.clustered(values, range(len(values)))
        rejected += stats.sign_flip_p(data, flips=500) < 0.05
    assert rejected > 20


def test_a_mean_of_the_detectable_size_is_detected_four_times_in_five() -> None:
    detectable = np.mean([
        stats.detectable_effect(stats.clustered(*clustered_sample(seed))) for seed in range(50)
    ])  # fmt: skip
    found = sum(
        stats.sign_flip_p(stats.clustered(*clustered_sample(seed, detectable)), flips=500) < 0.05
        for seed in range(200)
    )
    assert 140 <= found <= 180  # 160 ± 11.3, nearly two standard errors on either side


def test_the_two_sample_p_is_scipys() -> None:
    generator = np.random.default_rng(5)
    left, right = generator.normal(0, 1, 5), generator.normal(1, 1, 6)
    theirs = permutation_test(
        (left, right), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf
    ).pvalue
    # theirs doubles the smaller tail, ours counts both: equal where the tails are alike
    assert stats.two_sample_p(left, right) == pytest.approx(theirs, abs=0.01)
    many = generator.normal(0, 1, 30), generator.normal(0.5, 1, 30)
    theirs = permutation_test(
        many, lambda a, b: a.mean() - b.mean(), n_resamples=9999, rng=1
    ).pvalue
    assert stats.two_sample_p(*many) == pytest.approx(theirs, abs=0.02)


def test_the_two_sample_p_needs_both_samples() -> None:
    with pytest.raises(ValueError, match="give values on both sides"):
        stats.two_sample_p([1.0], [])


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilsons_interval_is_scipys(hits_of: tuple[int, int]) -> None:
    hits, n = hits_of
    theirs = binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert stats.wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_a_share_is_worth_its_clusters_where_they_decide_and_its_values_where_they_do_not() -> None:
    alike = stats.clustered([0, 0, 0, 0, 1, 1, 1, 1] * 10, [i // 4 for i in range(80)])
    assert stats.effective_size(alike) == pytest.approx(20, rel=0.06)
    generator = np.random.default_rng(0)
    apart = stats.clustered(generator.integers(0, 2, 4000), [i // 40 for i in range(4000)])
    assert stats.effective_size(apart) > 2000
    assert stats.effective_size(stats.clustered([0] * 80, [i // 4 for i in range(80)])) == 20


def test_the_interval_of_a_share_covers_it_where_a_few_clusters_hold_most() -> None:
    """The audit's shape: many reviews of one pair, fewer of four and ten, which flip together."""
    sizes = np.repeat([1, 10, 4], [300, 169, 85])
    clusters, draws, share = np.repeat(np.arange(len(sizes)), sizes), 400, 0.03
    generator, missed = np.random.default_rng(0), 0
    for _ in range(draws):
        values = (generator.random(len(sizes)) < share)[clusters]
        low, high = stats.share_interval(stats.clustered(values, clusters.tolist()))
        missed += not low <= share <= high
    # 5% wanted; as if each cluster were worth as much, 12 to 15% are missed
    assert missed / draws < 0.10
    none = stats.clustered(np.zeros(len(clusters)), clusters.tolist())
    assert stats.effective_size(none) == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum())


def test_an_effect_that_is_called_detectable_is_found_by_holms_rule_in_80_of_100() -> None:
    generator, groups, size, found = np.random.default_rng(0), 33, 31, 0
    unit = stats.clustered(generator.normal(0, 1, size), range(size))
    scale = 1 / unit.standard_error / np.sqrt(size)  # of draws with a deviation of 1, as expected
    effect = stats.detectable_effect(unit, groups) * scale
    for _ in range(400):
        values = generator.normal(effect, 1, size)
        found += ttest_1samp(values, 0).pvalue * groups < 0.05  # the smallest of all p
    assert 0.70 < found / 400 < 0.90
    assert effect > 1.4 * stats.detectable_effect(unit) * scale


def test_holm_is_the_step_down_correction() -> None:
    # by hand: 0.01·4, 0.02·3, 0.03·2 (not under its predecessor), 0.5·1
    assert stats.holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
