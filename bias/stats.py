"""Inference on clustered differences: N values in C clusters, such as all swaps in one sentence.

Values of one cluster share its words and are not independent; everything here therefore resamples
or flips whole clusters. Figures that are shares come with Wilson's interval, shrunk to what the
clusters are worth.
"""

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from bias.section import CONFIDENCE
from export.statistics import wilson
from training.results.statistics import holm

__all__ = [
    "Clusters",
    "bootstrap_interval",
    "clustered",
    "detectable_effect",
    "effective_size",
    "holm",
    "share_interval",
    "sign_flip_p",
    "student_interval",
    "two_sample_p",
    "wilson",
]

POWER = 0.80
RESAMPLES = 2_000
FLIPS = 10_000
EXACT_CLUSTERS = 13  # 2^13 = 8,192 sign patterns: fewer than FLIPS, so all of them
EXACT_SPLITS = 10_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clusters:
    """Values summed by cluster: `sums` and `counts`, each (C,)."""

    sums: Floats
    counts: Floats

    @property
    def mean(self) -> float:
        """Of all N values."""
        return float(self.sums.sum() / self.counts.sum())

    @property
    def standard_error(self) -> float:
        """Of the mean, by linearisation with the factor C / (C − 1); NaN for a single cluster."""
        return float(_standard_errors(self.sums, self.counts))


def clustered(values: ArrayLike, clusters: Sequence[Hashable]) -> Clusters:
    """Sum N values by cluster.

    Raises:
        ValueError: no values, or as many clusters as there are not values.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array) or len(array) != len(clusters):
        raise ValueError(f"{array.shape} values in {len(clusters)} clusters; give one cluster each")
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(cluster, len(places)) for cluster in clusters])
    count = len(places)
    return Clusters(
        np.bincount(index, array, count).astype(np.float64),
        np.bincount(index, minlength=count).astype(np.float64),
    )


def bootstrap_interval(
    data: Clusters, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the mean by the studentised cluster bootstrap (Cameron et al. 2008).

    Studentised, since the plain percentile interval is too short for a few dozen clusters. NaN for
    fewer than 3 clusters; resamples that drew a single cluster over and over say nothing and fall
    out.
    """
    count = len(data.sums)
    if count < 3:
        return math.nan, math.nan
    error = data.standard_error
    if error == 0:  # every cluster has the same mean: nothing to resample
        return data.mean, data.mean
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    totals = drawn @ data.counts  # (R,)
    means = drawn @ data.sums / totals
    residuals = data.sums - means[:, None] * data.counts  # (R, C)
    errors = np.sqrt(count / (count - 1) * (drawn * residuals**2).sum(1)) / totals
    usable = errors > 1e-9 * error
    ratios = (means[usable] - data.mean) / errors[usable]
    low, high = np.quantile(ratios, [(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2])
    return float(data.mean - low * error), float(data.mean - high * error)


def student_interval(data: Clusters) -> tuple[float, float]:
    """95% interval of the mean by Student's t over the clusters: for values nearly all of which are
    0, such as changed labels, of which most bootstrap resamples hold none."""
    if len(data.sums) < 3:
        return math.nan, math.nan
    half = student.ppf(0.5 + CONFIDENCE / 2, len(data.sums) - 1) * data.standard_error
    return float(data.mean - half), float(data.mean + half)


def sign_flip_p(data: Clusters, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p-value of "the mean is 0" by flipping the signs of whole clusters.

    Under the null a cluster's sum is as likely negative as positive. Exact up to 13 clusters; else
    `flips` random patterns, the observed one counted among them (Phipson & Smyth 2010).
    """
    sums = data.sums[data.sums != 0]  # a zero stays a zero
    if not len(sums):
        return 1.0
    observed = abs(float(sums.sum())) * (1 - 1e-9)  # ties that rounding would break count as ties
    if len(sums) <= EXACT_CLUSTERS:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= observed).mean())
    generator, beyond = np.random.default_rng(seed), 0
    for start in range(0, flips, 1000):
        rows = min(1000, flips - start)
        signs = generator.integers(0, 2, (rows, len(sums))) * 2.0 - 1.0
        beyond += int((np.abs(signs @ sums) >= observed).sum())
    return (beyond + 1) / (flips + 1)


def two_sample_p(left: ArrayLike, right: ArrayLike, seed: int = 0) -> float:
    """Two-sided permutation p-value of "both samples have one mean": exact up to 10,000 splits."""
    first, second = np.asarray(left, np.float64), np.asarray(right, np.float64)
    pooled, size = np.concatenate([first, second]), len(first)
    if not size or not len(second):
        raise ValueError("two_sample_p: a sample is empty; give values on both sides")
    observed = abs(float(first.mean() - second.mean())) * (1 - 1e-9)
    # mean(left) − mean(right) grows with the sum of the left: (1/a + 1/b)·S_left − S/b
    scale, shift = 1 / size + 1 / len(second), pooled.sum() / len(second)
    if math.comb(len(pooled), size) <= EXACT_SPLITS:
        splits = itertools.combinations(range(len(pooled)), size)
        sums = np.array([pooled[list(split)].sum() for split in splits])
        return float((np.abs(scale * sums - shift) >= observed - 1e-15).mean())
    generator = np.random.default_rng(seed)
    rows = np.tile(pooled, (FLIPS, 1))
    sums = generator.permuted(rows, axis=1)[:, :size].sum(1)
    return (int((np.abs(scale * sums - shift) >= observed - 1e-15).sum()) + 1) / (FLIPS + 1)


def detectable_effect(data: Clusters, comparisons: int = 1) -> float:
    """Smallest true mean that such data show in 80 of 100 cases at 5% (see Ethayarajh 2020), as the
    one of so many `comparisons` that is not 0, of which Holm's correction has the first step."""
    freedom = len(data.sums) - 1
    if freedom < 1:
        return math.nan
    level = (1 - CONFIDENCE) / 2 / comparisons
    quantiles = student.ppf(1 - level, freedom) + student.ppf(POWER, freedom)
    return float(quantiles * data.standard_error)


def effective_size(data: Clusters) -> float:
    """How many independent 0/1 observations N clustered ones are worth.

    N over the design effect: the clustered variance of the share over that of independent draws
    (Kish 1965). At least what is left where all of a cluster answers alike, (Σm)² / Σm² for
    clusters of m values, as many as the C clusters where all are of one size and fewer where a few
    hold most; a share of 0 or 1 shows no variance at all, and is worth that.
    """
    n, share = float(data.counts.sum()), data.mean
    alike = n**2 / float((data.counts**2).sum())
    independent = share * (1 - share) / n
    error = data.standard_error
    if independent <= 0 or math.isnan(error) or error == 0:
        return alike
    return min(n, max(alike, n * independent / error**2))


def share_interval(data: Clusters) -> tuple[float, float]:
    """95% interval of a share of clustered 0/1 values: Wilson's, on their effective size."""
    return wilson(data.mean, effective_size(data))


def _standard_errors(sums: Floats, counts: Floats) -> Floats | float:
    count = len(sums)
    if count < 2:
        return math.nan
    residuals = sums - sums.sum() / counts.sum() * counts
    return math.sqrt(count / (count - 1) * float((residuals**2).sum())) / float(counts.sum())
