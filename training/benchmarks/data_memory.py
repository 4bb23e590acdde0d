"""Does the memory that preparing data takes grow with the data?

    python -m training.benchmarks.data_memory --reviews 40000 160000 640000 \\
        --output docs/data_memory.json

Each size gets a process of its own, which tokenises a CSV of that many different reviews, splits
them, and goes through one epoch of batches. The reviews are embedded ones over and over, each with
its number at the end. The tokenizer is given, as BERT's would be: training one reads 200,000
reviews at most, so that it has a bound of its own. Two peaks are recorded:

- resident: what the system counts for the process (`getrusage`). It includes pages of the mapped
  cache, which the system takes back whenever it wants them.
- own: anonymous memory (`RssAnon`, sampled, Linux only), which it cannot take back. This is what
  has to stay flat.

Times are the processor's (all threads), which other work on the machine does not count into.

Beside the JSON file a plot of the same name is written.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from models.command import command

# Heavy imports come late: on Linux, a child's peak starts from its parent's resident memory.

_STATUS = Path("/proc/self/status")
_MIB = 1 << 20


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure every size in a fresh process, print a table, write JSON and plot."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.data_memory",
        description="Peak memory of preparing and reading data, against the number of reviews.",
    )
    parser.add_argument("--reviews", type=int, nargs="+", default=[40_000, 160_000, 640_000])
    parser.add_argument("--output", type=Path, default=Path("docs/data_memory.json"))
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the child's own: a folder
    given = parser.parse_args(arguments)
    if given.measure is not None:
        print(json.dumps(measure(Path(given.measure))))
        return 0
    sizes = [_in_fresh_process(reviews) for reviews in sorted(given.reviews)]
    result = {
        "command": f"python -m training.benchmarks.data_memory --reviews "
        f"{' '.join(map(str, given.reviews))} --output {given.output}",
        "own_bytes_a_review": _slope(sizes, "peak_own_bytes"),
        "sizes": sizes,
    }
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(result)
    _plot(result, given.output.with_suffix(".png"))
    return 0


def measure(folder: Path) -> dict[str, Any]:
    """Prepare and read the folder's reviews.csv with its tokenizer; bytes and CPU seconds."""
    from training.batches import collate, epoch_plan
    from training.data import load_data
    from training.settings import DataConfig

    started_with = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    source, cache = folder / "reviews.csv", folder / "cache"
    config = DataConfig(sources=[str(source)], tokenizer=str(folder), cache_dir=str(cache))
    with _PeakOwnMemory() as peak:
        began = time.process_time()
        data = load_data(config)
        prepared = time.process_time()
        tokens = 0
        for rows in epoch_plan(data.train.lengths, 64, seed=0, epoch=0):
            tokens += int(collate(data.train, rows).attention_mask.sum())
        read = time.process_time()
    return {
        "tokens": tokens,
        "source_bytes": source.stat().st_size,
        "cache_bytes": sum(file.stat().st_size for file in cache.iterdir()),
        "start_bytes": started_with,
        "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_own_bytes": peak.bytes,
        "prepare_cpu_seconds": prepared - began,
        "read_cpu_seconds": read - prepared,
    }


class _PeakOwnMemory:
    """Samples this process's anonymous memory a hundred times a second. `bytes`: the most seen."""

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_PeakOwnMemory":
        if _STATUS.is_file():
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("RssAnon:"))
            self.bytes = max(self.bytes or 0, int(line.split()[1]) * 1024)


def _write_inputs(folder: Path, reviews: int) -> None:
    """reviews.csv, and a tokenizer trained on the reviews that it repeats."""
    import csv
    from itertools import cycle, islice

    from training.embedded import generate
    from training.tokenization import train_wordpiece

    base = list(generate(5_000, seed=0))
    train_wordpiece(lambda: [[content for _, _, content in base]], 8000).save(
        str(folder / "tokenizer.json")
    )
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "title", "content"])
        for number, (label, title, content) in enumerate(islice(cycle(base), reviews)):
            writer.writerow([label, title, f"{content} {number}"])


def _in_fresh_process(reviews: int) -> dict[str, Any]:
    print(f"{reviews:,} reviews ...", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        _write_inputs(Path(folder), reviews)
        command = [sys.executable, "-m", "training.benchmarks.data_memory", "--measure", folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {"reviews": reviews, **json.loads(done.stdout)}


def _slope(sizes: list[dict[str, Any]], key: str) -> float | None:
    """Bytes that each further review costs, from the smallest set to the largest."""
    small, large = sizes[0], sizes[-1]
    if small["reviews"] == large["reviews"] or small[key] is None:
        return None
    return float((large[key] - small[key]) / (large["reviews"] - small["reviews"]))


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "reviews", "CSV", "cache", "peak, own", "peak, resident", "prepare (CPU)", "read (CPU)"
    )
    for size in result["sizes"]:
        names = ("source_bytes", "cache_bytes", "peak_own_bytes", "peak_resident_bytes")
        numbers = [size[name] for name in names]
        table.add_row(
            f"{size['reviews']:,}",
            *("" if number is None else f"{number / _MIB:,.0f} MiB" for number in numbers),
            f"{size['prepare_cpu_seconds']:.0f} s",
            f"{size['read_cpu_seconds']:.0f} s",
        )
    Console().print(table)
    if result["own_bytes_a_review"] is not None:
        print(f"own memory: {result['own_bytes_a_review']:.0f} bytes a further review")


def _plot(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sizes = result["sizes"]
    reviews = [size["reviews"] for size in sizes]
    lines = {
        "the CSV file": "source_bytes",
        "the token cache": "cache_bytes",
        "peak memory, resident (with mapped pages)": "peak_resident_bytes",
        "peak memory, own": "peak_own_bytes",
        "resident after importing, before any data": "start_bytes",
    }
    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for label, key in lines.items():
        if all(size[key] is not None for size in sizes):
            style = "--" if key in ("source_bytes", "cache_bytes") else "-"
            axes.plot(reviews, [size[key] / _MIB for size in sizes], style, marker="o", label=label)
    axes.set(xlabel="reviews", ylabel="MiB", ylim=(0, None), title="Preparing and reading reviews")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    raise SystemExit(main())
