"""The fill-mask audit as a section of the report: what is found, how sure it is, what it is not."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from bias import style
from bias.fill_mask import SetResult
from bias.relabelling import Difference
from bias.section import Chart, Estimate, Page, Section, Table
from training.results.statistics import holm

ODDS_SHOWN = 8

LIMITS = (
    "Fill-mask shows what the language model expects, not what an application built on it does; "
    "the two correlate weakly (Goldfarb-Tarrant et al. 2021). Decide by the application's audit.",
    "A contrast is taken over a list of stereotyped tokens of ours and over our templates; a model "
    "without a difference on them may have one on others.",
    "With people as the unit, p says that other names or nouns of the same groups would show the "
    "same. With tokens as the unit (one pair of sentences) it says only that this pair differs.",
    "Lexicon and classifier score the completion, not the sentence; neither knows irony.",
)


def fill_mask_section(
    model: str, results: Sequence[SetResult], pages: tuple[Page, ...] = ()
) -> Section:
    """All sets on one model. `results` are of this model, in the order of the sets."""
    estimates = contrasts(results)
    return Section(
        name="fill_mask",
        title="What is put into the blank for whom",
        target=model,
        findings=_findings(results, estimates),
        estimates=tuple(estimates.values()),
        tables=(
            _overview(results, estimates),
            _top_table(results),
            _odds_table(results),
            _values_table(results),
        ),
        charts=(_forest([(model, results, estimates)]),) if estimates else (),
        pages=pages,
        limits=LIMITS,
        facts={
            "sets": [result.prompts.name for result in results],
            "unknown_tokens": {r.prompts.name: r.unknown_tokens for r in results},
            "prompts_without_stored_logits": {r.prompts.name: r.missing for r in results},
        },
    )


def comparison_section(models: Sequence[tuple[str, Sequence[SetResult]]]) -> Section:
    """The same sets on several models, the first of which is the plain one."""
    estimates = [(name, results, contrasts(results)) for name, results in models]
    (plain, plain_results, plain_found), *others = estimates
    rows: list[tuple[Any, ...]] = []
    findings = []
    for name, results, found in others:
        by_set = {result.prompts.name: result for result in results}
        for result in plain_results:
            key = result.prompts.name
            if key not in plain_found or key not in found:
                continue
            before, after = plain_found[key], found[key]
            share = 1 - after.value / before.value if before.value else math.nan
            apart = after.high < before.low or after.low > before.high
            rows.append((result.prompts.axis, result.prompts.title, name, before, after,
                         _percent(share), "yes" if apart else "no"))  # fmt: skip
            findings.append(
                f"{result.prompts.title} ({result.prompts.axis}"
                f"{', switched' if by_set[key].prompts.switched else ''}): the contrast goes from "
                f"{before.text(2)} under {plain} to {after.text(2)} under {name}"
                f"{'' if apart else ', a difference within the uncertainty of the two'}."
            )
    return Section(
        name="fill_mask_models",
        title="The same prompts under several models",
        findings=tuple(findings),
        tables=(
            Table(
                "Contrast under each model",
                ("axis", "set", "model", f"under {plain}", "under it", "smaller by", "apart"),
                tuple(rows),
                "Log-odds in nats with 95% intervals; apart: the two intervals do not overlap, a "
                "stricter demand than a test at the 5% level.",
            ),
        ),
        charts=(_forest(estimates),) if rows else (),
        limits=(
            "Two models differ in more than the mitigation: seed, steps, data order. Only models "
            "that were trained alike but for it say what it did.",
        ),
    )


def contrasts(results: Sequence[SetResult]) -> dict[str, Estimate]:
    """Set -> its contrast, p corrected over the sets by Holm (1979)."""
    tested = [(r, r.contrast) for r in results if r.contrast is not None]
    corrected = holm([contrast.p for _, contrast in tested])
    return {
        result.prompts.name: Estimate(
            name=f"contrast_{result.prompts.name.replace('-', '_')}",
            value=contrast.value,
            low=contrast.low,
            high=contrast.high,
            n=sum(contrast.units),
            of=result.contrast_unit,
            meaning=_meaning(result, contrast),
            p=p,
            detectable=contrast.detectable,
        )
        for (result, contrast), p in zip(tested, corrected, strict=True)
    }


def _meaning(result: SetResult, contrast: Difference) -> str:
    a, b = (group.name for group in result.prompts.groups)
    direction = "larger" if contrast.value > 0 else "smaller"
    return (
        f"the odds of what is expected of {a} over what is expected of {b} are "
        f"{math.exp(abs(contrast.value)):.1f} times {direction} for {a} than for {b}"
    )


def _findings(results: Sequence[SetResult], estimates: dict[str, Estimate]) -> tuple[str, ...]:
    found, none = [], []
    for result in results:
        estimate = estimates.get(result.prompts.name)
        if estimate is None:
            continue
        if estimate.p is not None and estimate.p < 0.05:
            found.append((abs(estimate.value), _sentence(result, estimate)))
        else:
            none.append(result.prompts.title)
    lines = [sentence for _, sentence in sorted(found, key=lambda entry: -entry[0])]
    if none:
        lines.append(
            "No contrast that chance would not give (p ≥ 0.05 after correction): "
            + "; ".join(none)
            + "."
        )
    return tuple(lines)


def _sentence(result: SetResult, estimate: Estimate) -> str:
    side = "along" if estimate.value > 0 else "against"
    note = " (the switched set: the sentences speak against the stereotype)" * (
        result.prompts.switched
    )
    return (
        f"{result.prompts.title}{note}: {side} the stereotype, {estimate.meaning} "
        f"(contrast {estimate.text(2)}, p = {_p(estimate.p)}, n = {estimate.n} {estimate.of})."
    )


def _overview(results: Sequence[SetResult], estimates: dict[str, Estimate]) -> Table:
    rows = []
    for result in results:
        agreement = result.agreement
        chance = agreement.chance_divergence
        estimate = estimates.get(result.prompts.name)
        sides = result.contrast_sides
        rows.append((
            result.prompts.axis,
            result.prompts.title + (" (switched)" if result.prompts.switched else ""),
            f"{result.people[0]} + {result.people[1]}",
            f"{sides[0]:+.2f} / {sides[1]:+.2f}" if sides else None,
            estimate,
            "" if estimate is None else estimate.of,
            "" if estimate is None else _p(estimate.p),
            None if estimate is None else f"{estimate.detectable:.2f}",
            f"{agreement.divergence:.3f}"
            + (f" (chance {chance[0]:.3f} to {chance[1]:.3f})" if chance else ""),
            f"{agreement.spearman_top:.2f} / {agreement.spearman_all:.2f}",
            f"{agreement.pearson_top:.2f} / {agreement.pearson_all:.2f}",
            f"{agreement.top_tokens} / {agreement.all_tokens}",
        ))  # fmt: skip
    return Table(
        "Sets",
        ("axis", "set", "people", "log-odds of each group's expected tokens", "contrast", "unit",
         "p (Holm)", "detectable", "divergence (bits)", "Spearman top / all", "Pearson top / all",
         "tokens top / all"),
        tuple(rows),
        "Every difference is the minoritised group minus the normative one. Contrast: log-odds, in "
        "nats, of the tokens expected of the minoritised group less those expected of the "
        "normative one; 0 without bias, positive along the stereotype. Divergence: "
        "Jensen–Shannon, 0 alike, 1 nothing in common; in brackets, what 95% of relabelled people "
        "show. Correlations: of the logits, over the tokens among the top of either side, and over "
        "all whole words.",
    )  # fmt: skip


def _top_table(results: Sequence[SetResult]) -> Table:
    rows = []
    for result in results:
        for group, top in zip(result.prompts.groups, result.top, strict=True):
            tokens = ", ".join(f"{token} {probability:.3f}" for token, probability in top)
            rows.append((result.prompts.title, group.name, group.standing, tokens))
    return Table(
        "Most likely tokens",
        ("set", "group", "standing", "tokens with their probability"),
        tuple(rows),
        "Probabilities are means over all prompts of the group.",
    )


def _odds_table(results: Sequence[SetResult]) -> Table:
    rows = []
    for result in results:
        for odds in result.odds[:ODDS_SHOWN]:
            rows.append((result.prompts.title, odds.token, f"{odds.log_odds:+.2f}",
                         f"{odds.minoritised:.4f}", f"{odds.normative:.4f}", _p(odds.p),
                         result.odds_unit, result.candidates))  # fmt: skip
    return Table(
        "Tokens that differ most",
        ("set", "token", "log-odds", "minoritised", "normative", "p (corrected)", "unit",
         "candidates"),
        tuple(rows),
        "Among the candidates, the most likely tokens whichever the group. p is corrected for all "
        "candidates: with people as the unit by Westfall and Young's max-T, exact; with tokens, "
        "against a normal fitted to the bulk of the candidates (Efron 2004), by Bonferroni.",
    )  # fmt: skip


def _values_table(results: Sequence[SetResult]) -> Table:
    rows = []
    for result in results:
        for measure, (a, b, tested, covered) in result.values.items():
            difference: Any = f"{a - b:+.3f}"
            if tested is not None:
                difference = Estimate("difference", tested.value, tested.low, tested.high,
                                      sum(tested.units), "people")  # fmt: skip
            rows.append((result.prompts.title, measure, f"{a:+.3f}", f"{b:+.3f}", difference,
                         "" if tested is None else _p(tested.p), f"{covered:.1%}"))  # fmt: skip
    return Table(
        "What the completions say of people",
        ("set", "measure", "minoritised", "normative", "difference", "p", "covered"),
        tuple(rows),
        "Lexicon: from -1 (only words that speak ill) to 1, among the words it knows. Classifier: "
        "probability of positive with the completion in the sentences of both groups. p is not "
        "corrected over the rows. Covered: the probability of the completions that are scored.",
    )


def _forest(
    models: Sequence[tuple[str, Sequence[SetResult], dict[str, Estimate]]],
) -> Chart:
    figure = go.Figure()
    names = []
    for place, (model, results, found) in enumerate(models):
        shown = [r for r in results if r.prompts.name in found][::-1]
        kept = [found[r.prompts.name] for r in shown]
        labels = [f"{r.prompts.title} [{r.prompts.axis}]" for r in shown]
        names += [label for label in labels if label not in names]
        figure.add_scatter(
            x=[e.value for e in kept],
            y=labels,
            mode="markers",
            name=model,
            marker={
                "symbol": style.SYMBOLS[place % len(style.SYMBOLS)],
                "color": style.COLOURS[place % len(style.COLOURS)],
                "size": 10,
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [e.high - e.value for e in kept],
                "arrayminus": [e.value - e.low for e in kept],
            },
        )
    figure.add_vline(x=0, line={"color": style.GREY, "dash": "dash"})
    height = round(150 + 34 * len(names) * max(1.0, len(models) / 2))
    frame = style.framed(
        figure,
        height,
        xaxis_title="contrast in nats: against the stereotype | along it",
        scattermode="group",
        showlegend=len(models) > 1,
    )
    return Chart(
        title="Contrast of each set",
        figure=frame,
        caption="The contrast of each prompt set with its 95% interval. 0 is no difference between "
        "the groups; to the right, the model gives each group what the stereotype gives it.",
    )


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.0%}"
