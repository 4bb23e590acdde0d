"""The plot of `training.benchmarks.throughput`."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel an experiment: times faster than the reference's loop, a bar a contender."""
    most = max(len(row["contenders"]) for row in rows)
    figure, panels = pyplot.subplots(
        1, len(rows), figsize=(3.6 * len(rows), 1 + 0.3 * most), layout="constrained", squeeze=False
    )
    for panel, row in zip(panels[0], rows, strict=True):
        contenders = row["contenders"][::-1]
        ratios = [contender["ratio_to_reference"] for contender in contenders]
        colours = ["#0072B2" if c["contender"] == "together" else "#9db8c9" for c in contenders]
        bars = panel.barh([c["contender"] for c in contenders], ratios, color=colours)
        panel.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=2, fontsize=8)
        panel.axvline(1, color="#555555", linewidth=0.8)
        panel.set_title(row["experiment"], fontsize=10)
        panel.set_xlim(0, 1.15 * max(ratios))
        panel.set_xlabel("times the reference's reviews/s", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
