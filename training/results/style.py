"""How a run looks in every picture: colour, line and marker."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from training.results.runs import Run

# Okabe and Ito's colours (2008), told apart with any colour vision, their yellow left out, which
# is lost on white; wine and olive are Paul Tol's, and a grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#882255",
           "#999933", "#777777")  # fmt: skip
LINES = {
    "recurrent": (0, ()),
    "Transformer": (0, (5, 1.6)),
    "pretrained": (0, (7, 1.5, 1.5, 1.5)),
    "baseline": (0, (1.2, 1.6)),
    "other": (0, (3, 1, 1, 1, 1, 1)),
}
MARKERS = {"recurrent": "o", "Transformer": "s", "pretrained": "D", "baseline": "^", "other": "v"}
TICKS = (
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.85,
    0.9,
    0.92,
    0.94,
    0.96,
    0.97,
    0.98,
    0.99,
    0.995,
    0.999,
)
GREY = "#555555"


@dataclass(frozen=True)
class Look:
    """Family gives line and marker; the experiment its colour; `reference` is thin and hollow."""

    colour: str
    line: tuple[int, tuple[float, ...]]
    marker: str
    thin: bool

    @property
    def width(self) -> float:
        """In points."""
        return 1.0 if self.thin else 1.9

    @property
    def fill(self) -> str:
        """Of the marker."""
        return "white" if self.thin else self.colour


def looks(runs: Sequence[Run]) -> dict[str, Look]:
    """A look for each label; no two alike up to ten experiments a family, two variants each."""
    chosen: dict[str, Look] = {}
    used: set[Look] = set()
    names = list(dict.fromkeys(_without_variant(run) for run in runs))
    seen: set[str] = set()
    for run in runs:
        thin = run.variant == "reference"
        # a second run of an experiment, such as another seed, takes a colour that none began with
        first = len(names) if run.experiment in seen else names.index(_without_variant(run))
        seen.add(run.experiment)
        candidates = [
            Look(COLOURS[(first + shift) % len(COLOURS)], LINES[run.family], MARKERS[run.family],
                 thin)
            for shift in range(len(COLOURS))
        ]  # fmt: skip
        look = next((look for look in candidates if look not in used), candidates[0])
        used.add(look)
        chosen[run.label] = look
    return chosen


def _without_variant(run: Run) -> str:
    return run.experiment.removesuffix("-reference")


def handle(look: Look, label: str) -> Line2D:
    """An entry of the legend."""
    return Line2D([], [], color=look.colour, linestyle=look.line, linewidth=look.width,
                  marker=look.marker, markersize=5, markerfacecolor=look.fill,
                  markeredgecolor=look.colour, label=label)  # fmt: skip


def short_count(value: float, _position: object = None) -> str:
    """150000 → 150k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def short_duration(seconds: float, _position: object = None) -> str:
    """Ticks of a logarithmic axis of seconds."""
    for unit, letter in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {letter}"
    return f"{seconds:.3g} s"


def count_axis(axes: Axes) -> None:
    """Reviews along x."""
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(short_count))


def duration_axis(axes: Axes, seconds: Sequence[float]) -> None:
    """A logarithmic x axis with ticks at times that people use, three to six of them."""
    steps = [unit * k for unit, ks in ((1, (1, 2, 5, 10, 20, 30)), (60, (1, 2, 5, 10, 20, 30)),
                                       (3600, (1, 2, 5, 10, 20, 50, 100))) for k in ks]  # fmt: skip
    low, high = min(seconds) / 1.5, max(seconds) * 1.5
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    inside = [float(step) for step in (0.01, 0.1, *steps) if low <= step <= high]
    if len(inside) < 2:  # all runs took about the same: name the ends
        inside = [float(f"{value:.2g}") for value in (low * 1.1, high / 1.1)]
    every = -(-len(inside) // 6)
    axes.xaxis.set_major_locator(FixedLocator(inside[::every]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(short_duration))


def accuracy_axis(axes: Axes, values: Sequence[float]) -> bool:
    """Percent along y. Whether the axis is spaced by the logarithm of the errors.

    It is where runs lie far apart: 50% and 91% then leave room between 91% and 94%.
    """
    finite = [value for value in values if np.isfinite(value)] or [0.5, 1.0]
    low, high = min(finite), max(finite)
    in_percent = FuncFormatter(lambda value, _: f"{100 * value:g}%")
    if high - low < 0.15:
        room = max(0.08 * (high - low), 0.002)
        axes.set_ylim(max(0.0, low - room), min(1.0 + room, high + room))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(in_percent)
        return False
    # forward rises with accuracy; clipped, since no error at all lies at infinity
    axes.set_yscale("function", functions=(_by_errors, _from_errors))
    bottom = float(_from_errors(_by_errors(np.array(low)) - 0.06))
    top = float(_from_errors(_by_errors(np.array(high)) + 0.06))
    axes.set_ylim(bottom, top)
    span = float(_by_errors(np.array(top)) - _by_errors(np.array(bottom)))
    axes.yaxis.set_major_locator(FixedLocator(_spaced(bottom, top, span / 14)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(in_percent)
    return True


def _spaced(bottom: float, top: float, least: float) -> list[float]:
    """Ticks within the axis that lie at least `least` apart on it."""
    kept: list[float] = []
    for tick in TICKS:
        place = float(_by_errors(np.array(tick)))
        apart = not kept or place - float(_by_errors(np.array(kept[-1]))) >= least
        if bottom <= tick <= top and apart:
            kept.append(tick)
    return kept


def _by_errors(accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log10(np.clip(1 - np.asarray(accuracy), 1e-4, None))


def _from_errors(place: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 - 10 ** -np.asarray(place)


def plain(axes: Axes, title: str) -> None:
    """What all panels share."""
    axes.set_title(title, fontsize=11, loc="left", fontweight="bold")
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def inches(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the figure's upper left corner."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes((left / whole_width, 1 - (top + height) / whole_height,
                            width / whole_width, height / whole_height))  # fmt: skip
