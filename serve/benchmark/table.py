"""The figures as two tables: how fast, and what a request costs."""

import math

import numpy as np
import psutil
from rich.table import Table

from serve.benchmark.measure import Figures

ENDPOINT = "torchserve"
COLD = "cold_rate"
LATENCIES = ("p50_ms", "p99_ms", "lone_p50_ms", "half_load_p50_ms", "half_load_p99_ms")
PROCESSES = ("front", "workers", "client")


def speeds(figures: Figures) -> Table:
    """Medians over the rounds; the rate beside it as a ratio to the endpoint's, round by round."""
    headings = (each.removesuffix("_ms").replace("_", "\n") for each in LATENCIES)
    made = Table("system", "requests\na second", "when\ncold", "ratio", *headings,
                 caption="latencies in ms")  # fmt: skip
    for name, found in figures.items():
        ratios = np.array(found["rate"]) / np.array(figures[ENDPOINT]["rate"])
        latencies = (_median(found, each, ".2f") for each in LATENCIES)
        made.add_row(name, f"{np.median(found['rate']):,.0f}", _median(found, COLD, ",.0f"),
                     f"{np.median(ratios):.2f}", *latencies)  # fmt: skip
    return made


def costs(figures: Figures, cores: int | None = None) -> Table:
    """Processor time a request by process; and how many requests a second `cores` (None: this
    machine's) could do at this cost, were they never idle."""
    made = Table("system", *PROCESSES, "at most\na second", caption="processor time in µs")
    for name, found in figures.items():
        made.add_row(
            name,
            *(_median(found, f"cpu_us_{each}", ".0f") for each in PROCESSES),
            f"{bound(found, cores or psutil.cpu_count() or 1):,.0f}",
        )
    return made


def bound(found: dict[str, list[float]], cores: int) -> float:
    """Requests a second, were all cores busy and no time lost between the processes. One process by
    itself, without a client, keeps one core busy."""
    spent = [float(np.median(found.get(f"cpu_us_{each}", [0.0]))) for each in PROCESSES]
    busy = cores if "cpu_us_client" in found else 1
    return busy * 1e6 / sum(spent) if any(spent) else math.inf  # too little to be counted


def _median(found: dict[str, list[float]], measure: str, form: str) -> str:
    return format(np.median(found[measure]), form) if measure in found else "–"
