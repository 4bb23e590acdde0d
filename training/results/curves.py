"""The pictures: learning curves, and accuracy against what it cost.

Legend and caption stand below the panels, on ground of their own, whatever the number of runs.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from training.results.runs import Run
from training.results.style import (
    GREY,
    Look,
    accuracy_axis,
    count_axis,
    duration_axis,
    handle,
    inches,
    looks,
    plain,
)
from training.results.table import test_names

SMOOTHING = 25
"""The train loss is a trailing mean over one part in this many of its run."""
_WIDTH = 13.5
_LINE = 0.2
_DOTS = 140


def learning_curves(runs: Sequence[Run], path: Path) -> str:
    """Draw train loss, validation loss and accuracy over the reviews seen; return the caption."""
    drawn = [run for run in runs if len(run.train["loss"]) or len(run.validation["loss"])]
    chosen = looks(runs)
    panels = (("train", "loss"), ("validation", "loss"), ("validation", "accuracy"))
    figure, axes = _sheet(3, 4.0, len(drawn))
    cut: set[str] = set()
    by_errors = False
    for panel, (kind, key) in zip(axes, panels, strict=True):
        lines = {run.label: _curve(run, kind, key) for run in drawn}
        for label, (x, y) in lines.items():
            _draw(panel, chosen[label], x, y, marked=kind == "validation")
        plain(panel, {"train": "Train loss", "validation": f"Validation {key}"}[kind])
        panel.set_xlabel("training reviews seen (iterations × batch size)", fontsize=10)
        count_axis(panel)
        if key == "loss":
            panel.set_ylabel("cross-entropy (nats)", fontsize=10)
            cut |= _loss_axis(panel, {label: y for label, (_, y) in lines.items()})
        else:
            panel.set_ylabel("reviews classified rightly", fontsize=10)
            by_errors = accuracy_axis(panel, [v for _, y in lines.values() for v in y])
    caption = _curves_caption(drawn, cut, by_errors)
    labels = [_legend_label(run) for run in drawn]
    _legend(figure, [chosen[run.label] for run in drawn], labels, 5.15, caption)
    _save(figure, path)
    return caption


def accuracy_and_cost(runs: Sequence[Run], path: Path) -> str:
    """Draw accuracy with 95% intervals against training time, and memory; return the caption."""
    finished = [run for run in runs if run.finished]
    chosen = looks(runs)
    sets = ["validation", *test_names(runs)]
    rows = -(-len(sets) // 2)
    bars = max(1.0, 0.27 * len(finished))
    height = max(3.6 if rows == 1 else 3.0, (bars - 1.1 * (rows - 1)) / rows)
    figure = _figure(rows * (height + 1.1) + 0.1, len(finished))
    logged = False
    for index, name in enumerate(sets):
        left, top = 0.75 + (index % 2) * 4.1, 0.4 + (index // 2) * (height + 1.1)
        panel = inches(figure, left, top, 3.35, height)
        logged |= _cost_panel(panel, finished, chosen, name)
    tall = min(rows * (height + 1.1) - 1.1, 0.6 + 0.4 * len(finished))
    _memory_panel(inches(figure, 10.9, 0.4, 2.5, tall), finished, chosen)
    caption = (
        "Accuracy of the best checkpoint with its 95% interval against the wall-clock seconds of "
        "its optimiser steps (logarithmic): up and to the left is better; dotted, the frontier of "
        "the runs that none beats in both. Right: steady-state memory (bar) and its peak (tick), "
        "of the whole process on CPU, allocated by torch on an accelerator. Hollow and pale: the "
        "reference's settings."
    )
    if logged:
        caption += " Accuracy is spaced by the logarithm of the errors where runs lie far apart."
    labels = [run.label for run in finished]
    top = rows * (height + 1.1) + 0.15
    _legend(figure, [chosen[run.label] for run in finished], labels, top, caption)
    _save(figure, path)
    return caption


def _curve(run: Run, kind: str, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    history = run.train if kind == "train" else run.validation
    x, y = history["reviews"], history[key]
    if kind == "train":
        y = trailing_mean(y, max(1, len(y) // SMOOTHING))
    return x, y


def _draw(
    panel: Axes, look: Look, x: NDArray[np.float64], y: NDArray[np.float64], marked: bool
) -> None:
    if len(x) == 1:  # one fit has no course: a level line
        panel.axhline(y[0], color=look.colour, linestyle=look.line, linewidth=look.width)
    elif len(x):
        panel.plot(x, y, color=look.colour, linestyle=look.line, linewidth=look.width,
                   marker=look.marker if marked else None, markersize=4.5,
                   markerfacecolor=look.fill, markeredgecolor=look.colour)  # fmt: skip


def trailing_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """(K,) → (K,): each the mean of itself and the `window` − 1 before it, fewer at the start."""
    starts = np.maximum(0, np.arange(1, len(values) + 1) - window)
    means = [values[start : end + 1].mean() for end, start in enumerate(starts)]
    return np.array(means, dtype=np.float64)


def _loss_axis(panel: Axes, lines: dict[str, NDArray[np.float64]]) -> set[str]:
    """Leave out what lies far above where runs start, or it flattens all else; who was cut."""
    finite = {label: y[np.isfinite(y)] for label, y in lines.items()}
    starts = [float(y[0]) for y in finite.values() if len(y)]
    highs = [float(y.max()) for y in finite.values() if len(y)]
    lows = [float(y.min()) for y in finite.values() if len(y)]
    if not starts:
        return set()
    top = min(max(highs), max(2.5 * float(np.median(starts)), max(lows)))
    room = 0.05 * max(top - min(lows), 1e-3)
    panel.set_ylim(min(lows) - room, top + room)
    panel.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    return {label for label, y in finite.items() if len(y) and y.max() > top + room}


def _curves_caption(runs: Sequence[Run], cut: set[str], by_errors: bool) -> str:
    caption = (
        f"Learning curves over the training reviews seen, which compare runs of different batch "
        f"sizes; one iteration is one batch (its size in the legend). Train loss: mean over the "
        f"last 1/{SMOOTHING} of the run, with dropout on; each validation is a marker. Line and "
        "marker give the family, colour the experiment; thin and hollow: the reference's settings."
    )
    if any(len(run.validation["loss"]) == 1 for run in runs):
        caption += " A level line is a run with a single validation, such as TF-IDF's one fit."
    if by_errors:
        caption += " Accuracy is spaced by the logarithm of the errors."
    if cut:
        names = ", ".join(sorted(cut))
        caption += f" The loss axes leave out the highest values of {names}."
    return caption


def _legend_label(run: Run) -> str:
    batch = f"batch {run.batch_size}" if run.batch_size and len(run.train["loss"]) else ""
    notes = ", ".join(note for note in (batch, "" if run.finished else "unfinished") if note)
    return f"{run.label} ({notes})" if notes else run.label


def _cost_panel(panel: Axes, runs: Sequence[Run], chosen: dict[str, Look], name: str) -> bool:
    values, seconds, reached = [], [], []
    for run in runs:
        facts = run.facts
        metrics = facts["validation"] if name == "validation" else facts["tests"].get(name)
        if metrics is None:
            continue
        accuracy, x = metrics["accuracy"], facts["time"]["train_seconds"]
        look = chosen[run.label]
        values += [accuracy["low"], accuracy["high"]]
        seconds.append(max(x, 1e-3))
        reached.append(accuracy["value"])
        panel.errorbar(
            seconds[-1], accuracy["value"],
            yerr=[[accuracy["value"] - accuracy["low"]], [accuracy["high"] - accuracy["value"]]],
            color=look.colour, marker=look.marker, markersize=6, markerfacecolor=look.fill,
            markeredgecolor=look.colour, elinewidth=1.2, capsize=2.5,
        )  # fmt: skip
    x, y = frontier(seconds, reached)
    panel.step(x, y, where="post", color=GREY, linewidth=1, linestyle=":", zorder=1)
    plain(panel, "Best validation" if name == "validation" else f"Test: {name}")
    panel.set_xlabel("training time, wall clock", fontsize=10)
    panel.set_ylabel("accuracy", fontsize=10)
    if not seconds:
        return False
    duration_axis(panel, seconds)
    return accuracy_axis(panel, values)


def frontier(
    seconds: Sequence[float], accuracies: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The runs that no other beats in both: none as fast or faster is as accurate or more."""
    x: list[float] = []
    y: list[float] = []
    for second, accuracy in sorted(
        zip(seconds, accuracies, strict=True), key=lambda p: (p[0], -p[1])
    ):
        if not y or accuracy > y[-1]:
            x.append(second)
            y.append(accuracy)
    return x, y


