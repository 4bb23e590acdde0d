"""What is drawn: reliability for the page, and both pictures for the Markdown, in one look."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from bias import style
from bias.dossier.candidates import Candidate, reliability
from bias.dossier.metrics import METRICS
from bias.dossier.options import Option
from bias.dossier.ranking import Yardstick, ranked_accuracy
from bias.section import Chart, Estimate
from training.results.style import COLOURS, plain

# Candidates by colour, backends by form; both are said in words on hovering and in the tables.
SYMBOLS = dict(zip(
    ("onnx", "onnx-int8", "eager", "torchscript", "onnx-fp16", "pt2", "compiled"),
    ("circle", "square", "diamond", "triangle-up", "cross", "star", "x"), strict=True))  # fmt: skip
_MATPLOTLIB = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P",
               "star": "*", "x": "X"}  # fmt: skip
_LINES = ("solid", "dash", "dot", "dashdot", "longdash")
_MATPLOTLIB_LINES = ("-", "--", ":", "-.", (0, (8, 2)))
ACROSS = ("p50_ms", "flip_rate")


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each candidate; ten of them, then again from the first."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def symbol(backend: str) -> str:
    """A form for each backend."""
    return SYMBOLS.get(backend, "hexagon")


def reliability_chart(candidates: Sequence[Candidate], test: str) -> Chart:
    """Confidence across, how often it is right up; the diagonal is a model that knows itself."""
    drawn = [each for each in candidates if test in each.answers]
    shades = colours([each.name for each in candidates])
    figure = go.Figure()
    figure.add_scatter(x=[0.5, 1], y=[0.5, 1], mode="lines", name="calibrated", hoverinfo="skip",
                       line={"color": style.GREY, "dash": "dash", "width": 1})  # fmt: skip
    for i, each in enumerate(drawn):
        bins = [b for b in reliability(each.answers[test]) if b.count]
        figure.add_scatter(
            x=[round(b.confidence, 4) for b in bins], y=[round(b.accuracy, 4) for b in bins],
            mode="lines+markers", name=each.name,
            line={"color": shades[each.name], "dash": _LINES[i % len(_LINES)]},
            marker={"symbol": list(SYMBOLS.values())[i % len(SYMBOLS)], "size": 8},
            customdata=[f"{b.count:,}" for b in bins],
            hovertemplate="confidence %{x:.1%}<br>right %{y:.1%}<br>%{customdata} answers",
        )  # fmt: skip
    domains: dict[str, list[str]] = {}
    for each in drawn:
        domains.setdefault(each.domain(test), []).append(each.name)
    where = "; ".join(name if len(domains) == 1 else f"{name}: {', '.join(whose)}"
                      for name, whose in domains.items())  # fmt: skip
    return Chart(
        f"Reliability on {test}",
        style.framed(figure, 460, xaxis_title="confidence", yaxis_title="share right",
                     xaxis_tickformat=".0%", yaxis_tickformat=".0%"),
        f"Reliability on {test} ({where}), 15 bins: under the dashed line a model is surer than "
        "it is right. Bins with few answers scatter; hover for their number.",
    )  # fmt: skip


def reliability_picture(candidates: Sequence[Candidate]) -> bytes | None:
    """A panel a test set, as PNG; None where no run kept predictions."""
    tests = list(dict.fromkeys(test for each in candidates for test in each.answers))
    if not tests:
        return None
    figure = Figure(figsize=(5.2 * len(tests) + 0.4, 5.0), layout="constrained")
    shades = colours([each.name for each in candidates])
    for axes, test in zip(figure.subplots(1, len(tests), squeeze=False)[0], tests, strict=True):
        plain(axes, f"Reliability on {test}")
        axes.plot([0.5, 1], [0.5, 1], color=style.GREY, linestyle="--", linewidth=1,
                  label="calibrated")  # fmt: skip
        for i, each in enumerate(e for e in candidates if test in e.answers):
            bins = [b for b in reliability(each.answers[test]) if b.count]
            axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], label=each.name,
                      color=shades[each.name], markersize=5,
                      linestyle=_MATPLOTLIB_LINES[i % len(_MATPLOTLIB_LINES)],
                      marker=list(_MATPLOTLIB.values())[i % len(_MATPLOTLIB)])  # fmt: skip
        axes.set_xlabel("confidence")
        axes.set_ylabel("share right")
        axes.legend(fontsize=8, frameon=False)
    return _png(figure)


def front_picture(
    options: Sequence[Option], on_front: dict[str, bool], yardstick: Yardstick | None
) -> bytes | None:
    """Accuracy against latency and against the flip rate, as PNG; None without a point."""
    drawn = [option for option in options if option.name in on_front]
    if not drawn or yardstick is None:
        return None
    shades = colours(list(dict.fromkeys(option.candidate.name for option in options)))
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    for axes, across in zip(figure.subplots(1, len(ACROSS)), ACROSS, strict=True):
        plain(axes, f"Accuracy and {METRICS[across].title}")
        for option in drawn:
            x, y = option.figures[across], ranked_accuracy(option, yardstick)
            assert isinstance(x, Estimate)
            _point(axes, option, x, y, shades[option.candidate.name], on_front[option.name])
        _axis(axes, "y", "accuracy")
        axes.set_ylabel(f"accuracy on {yardstick.title}")
        if across.endswith("_ms"):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_locator(NullLocator())
        _axis(axes, "x", across)
    figure.legend(handles=_legend(drawn, shades), loc="outside lower center", ncols=4, fontsize=9,
                  frameon=False)  # fmt: skip
    return _png(figure)


def _point(axes: Axes, option: Option, x: Estimate, y: Estimate, colour: str, front: bool) -> None:
    axes.errorbar(
        x.value, y.value, xerr=_bars(x), yerr=_bars(y), color=colour, ecolor=f"{colour}77",
        elinewidth=1, markersize=9 if front else 6, markeredgecolor=colour,
        marker=_MATPLOTLIB.get(symbol(option.backend), "h"),
        markerfacecolor=colour if front else "white", linestyle="none",
    )  # fmt: skip


def _bars(figure: Estimate) -> Any:
    if np.isnan(figure.low) or np.isnan(figure.high):
        return None
    return [[max(0.0, figure.value - figure.low)], [max(0.0, figure.high - figure.value)]]


def _axis(axes: Axes, which: str, metric: str) -> None:
    kind = METRICS[metric]
    getattr(axes, f"set_{which}label")(f"{kind.title}{f', {kind.unit}' if kind.unit else ''}")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:g}%" if kind.share else f"{value:g}")


def _legend(drawn: Sequence[Option], shades: dict[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    candidates = list(dict.fromkeys(option.candidate.name for option in drawn))
    backends = list(dict.fromkeys(option.backend for option in drawn))
    points = [Line2D([], [], marker="o", linestyle="none", color=shades[name], label=name)
              for name in candidates]  # fmt: skip
    points += [Line2D([], [], marker=_MATPLOTLIB.get(symbol(b), "h"), linestyle="none",
                      color=style.GREY, label=b) for b in backends]  # fmt: skip
    points += [
        Line2D(
            [],
            [],
            marker="o",
            linestyle="none",
            color="black",
            markersize=9,
            label="filled, large: on the front",
        ),
        Line2D(
            [],
            [],
            marker="o",
            linestyle="none",
            color="black",
            markerfacecolor="white",
            markersize=6,
            label="hollow: another is as good in all three, and better in one",
        ),
    ]
    return points


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
