"""Errors by group of one target as a section of the report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bias.counterfactual import Scored
from bias.group_metrics import Errors, GroupErrors, Texts, counterfactual_texts, errors
from bias.section import Cell, Chart, Estimate, Section, Table
from bias.style import COLOURS, SYMBOLS, framed


def errors_section(target: str, scored: Scored) -> Section:
    """Is it right as often about everybody, the sentences being the same?"""
    found = [
        errors(source, axis, texts, background=reference)
        for (source, axis, reference), texts in counterfactual_texts(scored).items()
        if len(set(texts.groups)) > 1
    ]
    worst, findings = None, []
    if found:
        at = max(found, key=lambda each: (each.equalized_odds.value, each.equalized_odds.high))
        # an axis with fewer texts may miss them by more, whatever was found on it
        high = float(np.max([each.equalized_odds.high for each in found]))
        worst = replace(at.equalized_odds, high=high)
        findings.append(
            f"Equalised odds are missed most on {at.axis} in {at.source}: error rates there differ "
            f"by {worst.text()} between two groups on the same sentences."
        )
    return Section(
        name="errors",
        title="Errors by group, on the same sentences",
        target=target,
        findings=tuple(findings),
        headline=(worst,) if worst is not None else (),
        estimates=(worst,) if worst is not None else (),
        tables=tuple(_errors_table(each) for each in found),
        charts=(_auc_chart(found),) if found else (),
        limits=(
            "An AUC near 1 for everybody leaves room only for bias that does not change the order; "
            "look at the error rates and the flips as well.",
            "The difference in equalised odds is the largest of several and cannot be negative: "
            "its interval therefore never reaches below 0.",
        ),
    )


def as_written_section(target: str, texts: Texts, facts: dict[str, Any]) -> Section:
    """Reviews as their writers wrote them, by the gender that they speak of."""
    found = errors("reviews", "gender of those written about", texts, background=None)
    worst = found.equalized_odds
    return Section(
        name="errors_as_written",
        title="Errors by group, in reviews as written",
        target=target,
        findings=(
            "Reviews that speak of women, of men or of nobody differ by "
            f"{worst.text()} in their error rates.",
        ),
        estimates=(
            Estimate("equalized_odds_difference_as_written", worst.value, worst.low, worst.high,
                     worst.n, worst.of, worst.meaning),
        ),
        tables=(_errors_table(found),),
        limits=(
            "People write about women and men on other occasions and other products: a difference "
            "here may be the topic's. The counterfactual one is the swap's.",
        ),
        facts=facts,
    )  # fmt: skip


def _errors_table(found: Errors) -> Table:
    def row(group: GroupErrors) -> tuple[Cell, ...]:
        cells = (group.accuracy, group.false_positive_rate, group.false_negative_rate,
                 group.subgroup_auc, group.bpsn_auc, group.bnsp_auc)  # fmt: skip
        return (group.group, *(("–" if cell is None else cell) for cell in cells),
                group.accuracy.n)  # fmt: skip

    return Table(
        f"{found.axis}, {found.source}",
        ("group", "accuracy", "false positives", "false negatives", "subgroup AUC", "BPSN AUC",
         "BNSP AUC", "texts"),
        tuple(row(group) for group in found.groups),
        f"Equalised-odds difference {found.equalized_odds.text()}.",
    )  # fmt: skip


def _auc_chart(found: Sequence[Errors]) -> Chart:
    figure = go.Figure()
    kinds = (("subgroup AUC", "subgroup_auc"), ("BPSN AUC", "bpsn_auc"), ("BNSP AUC", "bnsp_auc"))
    labels = [f"{each.axis}: {group.group} ({each.source})" for each in found
              for group in each.groups]  # fmt: skip
    for (name, field), colour, symbol in zip(kinds, COLOURS, SYMBOLS, strict=False):
        points = [
            (f"{each.axis}: {group.group} ({each.source})", getattr(group, field))
            for each in found
            for group in each.groups
            if getattr(group, field) is not None
        ]
        figure.add_trace(go.Scatter(
            x=[e.value for _, e in points], y=[label for label, _ in points], mode="markers",
            name=name, marker={"color": colour, "size": 8, "symbol": symbol},
            customdata=[[e.low, e.high, e.n] for _, e in points],
            hovertemplate="%{y}<br>" + name + " %{x:.3f} [%{customdata[0]:.3f}, "
                          "%{customdata[1]:.3f}]<br>%{customdata[2]} texts<extra></extra>",
        ))  # fmt: skip
    return Chart(
        "Is the order right for everybody?",
        framed(figure, 110 + 22 * len(labels), xaxis_title="AUC",
               yaxis={"autorange": "reversed", "categoryorder": "array", "categoryarray": labels}),
        "Three AUCs a group, against the reference's texts of the same sentences. A low BPSN AUC: "
        "the group's negative texts are read as too positive; a low BNSP AUC: its positive texts "
        "as too negative.",
    )  # fmt: skip
