"""`python -m serve.benchmark BUNDLE --reviews FILE`: the endpoint, its peers, the predictor alone.

Everything is up during the whole run; what is not being measured is suspended. Rounds go through
the systems in turn; reported are medians over the rounds, and ratios within a round. The client
shares the machine's cores with the servers, so that its cost a request is reported beside theirs.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from rich.console import Console

from models.command import command, fail
from models.files import write_whole
from serve.benchmark.load import MOST_CONNECTIONS
from serve.benchmark.measure import Plan, measure
from serve.benchmark.peers import PEERS, check_installed
from serve.benchmark.systems import ENDPOINTS, STANDARD, System, endpoint, peer, settings
from serve.benchmark.table import ENDPOINT, costs, speeds
from serve.benchmark.trivial import TEXTS, make_trivial_bundle
from serve.command import command_parser
from serve.predictor import open_predictor
from serve.rows import read_rows
from serve.server import ServerError

EPILOG = """\
examples:
  python -m serve.benchmark runs/1-gru/best --reviews test.parquet
  python -m serve.benchmark --trivial    a model that costs nothing: all that is around it
"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        given = sum(each is not None for each in (options.bundle, options.reviews))
        if given != (0 if options.trivial else 2):
            raise ValueError("BUNDLE: give it and --reviews, or --trivial by itself")
        _check_numbers(options)
        if options.output.is_dir():
            raise ValueError(f"--output: {options.output} is a folder; name a file")
        check_installed(options.beside)
        with tempfile.TemporaryDirectory() as made:
            if options.trivial:
                bundle, texts = make_trivial_bundle(Path(made) / "trivial"), list(TEXTS) * 500
            else:
                bundle = options.bundle
                texts = read_texts(options.reviews, options.column, options.texts)
                if not texts:
                    raise ValueError(f"--reviews: {options.reviews} has no text")
            result = benchmark(bundle, texts, options)
    except ServerError as error:
        return fail(error, 1)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.output, json.dumps(result, indent=2) + "\n")
    console = Console()
    console.print(speeds(result["figures"]))
    console.print(costs(result["figures"]))
    return 0


def benchmark(bundle: Path, texts: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Starts the systems, measures them; all that is to be written down."""
    predictor = open_predictor(bundle, threads=1)
    with ExitStack() as stack:
        systems: list[System] = [
            stack.enter_context(peer(name, bundle) if name in PEERS else endpoint(name, bundle))
            for name in (ENDPOINT, *options.beside)
        ]
        plan = Plan(options.connections, options.rounds, options.seconds, options.warm_up)
        figures = measure(systems, predictor, texts, plan)
        return {
            "machine": machine(),
            "bundle": bundle.name,
            "reviews": options.reviews.name if options.reviews else None,
            "texts": len(texts),
            "connections": options.connections,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "warm_up": options.warm_up,
            "settings": {name: settings(name) for name in ENDPOINTS},
            "workers_of_peers": STANDARD.workers,
            "ready_seconds": {each.name: each.ready_seconds for each in systems},
            "memory_mb": {each.name: each.memory_mb() for each in systems},
            "figures": figures,
        }


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


def _check_numbers(options: argparse.Namespace) -> None:
    """Raises `ValueError` for what cannot be measured with."""
    for name, least, most in (
        ("texts", 1, 10**7),
        ("connections", 1, MOST_CONNECTIONS),
        ("rounds", 1, 10**4),
        ("seconds", 0.1, 10**5),
        ("warm_up", 0, 10**5),
    ):
        given = getattr(options, name)
        if not least <= given <= most:
            flag = "--" + name.replace("_", "-")
            raise ValueError(f"{flag}: got {given}; give {least} to {most}")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "serve.benchmark",
        "Measure the endpoint beside its peers and beside the predictor alone.",
        EPILOG,
    )
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument("--reviews", type=Path, metavar="FILE", help="the texts")
    parser.add_argument("--column", default="content", help="of the texts (default: content)")
    parser.add_argument(
        "--trivial", action="store_true", help="a model that costs nothing, and short texts"
    )
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
        "--warm-up",
        type=float,
        default=30,
        metavar="S",
        help="of full load on each before the first round (default: 30)",
    )
    others = [name for name in (*ENDPOINTS, *PEERS) if name != ENDPOINT]
    parser.add_argument(
        "--beside",
        nargs="*",
        default=others,
        choices=others,
        metavar="NAME",
        help=f"the endpoint (default: {', '.join(others)})",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/serve_benchmark.json"), metavar="FILE.json"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
