"""Exact tests by relabelling: what differences would arise if the group made none.

Two designs. Aligned: person i of one group answers to person i of the other, and relabelling
exchanges the two. Otherwise any people may change groups. Both are exact under their null
hypothesis, whatever the distribution; beyond `most` relabellings a random sample of them, always
with the labelling that was observed, keeps the test valid.

A, B people of the two groups, R relabellings, M figures that are tested at once.
"""

import math
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

_SLACK = 1e-9
"""Relative: ties between relabellings that rounding would break count as ties."""


class Difference(NamedTuple):
    """A mean difference with its 95% interval (Student's t) and its exact p."""

    value: float
    low: float
    high: float
    p: float
    cohen_d: float
    detectable: float
    """The smallest true difference that this design finds 4 times in 5 at the 5% level."""
    units: tuple[int, int]


def relabellings(
    a: int, b: int, aligned: bool, most: int = 5000, seed: int = 0
) -> tuple[Array, bool]:
    """Weights (R, A+B) whose product with values (A+B, M) is A's mean minus B's, first as
    observed, then relabelled; and whether all relabellings are there.

    Raises:
        ValueError: a group without members, or aligned groups of different sizes.
    """
    if min(a, b) < 1:
        raise ValueError(f"groups of {a} and {b} members; a comparison needs one in each at least")
    if aligned:
        if a != b:
            raise ValueError(f"aligned groups have {a} and {b} members; they must be as many")
        signs, whole = _signs(a, most, seed)
        return np.concatenate([signs / a, -signs / b], axis=1), whole
    chosen, whole = _choices(a, b, most, seed)
    return np.where(chosen, 1 / a, -1 / b), whole


def difference(a: Array, b: Array, aligned: bool, most: int = 5000, seed: int = 0) -> Difference:
    """A's mean minus B's, for values (A,) and (B,) of two members at least in each."""
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"groups of {len(a)} and {len(b)} members; a test needs two in each at least"
        )
    weights, _ = relabellings(len(a), len(b), aligned, most, seed)
    drawn = np.abs(weights @ np.concatenate([a, b]))
    p = float(np.mean(drawn >= drawn[0] * (1 - _SLACK) - 1e-15))
    value = float(a.mean() - b.mean())
    error, freedom, spread = _standard_error(a, b, aligned)
    reach = float(stats.t.ppf(0.975, freedom)) * error
    power = float(stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom))
    return Difference(
        value=value,
        low=value - reach,
        high=value + reach,
        p=p,
        cohen_d=value / spread if spread > 0 else math.copysign(math.inf, value) if value else 0.0,
        detectable=power * error,
        units=(len(a), len(b)),
    )


def adjusted_p(a: Array, b: Array, aligned: bool, most: int = 5000, seed: int = 0) -> Array:
    """Westfall and Young's (1993) single-step max-T: for values (A, M) and (B, M), per column the
    p of A's mean differing from B's, adjusted for all M at once and for their correlation.

    Controls the chance of any false finding among the M, exactly where no column differs.
    """
    n_a, n_b = len(a), len(b)
    weights, _ = relabellings(n_a, n_b, aligned, most, seed)
    values = np.concatenate([a, b])
    squares = _squares(a, b, aligned)  # (M,), the same for every relabelling
    largest = np.empty(len(weights))
    for start in range(0, len(weights), 512):
        part = weights[start : start + 512] @ values  # (512, M)
        largest[start : start + 512] = _t(np.abs(part), squares, n_a, n_b, aligned).max(axis=1)
    observed = _t(np.abs(weights[0] @ values), squares, n_a, n_b, aligned)  # (M,)
    ordered = np.sort(largest)
    at_least = len(ordered) - np.searchsorted(ordered, observed * (1 - _SLACK), side="left")
    return at_least / len(ordered)


def empirical_null(values: Array) -> Array:
    """Two-sided p per value (M,), against a normal null fitted to the bulk of the values
    themselves: centre and spread from the middle half (Efron 2004,
    https://doi.org/10.1198/016214504000000089).

    For a single pair of sentences, which has nothing to relabel: it says which tokens stand out
    from the others, not that another sentence would show the same.
    """
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = (high - low) / (stats.norm.ppf(0.75) - stats.norm.ppf(0.25))
    if spread == 0:
        return np.where(values == middle, 1.0, 0.0)
    return 2 * stats.norm.sf(np.abs(values - middle) / spread)


def _signs(pairs: int, most: int, seed: int) -> tuple[Array, bool]:
    if 2**pairs <= most:
        return np.array(list(product([1.0, -1.0], repeat=pairs))), True
    signs = np.random.default_rng(seed).choice([1.0, -1.0], size=(most, pairs))
    signs[0] = 1.0
    return signs, False


def _choices(a: int, b: int, most: int, seed: int) -> tuple[NDArray[np.bool_], bool]:
    whole = math.comb(a + b, a) <= most
    if whole:
        rows = list(combinations(range(a + b), a))  # the first is 0..a-1, as observed
        chosen = np.zeros((len(rows), a + b), bool)
        chosen[np.arange(len(rows))[:, None], np.array(rows)] = True
        return chosen, True
    random = np.random.default_rng(seed)
    chosen = random.permuted(np.tile(np.arange(a + b) < a, (most, 1)), axis=1)
    chosen[0] = np.arange(a + b) < a
    return chosen, False


def _standard_error(a: Array, b: Array, aligned: bool) -> tuple[float, float, float]:
    """Standard error of the difference, degrees of freedom, and the spread for Cohen's d."""
    pooled = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    if aligned:
        return float((a - b).std(ddof=1)) / math.sqrt(len(a)), len(a) - 1, pooled
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    total = sum(parts)
    if total == 0:
        return 0.0, len(a) + len(b) - 2, pooled
    freedom = total**2 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))  # Welch
    return math.sqrt(total), float(freedom), pooled


def _squares(a: Array, b: Array, aligned: bool) -> Array:
    """Sums of squares that relabelling leaves alone: of the differences, or about the mean."""
    if aligned:
        return np.asarray(((a - b) ** 2).sum(axis=0))
    values = np.concatenate([a, b])
    return np.asarray(((values - values.mean(axis=0)) ** 2).sum(axis=0))


def _t(means: Array, squares: Array, a: int, b: int, aligned: bool) -> Array:
    """|t| from the absolute difference of means, through the sums of squares."""
    if aligned:
        rest = (squares - a * means**2) / max(1, a - 1) / a
    else:
        rest = (squares - a * b / (a + b) * means**2) / max(1, a + b - 2) * (1 / a + 1 / b)
    # A column without any spread left is as extreme as there is; rounding must not hide that.
    floor = np.maximum(squares, 1e-300) * 1e-14
    return means / np.sqrt(np.maximum(rest, floor))
