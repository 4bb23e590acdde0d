"""What a masked language model puts into the blank for one group and not for the other.

    python -m bias.fill_mask MODEL... --output DIR [--prompts SET...] [--classifier BUNDLE]

MODEL is a folder, a hub name, or a parquet file of stored logits (the command itself is
`masked_lm_audit.main`). Every difference is minoritised minus normative. P people of a group, V
tokens, K candidate tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from bias.agreement import Agreement, agreement
from bias.completions import Classifier, by_classifier, by_lexicon, measures
from bias.prompts import PromptSet
from bias.relabelling import Difference, adjusted_p, difference, empirical_null
from bias.stored_logits import MaskedLanguageModel

Array = NDArray[np.float64]
TOP = 10
CANDIDATES = 200
_FEWEST_PEOPLE = 4  # fewer cannot reach p < 0.05 by relabelling: 2 of 2^4 or of (8 choose 4)


@dataclass(frozen=True)
class TokenOdds:
    """One candidate token: log-odds ratio in nats, and its p adjusted for all candidates."""

    token: str
    minoritised: float
    normative: float
    log_odds: float
    p: float


@dataclass(frozen=True)
class SetResult:
    """A model on a prompt set."""

    model: str
    prompts: PromptSet
    headline: tuple[str, str]
    """The first pair of sentences that the model has, minoritised first."""
    people: tuple[int, int]
    sentences: int
    missing: int
    """Prompts of which no logits were stored."""
    top: tuple[list[tuple[str, float]], list[tuple[str, float]]]
    agreement: Agreement
    odds: list[TokenOdds]
    odds_unit: str
    candidates: int
    contrast: Difference | None
    """Expected tokens of the minoritised group against those of the normative, log-odds in nats."""
    contrast_unit: str
    contrast_sides: tuple[float, float] | None
    """The log-odds of the minoritised group's expected tokens, and of the normative group's."""
    unknown_tokens: list[str]
    """Expected tokens that are not one piece of the model's vocabulary."""
    values: dict[str, tuple[float, float, Difference | None, float]] = field(default_factory=dict)
    """Measure -> minoritised, normative, difference, share of probability covered."""


def analyse(
    model: MaskedLanguageModel,
    prompts: PromptSet,
    classifier: Classifier | None = None,
    *,
    top: int = TOP,
    candidates: int = CANDIDATES,
) -> SetResult | None:
    """One model on one set; None where stored logits hold no pair of its prompts.

    Raises:
        ValueError: none of the expected tokens is in the vocabulary, or a prompt does not fit.
    """
    usable = _usable(model, prompts)
    if usable is None:
        return None
    groups, kept = usable
    words = whole_words(model.vocabulary)
    logits = [_by_person(model, sentences) for sentences in groups]  # [(templates, P, V)] x 2
    log_p = [log_softmax(each, axis=-1) for each in logits]
    # A person's distribution is the mean over the templates, a group's over its people.
    people = [np.exp(each).mean(axis=0) for each in log_p]  # [(P, V)] x 2
    means = [each.mean(axis=0) for each in people]  # [(V,)] x 2
    odds = [_log_odds(each).mean(axis=0) for each in log_p]  # [(P, V)] x 2
    # Chosen without a look at which group is which, so that the choice cannot bias the test.
    likely = words[np.argsort(-(means[0] + means[1])[words])][:candidates]  # (K,)
    aligned = prompts.aligned
    tested = min(len(each) for each in people) >= _FEWEST_PEOPLE
    token_p = (
        adjusted_p(odds[0][:, likely], odds[1][:, likely], aligned)
        if tested
        else np.minimum(1.0, len(likely) * empirical_null((odds[0] - odds[1]).mean(0)[likely]))
    )
    contrast, sides, unit, unknown = _contrast(model.vocabulary, prompts, odds, tested)
    first = (groups[0][0][0], groups[1][0][0])
    return SetResult(
        model=model.name,
        prompts=prompts,
        headline=first,
        people=(people[0].shape[0], people[1].shape[0]),
        sentences=kept,
        missing=len(prompts.sentences) - kept,
        top=(_top(means[0], model.vocabulary, top), _top(means[1], model.vocabulary, top)),
        agreement=agreement(logits, people, words, aligned, tested, candidates),
        odds=_odds(model.vocabulary, means, odds, likely, token_p),
        odds_unit="people" if tested else "tokens",
        candidates=len(likely),
        contrast=contrast,
        contrast_unit=unit,
        contrast_sides=sides,
        unknown_tokens=unknown,
        values=_values(model, people, first, likely, classifier, aligned, tested),
    )


