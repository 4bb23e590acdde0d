"""`python -m export.benchmark BUNDLE --output DIR`: every backend of a bundle, side by side."""

import argparse
import difflib
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from export.__main__ import add_review_options, check_limit
from export.backends import BACKENDS, DEVICES, Backend, artefact_sha256, open_backend
from export.benchmark_report import CHECKED
from export.cases import padded
from export.certificate import read_config
from export.formats import FORMATS, MAX_LENGTH
from models.command import command
from models.files import written_together

BATCHES = (8, 32, 128)
CALLS_A_ROUND = 10  # of one review: a round of batches takes far longer
PAUSE = 0.02  # seconds between two calls, where requests are few: cores and threads fall asleep
EPILOG = """\
examples:
  python -m export.benchmark runs/1-gru/best --output runs/1-gru/benchmark --threads 1 2
  python -m export.benchmark runs/custom-gru/best --output report --peers loop
  python -m export.benchmark runs/1-gru/best --output report --device cuda

Writes benchmark.json, benchmark.md and benchmark.png to DIR. Run it on a quiet machine: the
backends take turns, so that ratios hold up better than milliseconds do. Within the time that is
stated a batch travels to a GPU and its logits back.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, report; a user's mistake is one line and exit status 2."""
    given = _parser().parse_args(arguments)
    from export.benchmark_report import markdown, plot

    names, left_out = _names(given.bundle, given.backends, given.device)
    _check(given)
    for name, reason in left_out.items():
        print(f"left out {name}: {reason}", file=sys.stderr)
    # Opened first: that nothing can be written there is not to be found out after all is timed.
    with written_together(given.output) as folder:
        measured = measure(given, names) | {"left_out": left_out}
        text = json.dumps(measured, indent=2) + "\n"
        (folder / "benchmark.json").write_text(text, encoding="utf-8")
        (folder / "benchmark.md").write_text(markdown(measured), encoding="utf-8")
        plot(measured, folder / "benchmark.png")
    print(markdown(measured))
    return 0