def _memory_panel(panel: Axes, runs: Sequence[Run], chosen: dict[str, Look]) -> None:
    plain(panel, "Memory")
    places = np.arange(len(runs))[::-1]
    for place, run in zip(places, runs, strict=True):
        held, look = run.facts["memory"], chosen[run.label]
        panel.barh(place, held["steady_bytes"] / 2**30, height=0.62, color=look.colour, zorder=3,
                   alpha=0.45 if look.thin else 0.9)  # fmt: skip
        panel.plot([held["peak_bytes"] / 2**30] * 2, [place - 0.38, place + 0.38],
                   color=GREY, linewidth=1.6, zorder=4)  # fmt: skip
    kinds = {run.facts["memory"]["device"] for run in runs}
    names = [r.label if len(kinds) == 1 else f"{r.label} ({r.facts['memory']['device']})"
             for r in runs]  # fmt: skip
    panel.set_yticks(places, [name if len(name) < 35 else f"{name[:33]}…" for name in names],
                     fontsize=8.5)  # fmt: skip
    panel.tick_params(axis="y", length=0)
    panel.grid(False, axis="y")
    panel.set_ylim(-0.7, len(runs) - 0.3)
    panel.set_xlim(left=0)
    panel.set_xlabel("GiB", fontsize=10)