def whole_words(vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Ids of tokens that are a whole word or number: neither special nor a continuation."""
    return np.array([i for i, token in enumerate(vocabulary) if token.isalnum()], np.int64)


def _usable(
    model: MaskedLanguageModel, prompts: PromptSet
) -> tuple[tuple[list[list[str]], list[list[str]]], int] | None:
    """Prompts [template][person] of each group that the model can answer; the number of them."""
    a, b = (group.prompts for group in prompts.groups)
    known = [np.array([[model.knows(s) for s in row] for row in rows]) for rows in (a, b)]
    if prompts.aligned:
        known = [known[0] & known[1]] * 2
    keep: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] = []
    for table in known:  # (templates, P)
        # Every kept person in every kept template: otherwise means would mix the two.
        used = np.asarray(table.any(axis=1))
        people = table[used].all(axis=0) if used.any() else table[0]
        keep.append((used, np.asarray(people)))
    templates = keep[0][0] & keep[1][0]
    if not templates.any() or not keep[0][1].any() or not keep[1][1].any():
        return None
    chosen = tuple(
        [
            [s for s, there in zip(row, keep[side][1].tolist(), strict=True) if there]
            for row, kept in zip(rows, templates.tolist(), strict=True)
            if kept
        ]
        for side, rows in enumerate((a, b))
    )
    count = len({s for rows in chosen for row in rows for s in row})
    return (chosen[0], chosen[1]), count


def _by_person(model: MaskedLanguageModel, sentences: list[list[str]]) -> Array:
    """(templates, P, V)"""
    flat = [sentence for row in sentences for sentence in row]
    logits = model.logits_at_mask(flat).astype(np.float64)
    return logits.reshape(len(sentences), len(sentences[0]), -1)


def _log_odds(log_p: Array) -> Array:
    """log p/(1-p), from log p."""
    return np.asarray(log_p - np.log1p(-np.minimum(np.exp(log_p), 1 - 1e-12)))


def _top(probabilities: Array, vocabulary: Sequence[str], top: int) -> list[tuple[str, float]]:
    best = np.argsort(-probabilities)[:top]
    return [(vocabulary[i], float(probabilities[i])) for i in best]


def _odds(
    vocabulary: Sequence[str],
    means: list[Array],
    odds: list[Array],
    likely: NDArray[np.int64],
    p: Array,
) -> list[TokenOdds]:
    """The candidates, the largest differences first."""
    ratio = odds[0].mean(axis=0) - odds[1].mean(axis=0)  # (V,)
    rows = [
        TokenOdds(vocabulary[i], float(means[0][i]), float(means[1][i]), float(ratio[i]), float(q))
        for i, q in zip(likely, p, strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(row.log_odds))


def _contrast(
    vocabulary: Sequence[str], prompts: PromptSet, odds: list[Array], tested: bool
) -> tuple[Difference | None, tuple[float, float] | None, str, list[str]]:
    """How much more the expected tokens of each group are given to that group than to the other.

    With people enough the people are the unit; with one pair of sentences the tokens are, and the
    test then is whether the stereotype's two lists were drawn from the same tokens.
    """
    ids = {token: i for i, token in enumerate(vocabulary)}
    expected = [group.expected for group in prompts.groups]
    unknown = [token for tokens in expected for token in tokens if token not in ids]
    known = [np.array([ids[t] for t in tokens if t in ids], np.int64) for tokens in expected]
    if not all(expected):
        return None, None, "", unknown
    if not all(len(tokens) for tokens in known):
        empty = prompts.groups[0 if not len(known[0]) else 1]
        raise ValueError(
            f"prompt set {prompts.name}, group {empty.name}: none of the expected tokens "
            f"({', '.join(empty.expected)}) is one piece of the model's vocabulary; give tokens "
            "that are"
        )
    ratio = odds[0].mean(axis=0) - odds[1].mean(axis=0)  # (V,)
    sides = float(ratio[known[0]].mean()), float(ratio[known[1]].mean())
    if tested:
        a, b = (each[:, known[0]].mean(axis=1) - each[:, known[1]].mean(axis=1) for each in odds)
        return difference(a, b, prompts.aligned), sides, "people", unknown
    if min(len(tokens) for tokens in known) < 2:
        return None, sides, "", unknown
    return difference(ratio[known[0]], ratio[known[1]], aligned=False), sides, "tokens", unknown


def _values(
    model: MaskedLanguageModel,
    people: list[Array],
    frames: tuple[str, str],
    likely: NDArray[np.int64],
    classifier: Classifier | None,
    aligned: bool,
    tested: bool,
) -> dict[str, tuple[float, float, Difference | None, float]]:
    values = {}
    for measure in measures():
        rated = [by_lexicon(each, model.vocabulary, measure) for each in people]
        values[f"{measure}, lexicon"] = rated
    if classifier is not None:
        values["sentiment, classifier"] = [
            by_classifier(classifier, frames, each, model.vocabulary, likely[:50])
            for each in people
        ]
    return {
        name: (
            float(a.expected.mean()),
            float(b.expected.mean()),
            difference(a.expected, b.expected, aligned) if tested else None,
            float((a.covered.mean() + b.covered.mean()) / 2),
        )
        for name, (a, b) in values.items()
    }


def audit(
    models: Sequence[MaskedLanguageModel],
    sets: Sequence[PromptSet],
    classifier: Classifier | None = None,
    advance: Callable[[], None] | None = None,
    **options: int,
) -> list[tuple[str, list[SetResult]]]:
    """Every model on every set that it knows; `advance` is called after each.

    Raises:
        ValueError: no model knows any pair of prompts.
    """
    found = []
    for model in models:
        results = []
        for prompts in sets:
            result = analyse(model, prompts, classifier, **options)
            if result is not None:
                results.append(result)
            if advance:
                advance()
        found.append((model.name, results))
    if not any(results for _, results in found):
        raise ValueError(
            "no model knows two prompts of any set; stored logits know only the sentences that "
            "were stored: choose sets with --prompts, or audit the model itself"
        )
    return found


if __name__ == "__main__":
    from bias.masked_lm_audit import main

    raise SystemExit(main())