def measure(given: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """All measurements, as benchmark.json holds them."""
    from tokenizers import Tokenizer

    from export import timing
    from export.progress import Progress
    from export.reviews import labelled_set

    folder = given.bundle
    config = read_config(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reviews = labelled_set(given.reviews, tokenizer, config["max_length"], given.limit)
    if max(given.batches) > len(reviews.rows):
        raise ValueError(
            f"--batches: got {max(given.batches)}, {given.reviews} has {len(reviews.rows)} "
            "reviews; give smaller batches, or other reviews"
        )
    by_threads, cold = {}, {}
    with Progress() as progress:
        for threads in given.threads:
            by_threads[str(threads)] = _speeds(given, names, reviews.rows, threads, progress)
        with progress.task("cold starts", len(names)) as advance:
            for name in names if given.starts else []:
                cold[name] = timing.cold_start(
                    folder, name, given.length, given.starts, _device_of(name, given.device)
                )
                advance()
    lengths = sorted(len(row) for row in reviews.rows)
    return {
        "schema_version": 1,
        "bundle": {key: config[key] for key in ("architecture", "max_length", "weights_sha256")},
        "machine": _machine(given.device),
        "device": given.device,
        "reviews": {
            "source": reviews.source,
            "count": len(lengths),
            "mean_tokens": sum(lengths) / len(lengths),
            "median_tokens": lengths[len(lengths) // 2],
        },
        "length": given.length,
        "pause_seconds": PAUSE,
        "rounds": given.rounds,
        "threads": by_threads,
        "cold_start": cold,
        "artefact_bytes": {name: _size(folder, name) for name in names},
        "artefact_sha256": {name: artefact_sha256(folder, name) for name in names},
        "tokenising_ms": 1e3 * timing.tokenising(tokenizer, reviews.texts, config["max_length"]),
    }


def _speeds(
    given: argparse.Namespace, names: list[str], rows: list[list[int]], threads: int, progress: Any
) -> dict[str, Any]:
    """Latency and throughput of every backend and peer with this number of threads."""
    from export import timing

    backends = _open(given.bundle, names, given.peers, threads, rows, given.device)
    found: dict[str, Any] = {"max_abs_difference": _differences(backends, rows)}
    label, rounds = f"{threads} thread{'s' if threads > 1 else ''}", given.rounds
    calls = CALLS_A_ROUND * rounds
    with progress.task(f"latency, {label}", calls) as advance:
        found["latency_ms"] = timing.latency(backends, given.length, calls, advance)
    with progress.task(f"latency after a pause, {label}", calls) as advance:
        found["latency_after_pause_ms"] = timing.latency(
            backends, given.length, calls, advance, PAUSE
        )
    found["reviews_per_second"] = {}
    for size in given.batches:
        with progress.task(f"batches of {size}, {label}", rounds) as advance:
            speeds = timing.throughput(backends, rows, size, rounds, advance)
        found["reviews_per_second"][str(size)] = speeds
    return found


def _check(given: argparse.Namespace) -> None:
    """`ValueError` or `FileNotFoundError` for an option that is not allowed."""
    check_limit(given.limit)
    least = {"rounds": given.rounds, "threads": min(given.threads), "batches": min(given.batches)}
    for option, value in least.items():
        if value < 1:
            raise ValueError(f"--{option}: got {value}; give at least 1")
    cpus = os.cpu_count() or 1
    if max(given.threads) > cpus:
        raise ValueError(f"--threads: got {max(given.threads)}; this machine has {cpus} CPUs")
    if max(given.batches) > given.limit:
        raise ValueError(
            f"--batches: got {max(given.batches)}, more than the {given.limit} reviews of --limit; "
            "a smaller batch would be timed under its name"
        )
    if given.starts < 0:
        raise ValueError(f"--starts: got {given.starts}; give 0 for none, or more")
    if not 1 <= given.length <= MAX_LENGTH:
        raise ValueError(f"--length: got {given.length}; allowed are 1 to {MAX_LENGTH}")
    if given.peers:
        if given.device != "cpu":
            raise ValueError(f"--peers: they run on cpu, not on --device {given.device}")
        from export.peers import check_peers  # imports torch

        check_peers(given.peers)
    from models.bundle import verify  # imports torch

    verify(given.bundle)


def _open(
    folder: Path,
    names: list[str],
    peers: list[str],
    threads: int,
    rows: list[list[int]],
    device: str,
) -> dict[str, Backend]:
    """All of them; a peer that does not answer as the checkpoint is a `ValueError`."""
    backends = {
        name: open_backend(folder, name, threads=threads, device=_device_of(name, device))
        for name in names
    }
    if peers:
        from export.peers import check_answers, open_peer

        for text in peers:
            peer = open_peer(text, folder, backends["eager"], threads)
            check_answers(peer, backends["eager"], rows)
            backends[peer.name] = peer
    return backends


def _differences(backends: dict[str, Backend], rows: list[list[int]]) -> dict[str, float]:
    """The largest |Δlogit| of each from eager on the first reviews: that what is timed is the same
    model, peers included."""
    batch = padded(rows[:CHECKED])
    expected = backends["eager"](*batch)
    others = (name for name in backends if name != "eager")
    return {name: float(np.abs(backends[name](*batch) - expected).max()) for name in others}


def _device_of(name: str, device: str) -> str:
    """Where `name` is measured: eager, which all are held against, has no TensorRT."""
    return "cuda" if name == "eager" and device == "tensorrt" else device


def _names(folder: Path, given: list[str] | None, device: str) -> tuple[list[str], dict[str, str]]:
    """The backends to measure, eager first, and why others are not. By default all that the bundle
    has artefacts for and that can be opened on `device`; `ValueError` where one that was named, or
    eager, cannot."""
    read_config(folder)
    for name in given or []:
        if name not in BACKENDS:
            close = difflib.get_close_matches(name, BACKENDS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"--backends: got {name!r}{hint}; allowed are {', '.join(BACKENDS)}")
    there = [
        name
        for name, kind in BACKENDS.items()
        if name != "compiled"
        and (kind.format is None or (folder / FORMATS[kind.format].filename).is_file())
    ]
    chosen = dict.fromkeys(["eager", *(given or there)])
    left_out = {}
    for name in chosen if device != "cpu" else ():
        try:
            open_backend(folder, name, device=_device_of(name, device))
        except ValueError as error:
            if given or name == "eager":
                raise
            left_out[name] = str(error)
    return [name for name in chosen if name not in left_out], left_out


def _size(folder: Path, name: str) -> int:
    kind = BACKENDS[name].format
    filename = "model.safetensors" if kind is None else FORMATS[kind].filename
    return (folder / filename).stat().st_size


def _machine(device: str) -> dict[str, Any]:
    import onnxruntime

    gpu = {}
    if device != "cpu":
        import torch

        gpu = {"gpu": torch.cuda.get_device_name()}
    return {
        "processor": _processor(),
        **gpu,
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export.benchmark",
        description="Latency, throughput, start, memory and size of a bundle's backends.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="an exported bundle's folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="of the results")
    parser.add_argument(
        "--backends",
        nargs="+",
        metavar="NAME",
        help="to hold against eager (default: all that are exported, but not compiled)",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="NAME[=FILE]",
        default=[],
        help="what is no backend, beside them: loop (of a custom-gru), plain-onnx, optimum=FILE, "
        "optimum-int8=FILE",
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="which every backend runs on (default: cpu)",
    )
    parser.add_argument("--threads", nargs="+", type=int, default=[1], metavar="N")
    parser.add_argument("--length", type=int, default=128, metavar="N", help="tokens at batch 1")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="N")
    parser.add_argument(
        "--starts", type=int, default=3, metavar="N", help="processes to start of each, 0 for none"
    )
    add_review_options(parser)
    parser.set_defaults(limit=256)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