def _sheet(panels: int, height: float, entries: int) -> tuple[Figure, list[Axes]]:
    figure = _figure(height + 1.2, entries)
    width = (_WIDTH - 0.4) / panels
    return figure, [
        inches(figure, 0.8 + i * width, 0.4, width - 0.85, height) for i in range(panels)
    ]


def _figure(panels_height: float, entries: int) -> Figure:
    """High enough for the panels, a legend of `entries` and a caption of four lines."""
    height = panels_height + _LINE * (entries + 6)
    figure = Figure(figsize=(_WIDTH, height), dpi=_DOTS, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _legend(
    figure: Figure, chosen: Sequence[Look], labels: Sequence[str], top: float, caption: str
) -> None:
    """The legend `top` inches below the upper edge, and the caption under it."""
    height = figure.get_size_inches()[1]
    columns = 4 if max(map(len, labels), default=0) < 34 else 3
    handles = [handle(look, label) for look, label in zip(chosen, labels, strict=True)]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.04, 1 - top / height),
                  ncols=columns, frameon=False, fontsize=9, handlelength=3.6, columnspacing=1.8,
                  borderaxespad=0)  # fmt: skip
    bottom = top + _LINE * -(-len(labels) // columns) + 0.2
    figure.text(0.04, 1 - bottom / height, "\n".join(textwrap.wrap(caption, 170)), fontsize=9.5,
                color=GREY, va="top", linespacing=1.35)  # fmt: skip


def _save(figure: Figure, path: Path) -> None:
    """Cut to what is drawn: the figure was made higher than any caption needs."""
    figure.savefig(path, bbox_inches="tight", pad_inches=0.2)
