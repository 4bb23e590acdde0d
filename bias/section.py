"""What an analysis hands to the report: estimates, tables and charts, with their limits.

Every analysis is a function that returns `Section`s; `report` is the only module that writes them.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """One figure with what it takes to judge it.

    `name` is its key, in the JSON and for `--fail-over name=threshold`. `low` and `high` bound its
    95% interval (NaN where none can be had), `n` counts its observations and says in `of` what they
    are, `p` is Holm-corrected, `detectable` the smallest true value that would have been seen in 80
    of 100 such audits, `noise` what swaps that mean nothing give.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    of: str
    meaning: str = ""
    p: float | None = None
    detectable: float | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.name), self.name
        assert self.n >= 0

    def text(self, digits: int | None = None) -> str:
        """`0.031 [0.024, 0.039]`; without an interval the value alone.

        Three digits, or more where the interval is so narrow that they would be all alike.
        """
        digits = self.digits if digits is None else digits
        if math.isnan(self.low) or math.isnan(self.high):
            return rounded(self.value, digits)
        low, high = rounded(self.low, digits), rounded(self.high, digits)
        return f"{rounded(self.value, digits)} [{low}, {high}]"

    @property
    def digits(self) -> int:
        """After the point: the interval's width with two figures, 3 at least, 6 at most."""
        width = self.high - self.low
        if not width > 0:  # NaN among them
            return 3
        return min(6, max(3, 1 - math.floor(math.log10(width))))


def rounded(value: float, digits: int) -> str:
    """Never -0.000, which says no more than 0.000."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; an `Estimate` is shown with its interval."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


@dataclass(frozen=True)
class Chart:
    """A plotly figure (`figure.to_plotly_json()`), and in `caption` what one should see in it,
    which is also read to those who cannot see it."""

    title: str
    figure: dict[str, Any]
    caption: str


@dataclass(frozen=True)
class Page:
    """A self-contained HTML page of its own, which the report links to."""

    filename: str
    title: str
    html: str


@dataclass(frozen=True)
class Section:
    """One analysis of one target, or of several held against each other (`target` is then "").

    `name` is its key in the JSON, unique together with `target`. `findings` are sentences, the most
    important first, which the report's opening quotes; `headline` estimates are shown large.
    """

    name: str
    title: str
    target: str = ""
    findings: tuple[str, ...] = ()
    headline: tuple[Estimate, ...] = ()
    estimates: tuple[Estimate, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    pages: tuple[Page, ...] = ()
    limits: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    """Anything else for the JSON: settings, hashes, counts of what was left out."""
