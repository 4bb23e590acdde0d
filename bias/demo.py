"""`make demo`: the whole way on embedded reviews, by the commands a user would type.

    python -m bias.demo
    python -m bias.demo --quick --runs /tmp/try

Train, compare, export with proof, prove again, measure, audit, serve and ask, and one document of
it all. Each command is shown before it runs; what the last start left is gone on with.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.certificate import read_config, verify_artefact
from export.formats import FORMATS
from models.command import command

QUESTIONS = ("It is disappointing.", "It is by no means disappointing.")
INTERRUPTED = (130, -signal.SIGINT, -signal.SIGTERM)
# Flags beside those that every size of the demo has, by step.
Flags = Mapping[str, tuple[str, ...]]
FULL: Flags = {"benchmark": ("--rounds", "3", "--starts", "1")}
QUICK: Flags = {
    "train": ("--data", "embedded:400", "--set", "train.epochs=1"),
    "baseline": ("--data", "embedded:400"),
    "export": ("--format", "onnx", "--limit", "50"),
    "parity": ("--limit", "50"),
    "benchmark": ("--backends", "onnx", "--rounds", "1", "--limit", "50", "--batches", "8", "32"),
    "audit": ("--reviews", "embedded:400", "--most-reviews", "10"),
}


@dataclass(frozen=True)
class Step:
    """A command of the demo, after `python -m`; `is_made`: whether its result lies there already.

    Commands that see to that themselves, such as training, have no `is_made`.
    """

    name: str
    command: tuple[str, ...]
    is_made: Callable[[], bool] = lambda: False

    def shown(self) -> str:
        """As one types it."""
        return shlex.join(["python", "-m", *self.command])


def steps(runs: Path, flags: Flags = FULL) -> list[Step]:
    """All of them, in order, in the size that the further flags give."""
    run, baseline = f"{runs}/demo", f"{runs}/demo-tfidf"
    best, benchmark = f"{run}/best", f"{run}/benchmark"
    commands = {
        "train": ("training", "--experiment", "demo", "--output", run),
        "baseline": ("training", "--experiment", "demo-tfidf", "--output", baseline),
        "results": ("training.results", run, baseline, "--output", f"{run}-report"),
        "export": ("export", best),
        "parity": ("export.parity", best),
        "benchmark": ("export.benchmark", best, "--output", benchmark),
        "audit": ("bias", best, "--output", f"{run}/audit"),
        "serve": ("serve", "ask", best, *QUESTIONS),
        "dossier": ("bias.dossier", run, baseline, "--output", f"{run}-dossier"),
    }
    formats = [name for name in FORMATS if name in flags.get("export", FORMATS)]
    made = {
        "export": lambda: is_exported(Path(best), formats),
        "benchmark": lambda: is_measured(Path(best), Path(benchmark)),
    }
    return [
        Step(name, (*command, *flags.get(name, ())), made.get(name, lambda: False))
        for name, command in commands.items()
    ]


def is_exported(bundle: Path, formats: Sequence[str]) -> bool:
    """Whether all of them lie there, each with a certificate of its bytes and of these weights."""
    try:
        for name in formats:
            verify_artefact(bundle, FORMATS[name].filename)
    except (ValueError, FileNotFoundError):
        return False
    return True


def is_measured(bundle: Path, benchmark: Path) -> bool:
    """Whether the benchmark that lies there is of these weights."""
    try:
        measured = json.loads((benchmark / "benchmark.json").read_text(encoding="utf-8"))
        return bool(
            measured["bundle"]["weights_sha256"] == read_config(bundle).get("weights_sha256")
        )
    except (ValueError, KeyError, FileNotFoundError):
        return False


def run(chosen: Sequence[Step], carry_out: Callable[[Sequence[str]], int]) -> int:
    """Each step in turn, then the seconds of all; the exit status, 0 where every step succeeded."""
    took: list[tuple[str, str]] = []
    began = time.perf_counter()
    for place, step in enumerate(chosen, 1):
        if step.is_made():
            say(f"\n[{place}/{len(chosen)}] {step.name}: there already, for these weights")
            took.append((step.name, "there"))
            continue
        say(f"\n[{place}/{len(chosen)}] {step.name}\n$ {step.shown()}")
        start = time.perf_counter()
        status = carry_out(step.command)
        took.append((step.name, f"{time.perf_counter() - start:.1f}"))
        if status:
            print(f"\nmake demo: step {place} of {len(chosen)}, {step.name}, {_ended(status)}; "
                  f"what was done is kept: the same command goes on from there\n"
                  f"  {step.shown()}", file=sys.stderr)  # fmt: skip
            return 130 if status in INTERRUPTED else 1
    took.append(("total", f"{time.perf_counter() - began:.1f}"))
    say("\nstep        seconds\n" + "\n".join(f"{name:<10} {each:>8}" for name, each in took))
    return 0


def call(command: Sequence[str]) -> int:
    """The exit status of `python -m COMMAND`, which we outlive whatever signal we get."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.DEVNULL)

    def pass_on(number: int, frame: object) -> None:
        process.send_signal(number)

    before = {
        # A terminal's Ctrl+C reaches the command itself; it ends in its own way, saved or drained.
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
    }
    try:
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ended(status: int) -> str:
    if status in INTERRUPTED:
        return "was interrupted"
    return f"ended by signal {-status}" if status < 0 else f"failed with exit status {status}"


def say(text: str) -> None:
    """At once, so that it stands before what the command prints."""
    print(text, flush=True)


@command
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bias.demo",
        description="The whole way, from embedded reviews to a document one can sign.",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR",
                        help="where everything goes (default: %(default)s)")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="the same steps on few reviews and with ONNX alone: whether all "
                             "works here, not a model to look at")  # fmt: skip
    given = parser.parse_args(arguments)
    if status := run(steps(given.runs, QUICK if given.quick else FULL), call):
        return status
    pages = sorted((given.runs / "demo-dossier").glob("*.html"))
    if not pages:
        print("make demo: step dossier left no page", file=sys.stderr)
        return 1
    say(f"\nthe dossier: {pages[0]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
