"""What `export.benchmark` measured, as a Markdown table and as a picture."""

from pathlib import Path
from typing import Any

CHECKED = 32
"""Reviews on which the backends' logits are compared, at most."""


def markdown(measured: dict[str, Any]) -> str:
    """A table for each number of threads, and one of start, memory and size."""
    machine, reviews, bundle = measured["machine"], measured["reviews"], measured["bundle"]
    lines = [
        f"# Backends of {bundle['architecture']} (weights {bundle['weights_sha256'][:12]})",
        "",
        f"{machine['gpu'] + ', ' if 'gpu' in machine else ''}{machine['processor']}, "
        f"{machine['cpus']} CPUs, torch {machine['torch']}, ONNX Runtime "
        f"{machine['onnxruntime']}. Latency at batch 1 and {measured['length']} tokens; reviews a "
        f"second over {reviews['count']} reviews of {reviews['source']} "
        f"({reviews['mean_tokens']:.0f} tokens on average), padded to the longest of each batch. "
        "In brackets: times faster than eager. The backends took turns in one run of "
        f"{measured['rounds']} rounds; each timed call follows others of its backend, or "
        f"{measured['pause_seconds']} s of nothing after them, as where requests are few. "
        f"Tokenising takes {measured['tokenising_ms']:.2f} ms a review besides.",
    ]
    for threads, found in measured["threads"].items():
        lines += ["", f"## {threads} thread{'s' if threads != '1' else ''}", ""]
        lines += _speed_table(found, measured["tokenising_ms"])
    lines += _difference_lines(measured)
    for name, reason in measured["left_out"].items():
        lines += ["", f"Left out: {name} ({reason})."]
    if not measured["cold_start"]:
        return "\n".join(lines) + "\n"
    lines += ["", "## Start, memory, size", ""]
    lines += ["| backend | start to first logits, s | peak memory, MB | artefact, MB |"]
    lines += ["|---|--:|--:|--:|"]
    eager = measured["cold_start"]["eager"]["seconds"]
    for name, cold in measured["cold_start"].items():
        lines.append(
            f"| {name} | {cold['seconds']:.2f} ({eager / cold['seconds']:.1f}x) "
            f"| {cold['peak_bytes'] / 1e6:.0f} | {measured['artefact_bytes'][name] / 1e6:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _difference_lines(measured: dict[str, Any]) -> list[str]:
    found = next(iter(measured["threads"].values()))["max_abs_difference"]
    if not found:
        return ["", "Measured was eager alone: no artefact lies in the bundle (python -m export)."]
    named = ", ".join(f"{name} {difference:.1e}" for name, difference in found.items())
    first = min(CHECKED, measured["reviews"]["count"])
    return ["", f"Largest |Δlogit| from eager on the first {first} reviews: {named}."]


def _speed_table(found: dict[str, Any], tokenising_ms: float) -> list[str]:
    batches = found["reviews_per_second"]
    head = ["backend", "p50, ms", "p90", "p99", "with tokenising, ms"]
    head += ["after a pause, p50", "p99"]
    head += [f"reviews/s at {size}" for size in batches]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    eager = found["latency_ms"]["eager"]["p50"]
    for name, times in found["latency_ms"].items():
        cells = [name, f"{times['p50']:.2f} ({eager / times['p50']:.1f}x)"]
        cells += [f"{times['p90']:.2f}", f"{times['p99']:.2f}"]
        cells += [f"{times['p50'] + tokenising_ms:.2f}"]
        cells += [f"{found['latency_after_pause_ms'][name][q]:.2f}" for q in ("p50", "p99")]
        for speeds in batches.values():
            cells.append(f"{speeds[name]:,.0f} ({speeds[name] / speeds['eager']:.1f}x)")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def plot(measured: dict[str, Any], path: Path) -> None:
    """Bars of the speed-up over eager at each number of threads, as a PNG."""
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    counts = list(measured["threads"])
    figure = Figure(figsize=(9, 3.2 * len(counts) + 0.6), layout="constrained")
    axes = figure.subplots(len(counts), 1, squeeze=False)[:, 0]
    for ax, threads in zip(axes, counts, strict=True):
        found = measured["threads"][threads]
        names = list(found["latency_ms"])
        eager = found["latency_ms"]["eager"]["p50"]
        series = {f"batch 1, {measured['length']} tokens": [
            eager / found["latency_ms"][name]["p50"] for name in names
        ]}  # fmt: skip
        for size, speeds in found["reviews_per_second"].items():
            series[f"batch {size}, real lengths"] = [
                speeds[name] / speeds["eager"] for name in names
            ]
        _bars(ax, names, series)
        ax.set_title(f"{threads} thread{'s' if threads != '1' else ''}")
    axes[0].legend(fontsize="small", ncols=2)
    figure.suptitle(f"{measured['bundle']['architecture']}: times faster than eager torch")
    figure.savefig(path, format="png", dpi=120)


def _bars(ax: Any, names: list[str], series: dict[str, list[float]]) -> None:
    width = 0.8 / len(series)
    for number, (label, values) in enumerate(series.items()):
        places = [i - 0.4 + (number + 0.5) * width for i in range(len(names))]
        bars = ax.bar(places, values, width, label=label)
        ax.bar_label(bars, fmt="%.1f", fontsize=7)
    ax.axhline(1, color="black", linewidth=0.8)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("times faster than eager")
    ax.margins(y=0.12)
