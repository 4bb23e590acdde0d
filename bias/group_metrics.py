"""Errors by group: is a classifier right as often about everybody?

Two views of it. On *counterfactual* texts every group speaks the same sentences with the same
labels, so that a difference is the swap's doing. On reviews *as written*, people who write about
women write about other things than those who write about men: a difference may be the topic's.

AUCs are those of Borkan et al. (2019), "positive" in the place of "toxic": over a group's own texts
(subgroup), over the background's positive and the group's negative ones (BPSN: low where the group
is read as too positive), and over the background's negative and the group's positive ones (BNSP:
low where it is read as too negative).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_negative_rate,
    false_positive_rate,
)
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from bias import stats
from bias.counterfactual import Scored
from bias.pairs import CONTROL
from bias.section import Estimate

RESAMPLES = 1000

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """N labelled texts: the group that each is about, what it was made of, and the answer."""

    groups: list[str]
    clusters: list[str]
    labels: Labels
    positive: Floats


@dataclass(frozen=True)
class GroupErrors:
    """Error rates of one group. An AUC is None where one of its two classes has no text."""

    group: str
    accuracy: Estimate
    false_positive_rate: Estimate | None
    false_negative_rate: Estimate | None
    subgroup_auc: Estimate | None = None
    bpsn_auc: Estimate | None = None
    bnsp_auc: Estimate | None = None


@dataclass(frozen=True)
class Errors:
    """All groups of an axis, and how far they are from equalised odds (Hardt et al. 2016): the
    larger of the differences in true and in false positive rates."""

    source: str
    axis: str
    groups: list[GroupErrors]
    equalized_odds: Estimate


def counterfactual_texts(scored: Scored) -> dict[tuple[str, str, str], Texts]:
    """By source, axis and reference, the labelled texts of every group, each text once."""
    found: dict[tuple[str, str, str], Texts] = {}
    labelled = scored.where(lambda pair: pair.label is not None and pair.axis != CONTROL)
    for (source, axis, reference), part in labelled.by("source", "axis", "reference").items():
        rows: dict[tuple[str, str], tuple[str, int, float]] = {}
        for pair, left, right in zip(part.pairs, part.left, part.right, strict=True):
            assert pair.label is not None
            rows[pair.group, pair.text] = (pair.cluster, pair.label, float(left))
            rows[reference, pair.reference_text] = (pair.cluster, pair.label, float(right))
        groups = [group for group, _ in rows]
        clusters, labels, positive = zip(*rows.values(), strict=True)
        found[source, axis, reference] = Texts(
            groups, list(clusters), np.array(labels), np.array(positive)
        )
    return found


def errors(source: str, axis: str, texts: Texts, background: str | None) -> Errors:
    """Error rates of every group; AUCs against the background where one is named.

    Raises:
        ValueError: the texts of an axis are of one group only.
    """
    names = sorted(set(texts.groups), key=lambda name: (name != background, name))
    if len(names) < 2:
        raise ValueError(f"{axis}: texts of one group only, {names[0]}; two or more are compared")
    predicted = (texts.positive >= 0.5).astype(np.int64)
    frame = MetricFrame(
        metrics={"accuracy": accuracy_score, "fpr": false_positive_rate,
                 "fnr": false_negative_rate},
        y_true=texts.labels, y_pred=predicted, sensitive_features=np.array(texts.groups),
    )  # fmt: skip
    rates = [
        _group_errors(name, frame.by_group.loc[name].to_dict(), texts, background) for name in names
    ]
    return Errors(source, axis, rates, _equalized_odds(texts, predicted, names, source))


def auc_interval(
    positives: Floats, negatives: Floats, clusters: tuple[Sequence[str], Sequence[str]],
    name: str, meaning: str,
) -> Estimate | None:  # fmt: skip
    """The AUC (P scores of positive against M of negative texts) with its bootstrap interval.

    A resample draws clusters; a text counts as often as its cluster was drawn.
    """
    if not len(positives) or not len(negatives):
        return None
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)  # (P, M)
    drawn, places = _draw([*clusters[0], *clusters[1]])
    left = drawn[:, [places[cluster] for cluster in clusters[0]]]  # (R, P)
    right = drawn[:, [places[cluster] for cluster in clusters[1]]]  # (R, M)
    weights = left.sum(1) * right.sum(1)
    usable = weights > 0
    resampled = ((left @ wins) * right).sum(1)[usable] / weights[usable]
    low, high = np.quantile(resampled, [0.025, 0.975]) if usable.any() else (np.nan, np.nan)
    size = len(positives) + len(negatives)
    return Estimate(name, float(wins.mean()), float(low), float(high), size, "texts", meaning)


def _group_errors(
    name: str, rates: dict[str, float], texts: Texts, background: str | None
) -> GroupErrors:
    own = np.array([group == name for group in texts.groups])
    made = {
        "accuracy": _rate("accuracy", rates["accuracy"], texts, own, "texts read rightly"),
        "false_positive_rate": _rate("false_positive_rate", rates["fpr"], texts,
                                     own & (texts.labels == 0), "negative read as positive"),
        "false_negative_rate": _rate("false_negative_rate", rates["fnr"], texts,
                                     own & (texts.labels == 1), "positive read as negative"),
    }  # fmt: skip
    assert made["accuracy"] is not None
    if background is not None:
        made |= _aucs(texts, own, np.array([group == background for group in texts.groups]))
    return GroupErrors(name, **made)  # type: ignore[arg-type]


def _rate(
    name: str, value: float, texts: Texts, rows: NDArray[np.bool_], meaning: str
) -> Estimate | None:
    """Fairlearn's rate with the interval of clustered shares; None where no text counts."""
    if not rows.any():
        return None
    right = ((texts.positive >= 0.5) == (texts.labels == 1))[rows]
    hits = right if name == "accuracy" else ~right
    data = stats.clustered(hits.astype(np.float64), _chosen(texts.clusters, rows))
    assert abs(data.mean - value) < 1e-9
    return Estimate(name, float(value), *stats.share_interval(data), int(rows.sum()), "texts",
                    meaning)  # fmt: skip


