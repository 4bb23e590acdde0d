"""The figures as a table."""

from typing import Any

import numpy as np
import psutil
from rich.table import Table

from serve.benchmark.measure import Figures

ENDPOINT = "torchserve"
LATENCIES = ("p50_ms", "p99_ms", "lone_p50_ms", "half_load_p50_ms", "half_load_p99_ms")
PROCESSES = ("front", "workers", "client")


def table(figures: Figures, cores: int | None = None) -> Table:
    """Medians over the rounds; the rate also as a ratio to the endpoint's, round by round, and
    beside what `cores` (None: this machine's) could do at most at this cost a request."""
    made = Table(
        "system",
        "requests\na second",
        "ratio",
        *(each.removesuffix("_ms").replace("_", "\n") for each in LATENCIES),
        *(f"{each}\nµs" for each in PROCESSES),
        "at\nmost",
        caption="latencies in ms; processor time a request in µs",
    )
    for name, found in figures.items():
        ratios = np.array(found["rate"]) / np.array(figures[ENDPOINT]["rate"])
        made.add_row(
            name,
            f"{np.median(found['rate']):,.0f}",
            f"{np.median(ratios):.2f}",
            *(_median(found, each, ".2f") for each in LATENCIES),
            *(_median(found, f"cpu_us_{each}", ".0f") for each in PROCESSES),
            _bound(found, cores or psutil.cpu_count() or 1),
        )
    return made


def _median(found: dict[str, Any], measure: str, form: str) -> str:
    return format(np.median(found[measure]), form) if measure in found else "–"


def _bound(found: dict[str, Any], cores: int) -> str:
    """Requests a second, were all cores busy and no time lost between the processes."""
    costs = [np.median(found.get(f"cpu_us_{each}", [0.0])) for each in PROCESSES]
    if not costs[0]:  # one process alone, which keeps one core
        return "–"
    return f"{cores * 1e6 / sum(costs):,.0f}"
