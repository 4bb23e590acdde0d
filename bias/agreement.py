"""How alike the answers to two groups are: correlations, and the divergence of the distributions.

P people of a group, V tokens, R relabellings.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import rel_entr

from bias.relabelling import relabellings

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How alike the two distributions are, beside what relabelled people would show."""

    spearman_top: float
    pearson_top: float
    top_tokens: int
    spearman_all: float
    pearson_all: float
    all_tokens: int
    divergence: float
    """Jensen–Shannon, in bits: 0 alike, 1 nothing in common."""
    chance_divergence: tuple[float, float] | None
    """Middle 95% of the divergence when people are relabelled; None for a single pair."""
    divergence_p: float | None


def agreement(
    logits: list[Array],
    people: list[Array],
    words: NDArray[np.int64],
    aligned: bool,
    tested: bool,
    top: int,
) -> Agreement:
    """From logits (templates, P, V) and distributions (P, V) of the two groups, over the `words`.

    `tested`: people enough to relabel. `top`: how many tokens of either side count as its top.
    """
    x, y = (each.mean(axis=(0, 1)) for each in logits)  # (V,), the explorable's axes
    best = {int(i) for each in (x, y) for i in words[np.argsort(-each[words])[:top]]}
    chosen = np.array(sorted(best))
    divergence, chance, p = _divergence(people, aligned, tested)
    return Agreement(
        spearman_top=float(stats.spearmanr(x[chosen], y[chosen]).statistic),
        pearson_top=float(stats.pearsonr(x[chosen], y[chosen]).statistic),
        top_tokens=len(chosen),
        spearman_all=float(stats.spearmanr(x[words], y[words]).statistic),
        pearson_all=float(stats.pearsonr(x[words], y[words]).statistic),
        all_tokens=len(words),
        divergence=divergence,
        chance_divergence=chance,
        divergence_p=p,
    )


def _divergence(
    people: list[Array], aligned: bool, tested: bool
) -> tuple[float, tuple[float, float] | None, float | None]:
    """Between the groups' mean distributions; and the same with the people relabelled."""
    if not tested:
        return _jensen_shannon(people[0].mean(0), people[1].mean(0)), None, None
    n_a, n_b = len(people[0]), len(people[1])
    weights, _ = relabellings(n_a, n_b, aligned, most=500)
    both = np.concatenate(people)  # (A+B, V)
    first = weights > 0  # (R, A+B)
    drawn = np.array(
        [_jensen_shannon(row @ both / n_a, ~row @ both / n_b) for row in first]  # (R,)
    )
    observed = float(drawn[0])
    low, high = np.quantile(drawn[1:], [0.025, 0.975])
    return observed, (float(low), float(high)), float(np.mean(drawn >= observed * (1 - 1e-9)))


def _jensen_shannon(p: Array, q: Array) -> float:
    """In bits: the mean Kullback–Leibler divergence of both from their mean."""
    mean = (p + q) / 2
    return float((rel_entr(p, mean).sum() + rel_entr(q, mean).sum()) / 2 / math.log(2))