def _aucs(
    texts: Texts, own: NDArray[np.bool_], background: NDArray[np.bool_]
) -> dict[str, Estimate | None]:
    positive, negative = texts.labels == 1, texts.labels == 0

    def auc(name: str, of: NDArray[np.bool_], against: NDArray[np.bool_], what: str) -> (
        Estimate | None
    ):  # fmt: skip
        clusters = _chosen(texts.clusters, of), _chosen(texts.clusters, against)
        return auc_interval(texts.positive[of], texts.positive[against], clusters, name, what)

    return {
        "subgroup_auc": auc("subgroup_auc", own & positive, own & negative,
                            "the group's positive above its negative texts"),
        "bpsn_auc": auc("bpsn_auc", background & positive, own & negative,
                        "the background's positive above the group's negative texts"),
        "bnsp_auc": auc("bnsp_auc", own & positive, background & negative,
                        "the group's positive above the background's negative texts"),
    }  # fmt: skip


def _equalized_odds(texts: Texts, predicted: Labels, names: list[str], source: str) -> Estimate:
    value = equalized_odds_difference(
        texts.labels, predicted, sensitive_features=np.array(texts.groups)
    )
    drawn, places = _draw(texts.clusters)
    weights = drawn[:, [places[cluster] for cluster in texts.clusters]]  # (R, N)
    spreads, fewest = [], len(places)
    for label in (0, 1):
        rates = []
        for name in names:
            rows = np.array([group == name for group in texts.groups]) & (texts.labels == label)
            fewest = min(fewest, len(set(_chosen(texts.clusters, rows))) or fewest)
            total = weights[:, rows].sum(1)
            hits = weights[:, rows] @ predicted[rows]
            rates.append(np.divide(hits, total, out=np.full(len(total), np.nan), where=total > 0))
        spreads.append(np.ptp(np.array(rates), axis=0))  # NaN where a group lost all its texts
    worst = np.fmax(*spreads)
    low, high = np.nanquantile(worst, [0.025, 0.975]) if np.isfinite(worst).any() else (
        np.nan, np.nan)  # fmt: skip
    if worst.max(initial=0.0, where=np.isfinite(worst)) == 0:
        # Nobody was read otherwise than anybody, in any resample; how often that may still happen
        # is what so many independent texts leave open.
        high = stats.wilson(0.0, fewest)[1]
    return Estimate(
        "equalized_odds_difference", float(value), float(low), float(high), len(texts.labels),
        f"texts from {len(places)} {source}",
        "largest difference between two groups in true or false positive rate",
    )  # fmt: skip


def _draw(clusters: Sequence[str]) -> tuple[Floats, dict[str, int]]:
    """How often each of C clusters is drawn in R resamples (R, C), and its column."""
    places: dict[str, int] = {}
    for cluster in clusters:
        places.setdefault(cluster, len(places))
    count = len(places)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return drawn.astype(np.float64), places


def _chosen(clusters: Sequence[str], rows: NDArray[np.bool_]) -> list[str]:
    return [cluster for cluster, keep in zip(clusters, rows, strict=True) if keep]
