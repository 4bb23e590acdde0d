"""`python -m serve.benchmark BUNDLE --reviews FILE`: the endpoint, its peers, the predictor alone.

Everything is up during the whole run; what is not being measured is suspended. Rounds go through
the systems in turn; reported are medians over the rounds, and ratios within a round.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from serve.benchmark.load import drive, render
from serve.benchmark.systems import System, peer, torchserve
from serve.predict_command import read_rows
from serve.predictor import Predictor, open_predictor

ENDPOINT = "torchserve"
MEASURES = ("rate", "p50_ms", "p99_ms", "lone_p50_ms", "half_load_p50_ms", "half_load_p99_ms")
Figures = dict[str, dict[str, list[float]]]
"""System -> measure -> one figure a round."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        texts = read_texts(options.reviews, options.column, options.texts)
        predictor = open_predictor(options.bundle, threads=1)
    except (ValueError, FileNotFoundError) as error:
        print(f"python -m serve.benchmark: {error}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        systems = [
            stack.enter_context(torchserve(ENDPOINT, options.bundle, buffered=True)),
            stack.enter_context(torchserve("torchserve-stock-socket", options.bundle, False)),
            *(stack.enter_context(peer(name, options.bundle)) for name in options.peers),
        ]
        figures = measure(systems, predictor, texts, options)
        result = {
            "machine": machine(),
            "bundle": options.bundle.name,
            "reviews": options.reviews.name,
            "texts": len(texts),
            "connections": options.connections,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "ready_seconds": {each.name: each.ready_seconds for each in systems},
            "memory_mb": {each.name: each.memory_mb() for each in systems},
            "figures": figures,
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    Console().print(table(figures))
    return 0


def read_texts(path: Path, column: str, count: int) -> list[str]:
    """The first `count` texts of a CSV, JSON lines or parquet file.

    Raises:
        ValueError: no such column, or another kind of file.
    """
    if path.suffix == ".parquet":
        names = pq.read_schema(path).names
        if column not in names:
            raise ValueError(f"--column: got {column!r}; {path} has {', '.join(names)}")
        batch = next(pq.ParquetFile(path).iter_batches(count, columns=[column]))
        texts = batch.column(0).to_pylist()
    elif path.suffix in (".csv", ".jsonl"):
        rows = list(islice(read_rows(path), count))
        if rows and column not in rows[0]:
            raise ValueError(f"--column: got {column!r}; {path} has {', '.join(rows[0])}")
        texts = [row[column] for row in rows]
    else:
        raise ValueError(f"--reviews: got {path}; give a .parquet, .csv or .jsonl file")
    return [text for text in texts if isinstance(text, str) and text.strip()]


def measure(
    systems: list[System], predictor: Predictor, texts: list[str], options: argparse.Namespace
) -> Figures:
    """All figures of all rounds."""
    figures: Figures = {}
    with Progress(console=Console(stderr=True), transient=True) as progress, ExitStack() as still:
        for each in systems:
            still.enter_context(each.suspended())
        task = progress.add_task("measuring", total=options.rounds * (len(systems) + 1))
        for _ in range(options.rounds):
            for each in systems:
                found = _measure_system(each, texts, options)
                _append(figures.setdefault(each.name, {}), found)
                progress.advance(task)
            _append(figures.setdefault("predictor", {}), _measure_predictor(predictor, texts))
            progress.advance(task)
    return figures


def _measure_system(
    system: System, texts: list[str], options: argparse.Namespace
) -> dict[str, float]:
    requests = [
        render(system.path, json.dumps({"text": text}).encode(), system.token) for text in texts
    ]
    for each in system.processes():
        each.resume()
    try:
        drive(system.port, requests, options.connections, options.seconds / 4)  # warm up
        full = drive(system.port, requests, options.connections, options.seconds)
        lone = drive(system.port, requests, 1, options.seconds / 2)
        half = drive(
            system.port, requests, options.connections, options.seconds, rate=full.rate / 2
        )
    finally:
        for each in system.processes():
            each.suspend()
    failures = full.failures + lone.failures + half.failures
    if failures:
        raise RuntimeError(f"{system.name}: {failures} requests were not answered with 200")
    return {
        "rate": full.rate,
        "p50_ms": full.percentile(50),
        "p99_ms": full.percentile(99),
        "lone_p50_ms": lone.percentile(50),
        "half_load_p50_ms": half.percentile(50),
        "half_load_p99_ms": half.percentile(99),
    }


def _measure_predictor(predictor: Predictor, texts: list[str]) -> dict[str, float]:
    start = time.perf_counter()
    predictor.predict(texts)
    rate = len(texts) / (time.perf_counter() - start)
    lone = []
    for text in texts[:200]:
        start = time.perf_counter()
        predictor.predict([text])
        lone.append(time.perf_counter() - start)
    return {"rate": rate, "lone_p50_ms": float(np.median(lone)) * 1000}


def _append(figures: dict[str, list[float]], found: dict[str, float]) -> None:
    for name, value in found.items():
        figures.setdefault(name, []).append(value)


def table(figures: Figures) -> Table:
    """Medians over the rounds; the rate beside it as a ratio to the endpoint's, round by round."""
    headings = (each.removesuffix("_ms").replace("_", "\n") for each in MEASURES[1:])
    made = Table("system", "requests\na second", "ratio", *headings, caption="latencies in ms")
    for name, found in figures.items():
        ratios = np.array(found["rate"]) / np.array(figures[ENDPOINT]["rate"])
        made.add_row(
            name,
            f"{np.median(found['rate']):,.0f}",
            f"{np.median(ratios):.2f}",
            *(f"{np.median(found[each]):.2f}" if each in found else "–" for each in MEASURES[1:]),
        )
    return made


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    packages = ("torchserve", "onnxruntime-gpu", "onnxruntime", "starlette", "uvicorn", "litserve")
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except ModuleNotFoundError:
            continue
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "versions": versions,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serve.benchmark",
        description="Measure the endpoint beside its peers and beside the predictor alone.",
        epilog="example:\n  python -m serve.benchmark runs/1-gru/best --reviews test.parquet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument("--reviews", type=Path, required=True, metavar="FILE", help="the texts")
    parser.add_argument("--column", default="content", help="of the texts (default: content)")
    for flag, default, text in (
        ("--texts", 2000, "texts, at most"),
        ("--connections", 32, "at a time"),
        ("--rounds", 5, "through all systems"),
    ):
        parser.add_argument(
            flag, type=int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--seconds", type=float, default=8, metavar="S", help="of one measurement (default: 8)"
    )
    parser.add_argument(
        "--peers", nargs="*", default=["starlette", "litserve"], help="default: both"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/serve_benchmark.json"), metavar="FILE.json"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
