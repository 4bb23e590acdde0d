"""Several targets on the same texts: does a format or an endpoint change who is wronged?

The first target is the one that the others are held against. A compressed model may be as accurate
as the plain one and yet treat one group worse (Hooker et al. 2020): what counts is not only how far
its answers lie apart, but whether a group's difference and its errors grew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bias import stats
from bias.answers import MOST_TOLERATED
from bias.counterfactual import Scored
from bias.pairs import CONTROL
from bias.section import Cell, Estimate, Section, Table

SAME = 1e-4
"""Two engines with one set of weights differ by rounding; further apart are two models."""


@dataclass(frozen=True)
class Contender:
    """A target with its answers to the pairs that all targets were given. `is_coarse`: they depend
    on what else is in the batch, as int8's do."""

    name: str
    scored: Scored
    is_endpoint: bool = False
    is_coarse: bool = False


@dataclass(frozen=True)
class GroupChange:
    """What another target does to one group: the change of its mean difference, of its flips, and
    of the share of its labelled texts that are read wrongly."""

    source: str
    axis: str
    group: str
    difference: Estimate
    flips: Estimate
    errors: Estimate | None


def comparison_section(contenders: Sequence[Contender]) -> Section:
    """All targets against the first."""
    base, *others = contenders
    findings: list[str] = []
    tables: list[Table] = []
    headline: list[Estimate] = []
    answers: list[tuple[Cell, ...]] = []
    for other in others:
        apart, disagreeing = _answers(base.scored, other.scored)
        answers.append((other.name, f"{apart.max():.2g}", f"{apart.mean():.2g}", disagreeing,
                        disagreeing.n))  # fmt: skip
        changes = group_changes(base.scored, other.scored)
        findings += _findings(base, other, apart, disagreeing, changes)
        headline.append(disagreeing)
        tables.append(_table(base.name, other.name, changes))
    first = Table(
        f"Answers against those of {base.name}",
        ("target", "largest |Δp|", "mean |Δp|", "labels that differ", "texts"),
        tuple(answers),
    )
    return Section(
        name="comparison",
        title="Do the targets treat the groups alike?",
        findings=tuple(findings),
        headline=tuple(headline) if len(others) == 1 else (),
        estimates=tuple(headline) if len(others) == 1 else (),
        tables=(first, *tables),
        limits=(
            "A change that is not found is not shown to be absent: see the detectable change.",
            "Agreement is on the audit's texts; others may be answered differently.",
        ),
    )


def group_changes(base: Scored, other: Scored) -> list[GroupChange]:
    """Every group's change from one target to the other, pair by pair; Holm over all of them."""
    assert base.pairs == other.pairs
    changed = other.differences - base.differences
    flipped = other.flips - base.flips
    wrong = _wrong(other) - _wrong(base)
    rows: dict[tuple[str, str, str], list[int]] = {}
    for i, pair in enumerate(base.pairs):
        if pair.axis != CONTROL:
            rows.setdefault((pair.source, pair.axis, pair.group), []).append(i)
    keys = sorted(rows)
    clusters = base.clusters
    made = []
    for key in keys:
        chosen = rows[key]
        own = [clusters[i] for i in chosen]
        labelled = [i for i in chosen if base.pairs[i].label is not None]
        made.append((
            _change("change_of_dp", changed[chosen], own, "change of the mean Δp",
                    stats.bootstrap_interval, len(keys)),
            _change("change_of_flips", flipped[chosen], own, "change of the flip rate"),
            _change("change_of_errors", wrong[labelled], [clusters[i] for i in labelled],
                    "change of the share read wrongly") if labelled else None,
        ))  # fmt: skip
    corrected = stats.holm([each[0].p or 0.0 for each in made])
    return [
        GroupChange(*key, _corrected(difference, p), flips, errors)
        for key, (difference, flips, errors), p in zip(keys, made, corrected, strict=True)
    ]


