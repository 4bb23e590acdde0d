"""What naming somebody else does to a classifier's answer: means, flips and what they are worth.

Every figure compares a text with the same text about the reference group. Three questions are kept
apart, since a yes to one is often taken for a yes to another:

1. Would other sentences show it? Signs are flipped by template or review (`sentences_p`).
2. Would other words for the same group show it? In templates, where every term stands in every
   sentence, terms are exchanged between the groups, or flipped in pairs where they belong together
   (`terms_p`). A model that has quirks about single names says yes to 1 and no to 2.
3. Is it more than swapping words does anyway? Of as many swaps without meaning as the group has
   words, the mean is as large as `noise` in 5 of 100 draws; for flips it is their share.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from bias import stats
from bias.pairs import CONTROL, PEOPLE, TEMPLATES, WORDS, Pair
from bias.section import Estimate

LOGIT_LIMIT = 1e-7
"""Probabilities are kept this far from 0 and 1 before their logit is taken."""

NOISE_DRAWS = 2000

Floats = NDArray[np.float64]
Probabilities = Callable[[Sequence[str]], Floats]


@dataclass(frozen=True)
class Scored:
    """Pairs with the probability of the positive label, `left` of the text and `right` of the
    reference's, each (N,)."""

    pairs: list[Pair]
    left: Floats
    right: Floats

    @property
    def differences(self) -> Floats:
        """In probability (N,), a group's less the reference's."""
        return self.left - self.right

    @property
    def logits(self) -> Floats:
        """The difference in log-odds (N,)."""
        return _logit(self.left) - _logit(self.right)

    @property
    def flips(self) -> Floats:
        """Whether the label changes (N,), 0 or 1."""
        return ((self.left >= 0.5) != (self.right >= 0.5)).astype(np.float64)

    @property
    def clusters(self) -> list[str]:
        """The template or review of each pair."""
        return [pair.cluster for pair in self.pairs]

    def where(self, wanted: Callable[[Pair], bool]) -> "Scored":
        """Those pairs only."""
        return self._rows([i for i, pair in enumerate(self.pairs) if wanted(pair)])

    def by(self, *fields: str) -> dict[tuple[str, ...], "Scored"]:
        """Split by the pairs' fields of these names, in alphabetical order."""
        rows: dict[tuple[str, ...], list[int]] = {}
        for i, pair in enumerate(self.pairs):
            rows.setdefault(tuple(getattr(pair, name) for name in fields), []).append(i)
        return {key: self._rows(rows[key]) for key in sorted(rows)}

    def _rows(self, rows: list[int]) -> "Scored":
        return Scored([self.pairs[i] for i in rows], self.left[rows], self.right[rows])


@dataclass(frozen=True)
class Comparison:
    """A group against its reference in one kind of text. `sentences_p` and `terms_p` are raw;
    corrected over all groups are `probability.p` and `terms_p_holm`."""

    source: str
    axis: str
    group: str
    reference: str
    probability: Estimate
    logit: Estimate
    flips: Estimate
    sentences_p: float
    terms_p: float | None
    least_terms_p: float | None
    """The smallest raw one that so few terms can give: over 0.05, they cannot tell."""
    terms_p_holm: float | None = None

    @property
    def verdict(self) -> str:
        """What may be said, from both corrected p-values and the noise."""
        assert self.probability.p is not None
        if self.probability.p >= 0.05:
            return "none found"
        if self.probability.noise is not None and abs(self.probability.value) <= (
            self.probability.noise
        ):
            return "within the noise of any swap"
        if self.terms_p_holm is None or self.terms_p_holm >= 0.05:
            return "for these words"
        return "for the group"


def score(pairs: Sequence[Pair], probabilities: Probabilities) -> Scored:
    """Ask for both texts of every pair."""
    return Scored(
        list(pairs),
        probabilities([pair.text for pair in pairs]),
        probabilities([pair.reference_text for pair in pairs]),
    )


def comparisons(scored: Scored) -> list[Comparison]:
    """Every group of every axis in either kind of text. Holm-corrected over all of them is the p
    for other sentences, and over those that have one, the p for other words."""
    controls = controls_by_kind(scored)
    nothing = scored.where(lambda pair: False)
    made = []
    groups = scored.where(lambda pair: pair.axis != CONTROL).by("source", "axis", "group")
    for part in groups.values():
        first = part.pairs[0]
        matched = controls.get((first.source, first.kind), nothing)
        made.append(_comparison(part, matched, len(groups)))
    sentences = stats.holm([each.sentences_p for each in made])
    by_terms = {i: p for i, each in enumerate(made) if (p := each.terms_p) is not None}
    terms = dict(zip(by_terms, stats.holm(list(by_terms.values())), strict=True))
    return [_corrected(each, sentences[i], terms.get(i)) for i, each in enumerate(made)]


