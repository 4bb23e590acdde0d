"""One configuration trained from several seeds: what is the method's, and what one run's?

A figure of one model is a draw. Over S seeds the mean difference of a group is given with Student's
interval over the seeds, beside the standard deviation between them.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from bias.counterfactual import Comparison
from bias.section import CONFIDENCE, Cell, Estimate, Section, Table


def same_but_seed(configs: Sequence[dict[str, Any] | None]) -> list[list[int]]:
    """Groups of two or more targets whose training configuration differs in the seed alone."""
    groups: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        if config is None or "seed" not in config.get("train", {}):
            continue
        train = {key: value for key, value in config["train"].items() if key != "seed"}
        groups.setdefault(json.dumps(config | {"train": train}, sort_keys=True), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def seeds_section(
    names: Sequence[str], seeds: Sequence[int], compared: Sequence[Sequence[Comparison]]
) -> Section:
    """Every group's mean difference over the seeds; `compared[s]` is that of seed s."""
    rows: list[tuple[Cell, ...]] = []
    stable: list[str] = []
    for index, first in enumerate(compared[0]):
        values = [run[index].probability.value for run in compared]
        over = over_seeds("mean_dp_over_seeds", values)
        signs = sum(value > 0 for value in values)
        rows.append((first.source, first.axis, first.group, over, f"{np.std(values, ddof=1):.4f}",
                     f"{max(signs, len(values) - signs)} of {len(values)}",
                     ", ".join(f"{value:+.3f}" for value in values)))  # fmt: skip
        if over.low > 0 or over.high < 0:
            stable.append(f"{first.group} ({first.axis}, {first.source})")
    findings = [
        f"Over {len(seeds)} training seeds, {len(stable)} of {len(rows)} differences keep clear of "
        f"0, where chance alone would give {(1 - CONFIDENCE) * len(rows):.1f}"
        f"{': ' + '; '.join(stable[:5]) if stable else ''}."
    ]
    return Section(
        name="seeds",
        title="What another training seed would have given",
        findings=tuple(findings),
        tables=(
            Table(
                f"Mean Δp over seeds {', '.join(map(str, seeds))}",
                ("text", "axis", "group", "mean over seeds", "SD between seeds", "same sign",
                 "each seed"),
                tuple(rows),
                f"Runs: {', '.join(names)}. Intervals are Student's, over the seeds.",
            ),
        ),
        limits=(
            f"{len(seeds)} seeds: the interval is wide where they are few, and p-values of a "
            "single run say nothing about the next.",
        ),
    )  # fmt: skip


def over_seeds(name: str, values: Sequence[float]) -> Estimate:
    """The mean of one figure over two or more seeds, with Student's interval."""
    mean, count = float(np.mean(values)), len(values)
    half = float(
        student.ppf(0.5 + CONFIDENCE / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count)
    )
    return Estimate(name, mean, mean - half, mean + half, count, "training seeds")