def _answers(base: Scored, other: Scored) -> tuple[NDArray[np.float64], Estimate]:
    """|Δp| of every text (T,), and the share of texts with another label, by template or review."""
    first, second = _by_text(base), _by_text(other)
    left, right = np.array(list(first.values())), np.array([second[text] for text in first])
    clusters = _clusters(base)
    differ = stats.clustered((left >= 0.5) != (right >= 0.5), [clusters[text] for text in first])
    return np.abs(left - right), Estimate(
        "label_disagreement", differ.mean, *stats.share_interval(differ), len(left),
        f"texts from {len(differ.sums)} clusters",
        "share of texts that the two targets label differently",
    )  # fmt: skip


def _by_text(scored: Scored) -> dict[str, float]:
    found: dict[str, float] = {}
    for pair, left, right in zip(scored.pairs, scored.left, scored.right, strict=True):
        found[pair.text], found[pair.reference_text] = float(left), float(right)
    return found


def _clusters(scored: Scored) -> dict[str, str]:
    """The template or review that each text was made of."""
    return {
        text: pair.cluster for pair in scored.pairs for text in (pair.text, pair.reference_text)
    }


def _wrong(scored: Scored) -> NDArray[np.float64]:
    """Whether the group's text is read wrongly (N,); 0 where it has no label."""
    return np.array([
        0.0 if pair.label is None else float((left >= 0.5) != (pair.label == 1))
        for pair, left in zip(scored.pairs, scored.left, strict=True)
    ])  # fmt: skip


def _change(
    name: str, values: NDArray[np.float64], clusters: list[str], meaning: str,
    interval: Callable[[stats.Clusters], tuple[float, float]] = stats.student_interval,
    comparisons: int = 1,
) -> Estimate:  # fmt: skip
    data = stats.clustered(values, clusters)
    return Estimate(name, data.mean, *interval(data), len(values),
                    f"pairs from {len(data.sums)} clusters", meaning, p=stats.sign_flip_p(data),
                    detectable=stats.detectable_effect(data, comparisons))  # fmt: skip


def _corrected(found: Estimate, p: float) -> Estimate:
    return Estimate(found.name, found.value, found.low, found.high, found.n, found.of,
                    found.meaning, p, found.detectable, found.noise)  # fmt: skip


def _findings(
    base: Contender, other: Contender, apart: NDArray[np.float64], disagreeing: Estimate,
    changes: Sequence[GroupChange],
) -> list[str]:  # fmt: skip
    differing = round(disagreeing.value * disagreeing.n)
    same = apart.max() <= SAME and not differing
    lines = []
    if other.is_endpoint != base.is_endpoint:
        alike = apart.max() <= MOST_TOLERATED and (base.is_coarse or other.is_coarse)
        is_it = "is" if same else "may well be" if alike else "is NOT"
        why = "; answers in int8 depend on their batch" if is_it == "may well be" else ""
        endpoint, audited = (other, base) if other.is_endpoint else (base, other)
        lines.append(
            f"What {endpoint.name} serves {is_it} what was audited as {audited.name}{why}."
        )
    lines.append(
        f"{other.name} against {base.name}: {differing:,} of {disagreeing.n:,} texts get another "
        f"label, the largest difference in probability is {apart.max():.2g}."
    )
    if same:
        return lines
    moved = [each for each in changes if (each.difference.p or 0.0) < 0.05]
    for each in sorted(moved, key=lambda c: -abs(c.difference.value))[:3]:
        lines.append(
            f"{each.axis}, {each.source}: under {other.name}, Δp of {each.group} changes by "
            f"{each.difference.text(4)}."
        )
    if not moved:
        finest = max((each.difference.detectable or 0.0 for each in changes), default=0.0)
        lines.append(
            f"No group's difference changes under {other.name}; a change of {finest:.4f} in "
            "probability would have been seen in 80 of 100 audits."
        )
    return lines


def _table(base: str, other: str, changes: Sequence[GroupChange]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (each.source, each.axis, each.group, each.difference, f"{each.difference.p:.4f}",
         f"{each.difference.detectable:.4f}", each.flips,
         "–" if each.errors is None else each.errors, each.difference.n)
        for each in changes
    ]  # fmt: skip
    return Table(
        f"From {base} to {other}, group by group",
        ("text", "axis", "group", "change of mean Δp", "p (Holm)", "detectable change",
         "change of flip rate", "change of errors on the group's texts", "pairs"),
        tuple(rows),
    )  # fmt: skip
