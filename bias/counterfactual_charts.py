"""The counterfactual audit as charts: what moved, how surely, and what noise alone moves."""

from collections.abc import Sequence

import plotly.graph_objects as go

from bias.counterfactual import Comparison
from bias.section import Chart, Estimate
from bias.style import BAND, BLUE, GREY, VERMILLION, framed


def forest(compared: Sequence[Comparison], source: str) -> Chart:
    chosen = [each for each in compared if each.source == source]
    figure = go.Figure()
    noise = max((each.probability.noise or 0.0 for each in chosen), default=0.0)
    if noise:
        figure.add_vrect(x0=-noise, x1=noise, fillcolor=BAND, line_width=0, layer="below")
    strong = ("for the group", "for these words")
    for name, colour, symbol, rows in (
        ("beyond the noise", VERMILLION, "diamond", [c for c in chosen if c.verdict in strong]),
        ("not beyond it", BLUE, "circle", [c for c in chosen if c.verdict not in strong]),
    ):
        _points(figure, name, colour, symbol, [(each, each.probability) for each in rows])
    figure.add_vline(x=0, line_color=GREY, line_width=1)
    caption = (
        f"Mean change of the probability of positive in {source}, with 95% intervals; to the left "
        "the group reads as more negative than the reference. Within the grey band lies what swaps "
        f"of neutral words do (±{noise:.3f})."
    )
    return Chart(
        f"Mean change when somebody else is named: {source}",
        framed(figure, 110 + 28 * len(chosen),
               xaxis_title="← group more negative · mean Δp · group more positive →",
               yaxis={"autorange": "reversed", "categoryorder": "array",
                      "categoryarray": [_label(each) for each in chosen]}),
        caption,
    )  # fmt: skip


def flip_chart(compared: Sequence[Comparison], source: str) -> Chart:
    chosen = [each for each in compared if each.source == source]
    figure = go.Figure()
    _points(figure, "swaps of who is named", BLUE, "circle",
            [(each, each.flips) for each in chosen])  # fmt: skip
    known = [each for each in chosen if each.flips.noise is not None]
    figure.add_trace(go.Scatter(
        x=[each.flips.noise for each in known], y=[_label(each) for each in known],
        mode="markers", name="swaps without meaning",
        marker={"symbol": "line-ns-open", "size": 16, "color": GREY, "line": {"width": 2}},
        hovertemplate="%{y}<br>without meaning: %{x:.2%}<extra></extra>",
    ))  # fmt: skip
    return Chart(
        f"Labels that change: {source}",
        framed(figure, 110 + 28 * len(chosen),
               xaxis={"title": "share of pairs", "tickformat": ".1%", "rangemode": "tozero"},
               yaxis={"autorange": "reversed", "categoryorder": "array",
                      "categoryarray": [_label(each) for each in chosen]}),
        "Share of pairs whose label changes, with 95% intervals; the grey stroke marks what swaps "
        "without meaning of the same kind do.",
    )  # fmt: skip


def _points(
    figure: go.Figure, name: str, colour: str, symbol: str,
    rows: Sequence[tuple[Comparison, Estimate]],
) -> None:  # fmt: skip
    estimates = [estimate for _, estimate in rows]
    figure.add_trace(go.Scatter(
        x=[e.value for e in estimates], y=[_label(each) for each, _ in rows], mode="markers",
        name=name, marker={"color": colour, "size": 9, "symbol": symbol},
        error_x={"type": "data", "symmetric": False, "thickness": 1.4,
                 "array": [e.high - e.value for e in estimates],
                 "arrayminus": [e.value - e.low for e in estimates]},
        customdata=[[e.low, e.high, e.n, each.verdict] for each, e in rows],
        hovertemplate="%{y}<br>%{x:.4f} [%{customdata[0]:.4f}, %{customdata[1]:.4f}]"
                      "<br>%{customdata[2]} pairs · %{customdata[3]}<extra></extra>",
    ))  # fmt: skip


def _label(each: Comparison) -> str:
    return f"{each.axis}: {each.group} vs {each.reference}"
