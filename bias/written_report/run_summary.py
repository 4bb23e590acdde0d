"""The runs of `results.json` as one table: an experiment a row, its seeds taken together."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from training.results.table import markdown
from training.results.wording import duration, number, parameters, percent, size

CAPTION = (
    "Sorted by experiment number, baselines last; bold: the best validation accuracy. Best "
    "validation is the highest over all validations of a run, at the iteration in brackets, whose "
    "checkpoint was kept and tested. Accuracies have 95% intervals: over test reviews (Wilson) "
    "where there is one seed, over seeds (Student's t) where there are several. Time is "
    "wall-clock: of the optimiser steps, and of all evaluations. Memory is the steady state of "
    "the run's process, or of the accelerator where there was one."
)


def run_table(results: dict[str, Any]) -> str:
    """Markdown; every finished run is in one of its rows."""
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for run in results["runs"]:
        if run["finished"]:
            grouped[run["experiment"], run["variant"]].append(run)
    tests = _tests(results["runs"])
    best = max((_mean(_best(runs)) for runs in grouped.values()), default=math.nan)
    header = ["", "experiment", "model", "seeds", "parameters", "best validation (iteration)",
              *(name if inside else f"{name} ({_outside(name, results['runs'])})"
                for name, inside in tests.items()),
              "training", "evaluation", "memory"]  # fmt: skip
    rows = [_row(runs, list(tests), _mean(_best(runs)) == best) for runs in grouped.values()]
    return markdown(header, rows, first_right=3)


def _row(runs: Sequence[dict[str, Any]], tests: Sequence[str], best: bool) -> list[str]:
    first, results = runs[0], [run["result"] for run in runs]
    steps = ", ".join(number(result["best"]["step"]) for result in results)
    reached = f"{percent(_mean(_best(runs)))} ({steps})"
    name = f"`{first['experiment']}`"
    evaluation = [r["time"]["evaluation_seconds"] + r["time"].get("test_seconds", 0.0)
                  for r in results]  # fmt: skip
    return [
        "–" if first["number"] is None else str(first["number"]),
        name + (f" ({first['variant']})" if first["variant"] == "reference" else ""),
        first["result"]["title"],
        str(len(runs)),
        parameters(results[0]["parameters"]["total"]),
        f"**{reached}**" if best else reached,
        *(_accuracy([r["tests"][test]["accuracy"] for r in results if test in r["tests"]])
          + (" °" if _seen(test, runs) else "") for test in tests),
        duration(_mean([r["time"]["train_seconds"] for r in results])),
        duration(_mean(evaluation)),
        size(_mean([r["memory"]["steady_bytes"] for r in results])),
    ]  # fmt: skip


def _accuracy(found: Sequence[dict[str, float]]) -> str:
    """One seed: its own interval. Several: Student's over the seeds, which are the sample then."""
    if not found:
        return "–"
    values = [each["value"] for each in found]
    if len(values) == 1:
        low, high = found[0]["low"], found[0]["high"]
    else:
        half = float(
            student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
        )
        low, high = _mean(values) - half, min(1.0, _mean(values) + half)
    return f"{percent(_mean(values))} ({100 * low:.2f} to {100 * high:.2f})"


def _tests(runs: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Test set -> whether some run learned from its source."""
    inside: dict[str, bool] = {}
    for run in runs:
        for name, within in run.get("in_domain", {}).items():
            inside[name] = inside.get(name, False) or within
    return inside


def _outside(test: str, runs: Sequence[dict[str, Any]]) -> str:
    """Of a test from whose source no run has a label."""
    return "out of domain" + ("; ° seen without labels" if _seen(test, runs) else "")


def _seen(test: str, runs: Sequence[dict[str, Any]]) -> bool:
    """Whether some run learned from texts of its source without labels; an older page is silent."""
    return any(test in run.get("seen_without_labels", ()) for run in runs)


def _best(runs: Sequence[dict[str, Any]]) -> list[float]:
    return [run["result"]["best"]["accuracy"] for run in runs]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
