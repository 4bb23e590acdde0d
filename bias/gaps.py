"""The two groups of an axis that lie furthest apart, and how far chance words would lie.

The largest of several differences is larger than each of them by chance alone. Its p therefore
shuffles groups within every sentence, and its noise is that of the same statistic: the largest
range over all axes, of groups whose words mean nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bias.counterfactual import (
    NOISE_DRAWS,
    Floats,
    Scored,
    control_means,
    controls_by_kind,
    noise_terms,
    random_means,
)
from bias.pairs import CONTROL
from bias.section import Estimate


@dataclass(frozen=True)
class Gap:
    """Of all groups of an axis, the reference among them, the two that lie furthest apart."""

    source: str
    axis: str
    highest: str
    lowest: str
    estimate: Estimate


def gaps(scored: Scored) -> list[Gap]:
    """The largest difference between two groups of each axis, in mean probability."""
    return [_gap(part) for part in _axes(scored)]


def widest_gap(scored: Scored, found: Sequence[Gap]) -> Gap | None:
    """The largest of `gaps(scored)` beside the noise of that; None where there are none.

    Its upper end is the highest of all axes': the largest gap may be that of another one, which
    was measured on fewer texts. NaN where an axis has no interval.
    """
    if not found:
        return None
    widest = max(found, key=lambda each: each.estimate.value)
    high = float(np.max([each.estimate.high for each in found]))
    return replace(widest, estimate=replace(widest.estimate, high=high, noise=_noise(scored)))


def _axes(scored: Scored) -> list[Scored]:
    return list(scored.where(lambda pair: pair.axis != CONTROL).by("source", "axis").values())


def _noise(scored: Scored) -> float | None:
    """95th percentile of the largest gap of all axes, had every group words without meaning.

    Each group of an axis, its reference too, is given the level of as many random words as it has.
    A control swap is the difference of two words, so that a word's level has half its variance.
    Axes without controls of their kind are left out; None where all are.
    """
    generator = np.random.default_rng(0)
    controls = {key: control_means(part) for key, part in controls_by_kind(scored).items()}
    spreads = {key: _spread(len(means), generator) for key, means in controls.items()}
    ranges = []
    for part in _axes(scored):
        first = part.pairs[0]
        key = first.source, first.kind
        if key not in controls:
            continue
        terms = {first.reference: {pair.reference_term for pair in part.pairs}}
        for pair in part.pairs:
            terms.setdefault(pair.group, set()).add(pair.term)
        counts = [noise_terms(controls[key], part, own) for own in terms.values()]
        levels = [random_means(controls[key], count, generator) for count in counts]
        ranges.append(np.ptp(levels, axis=0) / math.sqrt(2) * spreads[key])
    return float(np.quantile(np.max(ranges, axis=0), 0.95)) if ranges else None


def _spread(swaps: int, generator: np.random.Generator) -> Floats:
    """How much wider words may lie than the few controls do (NOISE_DRAWS,), as in Student's t.

    A word stands in two swaps, so that n of them tell the variance as well as 2n/3 independent
    ones would (Satterthwaite 1946).
    """
    freedom = 2 * swaps / 3
    wider: Floats = np.sqrt(freedom / generator.chisquare(freedom, NOISE_DRAWS))
    return wider


def _gap(chosen: Scored) -> Gap:
    names = sorted({pair.group for pair in chosen.pairs})
    clusters = sorted(set(chosen.clusters))
    sums = np.zeros((len(clusters), len(names)))  # (C, G)
    counts = np.zeros_like(sums)
    rows = {cluster: row for row, cluster in enumerate(clusters)}
    columns = {name: column for column, name in enumerate(names)}
    for pair, difference in zip(chosen.pairs, chosen.differences, strict=True):
        sums[rows[pair.cluster], columns[pair.group]] += difference
        counts[rows[pair.cluster], columns[pair.group]] += 1
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    means = np.concatenate([np.zeros((len(clusters), 1)), means], axis=1)  # the reference's first
    labels = [chosen.pairs[0].reference, *names]
    # every group stands in a cluster equally often, but not every cluster makes as many pairs
    weights = counts.sum(1) / counts.sum()  # (C,)
    average = weights @ means
    low, high, p = _range_inference(means, weights)
    estimate = Estimate(
        "group_gap", float(average.max() - average.min()), low, high, len(chosen.pairs),
        f"pairs from {len(clusters)} {chosen.pairs[0].source}",
        "largest difference between two groups' mean probability of positive", p=p,
    )  # fmt: skip
    first = chosen.pairs[0]
    return Gap(first.source, first.axis, labels[int(average.argmax())],
               labels[int(average.argmin())], estimate)  # fmt: skip


def _range_inference(
    means: Floats, weights: Floats, rounds: int = 2000
) -> tuple[float, float, float]:
    """Bootstrap interval of the range of G columns' weighted means over C clusters, and the p-value
    of groups being exchangeable within every cluster."""
    count, _ = means.shape
    if count < 3:
        return math.nan, math.nan, 1.0
    generator = np.random.default_rng(0)
    drawn = generator.multinomial(count, np.full(count, 1 / count), rounds) * weights  # (R, C)
    resampled = drawn @ means / drawn.sum(1, keepdims=True)
    low, high = np.quantile(np.ptp(resampled, axis=1), [0.025, 0.975])
    observed = np.ptp(weights @ means) * (1 - 1e-9)
    beyond = sum(
        bool(np.ptp(weights @ generator.permuted(means, axis=1)) >= observed) for _ in range(rounds)
    )
    return float(low), float(high), (beyond + 1) / (rounds + 1)