def pooled_flips(scored: Scored, source: str, control: bool) -> Estimate | None:
    """The share of swaps that change the label, over all axes; None where there are none."""
    chosen = scored.where(lambda pair: pair.source == source and (pair.axis == CONTROL) == control)
    if not chosen.pairs:
        return None
    data = stats.clustered(chosen.flips, chosen.clusters)
    name = "flip_rate" if source != TEMPLATES else "template_flip_rate"
    name = f"control_{name}" if control else name
    what = "swaps without meaning" if control else "swaps of who is named"
    return Estimate(
        name, data.mean, *stats.share_interval(data), len(chosen.pairs), f"pairs of {source}",
        f"share of {what} in {source} that change the label",
    )  # fmt: skip


def _comparison(chosen: Scored, matched: Scored, comparisons: int) -> Comparison:
    first = chosen.pairs[0]
    probability = stats.clustered(chosen.differences, chosen.clusters)
    logit = stats.clustered(chosen.logits, chosen.clusters)
    flips = stats.clustered(chosen.flips, chosen.clusters)
    n, of = len(chosen.pairs), f"pairs from {len(probability.sums)} {first.source}"
    terms_p, least = _terms_p(chosen)
    return Comparison(
        first.source, first.axis, first.group, first.reference,
        Estimate("mean_dp", probability.mean, *stats.bootstrap_interval(probability), n, of,
                 "mean change of the probability of positive",
                 detectable=stats.detectable_effect(probability, comparisons),
                 noise=_mean_noise(matched, chosen)),
        Estimate("mean_dlogit", logit.mean, *stats.bootstrap_interval(logit), n, of,
                 "mean change of the log-odds of positive"),
        Estimate("flip_rate", flips.mean, *stats.share_interval(flips), n, of,
                 "share of pairs with different labels",
                 noise=float(matched.flips.mean()) if matched.pairs else None),
        stats.sign_flip_p(probability), terms_p, least,
    )  # fmt: skip


def _mean_noise(controls: Scored, chosen: Scored) -> float | None:
    """95th percentile of the absolute mean of random control swaps, as many as there are terms."""
    if not controls.pairs:
        return None
    means = control_means(controls)
    count = noise_terms(means, chosen, {pair.term for pair in chosen.pairs})
    drawn = random_means(means, count, np.random.default_rng(0))
    return float(np.quantile(np.abs(drawn), 0.95))


def controls_by_kind(scored: Scored) -> dict[tuple[str, ...], Scored]:
    """The swaps without meaning, by source and kind."""
    return scored.where(lambda pair: pair.axis == CONTROL).by("source", "kind")


def control_means(controls: Scored) -> Floats:
    """The mean difference of every swap of two words (S,)."""
    swaps = controls.by("group", "term", "reference_term").values()
    return np.array([part.differences.mean() for part in swaps])


def noise_terms(means: Floats, chosen: Scored, terms: set[str]) -> int:
    """Of how many control swaps the mean is as steady as that of a group of these terms."""
    # the gendered words of reviews are as mixed as the synonyms: all of them are one draw
    return len(means) if chosen.pairs[0].kind == WORDS else len(terms)


def random_means(means: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Means of `count` random control swaps (NOISE_DRAWS,), each in either direction, since its
    sign means nothing."""
    drawn = generator.choice(means, (NOISE_DRAWS, count))
    signs = generator.integers(0, 2, drawn.shape) * 2 - 1
    average: Floats = (drawn * signs).mean(1)
    return average


def _terms_p(chosen: Scored) -> tuple[float | None, float | None]:
    """By exchanging terms between the group and the reference, and the least that it can be."""
    if chosen.pairs[0].source != TEMPLATES:  # there every term stands in other reviews
        return None, None
    terms = [pair.term for pair in chosen.pairs]
    references = [pair.reference_term for pair in chosen.pairs]
    if chosen.pairs[0].kind == PEOPLE:  # term i answers to term i: sister to brother
        data = stats.clustered(chosen.differences, terms)
        return stats.sign_flip_p(data), 2.0 ** (1 - len(data.sums))
    left, right = _means(chosen.left, terms), _means(chosen.right, references)
    splits = math.comb(len(left) + len(right), len(left))
    least = (2 if len(left) == len(right) else 1) / splits
    return stats.two_sample_p(left, right), least


def _means(values: Floats, terms: list[str]) -> list[float]:
    """The mean of every term, by name."""
    order = sorted(range(len(terms)), key=lambda i: terms[i])
    return [
        float(np.mean([values[i] for i in rows]))
        for _, rows in groupby(order, key=lambda i: terms[i])
    ]


def _corrected(comparison: Comparison, sentences: float, terms: float | None) -> Comparison:
    probability = replace(comparison.probability, p=sentences)
    return replace(comparison, probability=probability, terms_p_holm=terms)


def _logit(probabilities: Floats) -> Floats:
    kept = np.clip(probabilities, LOGIT_LIMIT, 1 - LOGIT_LIMIT)
    logits: Floats = np.log(kept) - np.log1p(-kept)
    return logits
