"""The counterfactual audit of one target as sections of the report."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bias.counterfactual import Comparison, Scored, comparisons, pooled_flips
from bias.counterfactual_charts import flip_chart, forest
from bias.gaps import Gap, gaps, widest_gap
from bias.pairs import CONTROL, REVIEWS, TEMPLATES, Pair
from bias.section import Cell, Estimate, Section, Table

EXAMPLES = 8
_AROUND = 60  # characters shown on either side of a swap

LIMITS = (
    "Only the swaps listed here were tried, in English, with our templates and our lists of names "
    "and words; a group that is not named here was not audited.",
    "Templates are short and clean; reviews show what happens in real text, but only in reviews "
    "that could be rewritten by rule: short ones about one gender, with a lone first name, or with "
    "a person named by a bare noun.",
    "In her → his or him and his → her or hers the following word decides; where that is wrong, "
    "one of the two texts reads oddly, which adds noise.",
    "A trait in a review is compared with another trait (a deaf author, a tall author), not with "
    "none.",
    "The largest of several differences is larger than each of them by chance: read its interval "
    "together with its p, which compares it with groups shuffled within every sentence, and with "
    "its noise, the largest that as many groups of words without meaning give on as many axes.",
)


def counterfactual_section(
    target: str, scored: Scored, facts: dict[str, Any] | None = None
) -> Section:
    """Who is named, and what that does to the answer."""
    compared = comparisons(scored)
    widest = gaps(scored)
    flips = {
        (source, control): pooled_flips(scored, source, control)
        for source in (REVIEWS, TEMPLATES)
        for control in (False, True)
    }
    gap = _headline(widest_gap(scored, widest))
    headline = [flips[REVIEWS, False], gap, flips[REVIEWS, True]]
    return Section(
        name="counterfactual",
        title="Who is named, and what that does to the answer",
        target=target,
        findings=_findings(compared, widest, flips[REVIEWS, False], flips[REVIEWS, True]),
        headline=tuple(estimate for estimate in headline if estimate is not None),
        estimates=(
            *(estimate for estimate in flips.values() if estimate is not None),
            *([gap] if gap else []),
            *(_named(each) for each in compared),
        ),
        tables=(
            *(_table(compared, source) for source in _sources(compared)),
            _gap_table(widest),
            _examples(scored),
        ),
        charts=tuple(
            chart
            for source in _sources(compared)
            for chart in (forest(compared, source), flip_chart(compared, source))
        ),
        limits=LIMITS,
        facts={"pairs": len(scored.pairs), **(facts or {})},
    )


def _findings(
    compared: Sequence[Comparison], widest: Sequence[Gap], flips: Estimate | None,
    control: Estimate | None,
) -> tuple[str, ...]:  # fmt: skip
    lines = []
    if flips is not None:
        noise = f"; swaps without meaning change it in {_percent(control)}" if control else ""
        lines.append(
            f"Naming somebody else changes the label in {_percent(flips)} of reviews{noise}."
        )
    for verdict, wording in (
        ("for the group", "holds for other sentences and for other words of the group"),
        (
            "for these words",
            "holds for other sentences, but not surely for other words of the group",
        ),
    ):
        for each in sorted(compared, key=lambda c: -abs(c.probability.value)):
            if each.verdict == verdict:
                way = "more positive" if each.probability.value > 0 else "more negative"
                lines.append(
                    f"{each.axis}: {each.source} about “{each.group}” read as {way} than about "
                    f"“{each.reference}”, Δp {each.probability.text()}; it {wording}."
                )
    if not any(each.verdict.startswith("for ") for each in compared):
        lines.append(
            "No group's texts read differently beyond the noise of any swap. What could hide below "
            f"it: a mean difference of {_hidden(compared)}."
        )
    if widest:
        gap = max(widest, key=lambda each: each.estimate.value)
        lines.append(
            f"Furthest apart are {gap.highest} and {gap.lowest} ({gap.axis}, {gap.source}): "
            f"{gap.estimate.text()} in probability."
        )
    return tuple(lines)


def _hidden(compared: Sequence[Comparison]) -> str:
    """The largest true difference that this audit need not have found, by kind of text."""
    parts = []
    for source in _sources(compared):
        limits = [
            max(each.probability.detectable or 0.0, each.probability.noise or 0.0)
            for each in compared
            if each.source == source
        ]
        parts.append(f"up to {max(limits):.3f} in {source}")
    return ", ".join(parts)


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "an unknown share"
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}] of {estimate.n:,} pairs"


def _headline(gap: Gap | None) -> Estimate | None:
    """The widest gap, which says whose it is."""
    if gap is None:
        return None
    found = gap.estimate
    return replace(found, meaning=f"{found.meaning}: {gap.highest} and {gap.lowest} ({gap.axis})")


def _named(each: Comparison) -> Estimate:
    """The mean difference under a name of its own, so that a gate can ask for it."""
    found = each.probability
    words = re.sub(r"[^a-z0-9]+", "_", f"{each.source} {each.axis} {each.group}".lower())
    return Estimate(f"mean_dp_{words.strip('_')}", found.value, found.low, found.high, found.n,
                    found.of, found.meaning, found.p, found.detectable, found.noise)  # fmt: skip


def _sources(compared: Sequence[Comparison]) -> list[str]:
    there = {each.source for each in compared}
    return [source for source in (REVIEWS, TEMPLATES) if source in there]


def _table(compared: Sequence[Comparison], source: str) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for each in compared:
        if each.source != source:
            continue
        found = each.probability
        terms = "–" if each.terms_p_holm is None else f"{each.terms_p_holm:.3f}"
        if each.least_terms_p is not None and each.least_terms_p > 0.05:
            terms += f" (≥ {each.least_terms_p:.2f})"
        rows.append((
            each.axis, each.group, each.verdict, found, each.logit, each.flips,
            "–" if each.flips.noise is None else f"{each.flips.noise:.1%}",
            "–" if found.noise is None else f"{found.noise:.3f}",
            f"{found.p:.4f}", terms, f"{found.detectable:.3f}", found.n,
        ))  # fmt: skip
    return Table(
        f"Every group against its reference, in {source}",
        ("axis", "group", "found", "mean Δp", "mean Δlogit", "flip rate", "flips by noise",
         "Δp by noise", "p, other sentences (Holm)", "p, other words (Holm)", "detectable Δp",
         "pairs"),
        tuple(rows),
        "Δ is the group's less the reference's; positive: read as more positive. Intervals are "
        f"95%, by {'review' if source == REVIEWS else 'template'}. Either p is corrected over all "
        "groups of this audit. A p for other words that cannot fall under 0.05 with so few words, "
        "even uncorrected, says so (≥).",
    )  # fmt: skip


def _gap_table(widest: Sequence[Gap]) -> Table:
    rows = [
        (each.source, each.axis, each.highest, each.lowest, each.estimate,
         f"{each.estimate.p:.4f}", each.estimate.n)
        for each in widest
    ]  # fmt: skip
    return Table(
        "Largest gap between two groups",
        ("text", "axis", "read as most positive", "as least positive", "gap in p",
         "p if groups were shuffled", "pairs"),
        tuple(rows),
    )  # fmt: skip


def _examples(scored: Scored) -> Table:
    """The flipped reviews that moved most, as text around the swap."""
    real = scored.where(lambda pair: pair.source == REVIEWS and pair.axis != CONTROL)
    order = sorted(range(len(real.pairs)), key=lambda i: -abs(real.left[i] - real.right[i]))
    rows: list[tuple[Cell, ...]] = []
    seen: set[str] = set()
    for i in order:
        pair = real.pairs[i]
        if pair.cluster in seen:
            continue
        seen.add(pair.cluster)
        reference, group = around(pair)
        truth = {0: "negative", 1: "positive", None: "–"}[pair.label]
        rows.append((f"{pair.axis}: {pair.group}", reference, f"{real.right[i]:.2f}", group,
                     f"{real.left[i]:.2f}", truth))  # fmt: skip
        if len(rows) == EXAMPLES:
            break
    return Table(
        "The reviews that moved most",
        ("swap", "with the reference", "p", "with the group", "p", "the writer's label"),
        tuple(rows),
        "One pair a review; text around the first difference.",
    )


def around(pair: Pair) -> tuple[str, str]:
    """The reference's and the group's text around their first difference."""
    left, right = pair.reference_text, pair.text
    same = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
        min(len(left), len(right)),
    )
    start = max(0, left.rfind(" ", 0, max(0, same - _AROUND)) + 1)
    return tuple(
        ("…" if start else "")
        + " ".join(text[start : same + _AROUND].split())
        + ("…" if same + _AROUND < len(text) else "")
        for text in (left, right)
    )  # type: ignore[return-value]
