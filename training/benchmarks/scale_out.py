"""Two processes against one, and what sharing gradients between them costs.

    python -m training.benchmarks.scale_out --data data/amazon_polarity \\
        --tokenizer data/bert-base-uncased --output docs/benchmarks/scale_out.json

Launches the training command itself, by `accelerate launch`, in turns: one process with one thread;
one with two; two with one thread each over gloo, with the embedding table's gradient all-reduced
whole, and by rows; and two runs that know nothing of each other at the same time, which is what the
machine has for two processes if sharing gradients costs nothing. Each process has `--batch` reviews
a step, and every run reads the same `--reviews` once. Steps differ in length severalfold (buckets),
and another batch size draws other steps, so that time is counted by token: tokens a second by the
training's own figures over the steps after the first few, of two runs apart their sum, and reviews
a second by these reviews' mean length. Ratios are of the same round. Then the all-reduce alone, by
size.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from models.command import command
from models.files import write_whole

_LOG_EVERY = 4  # steps: a line waits for all processes, as no training does at every step
_WARM = (
    4  # lines at the start that do not count: memory is new then, and longer reviews fault it in
)


class Mode(NamedTuple):
    """How the reviews are trained on: `runs` at the same time, each of some processes."""

    runs: int = 1
    processes: int = 1
    threads: int = 1
    row_wise: bool = False


class Window(NamedTuple):
    """What the steps between two lines of a history took and read, all processes together."""

    seconds: float
    tokens: float
    reviews: float


MODES = {
    "one process, one thread": Mode(),
    "one process, two threads": Mode(threads=2),
    "two processes, whole table": Mode(processes=2),
    "two processes, row-wise": Mode(processes=2, row_wise=True),
    "two runs apart": Mode(runs=2),
}
SIZES = (1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)  # bytes


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.scale_out",
        description="Reviews a second of two processes and of one, and the time of an all-reduce.",
    )
    parser.add_argument("--data", default="embedded:4000", help="a source of reviews")
    parser.add_argument("--tokenizer", help="folder or hub name; else one is trained on the data")
    parser.add_argument("--experiments", nargs="+", default=["1-gru", "3-transformer"])
    parser.add_argument("--batch", type=int, default=64, help="reviews a step of each process")
    parser.add_argument("--reviews", type=int, default=2560, help="that each run reads once")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/scale_out.json"))
    parser.add_argument("--all-reduce", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.all_reduce:
        all_reduce_times()
        return 0
    least = 2 * given.batch * _LOG_EVERY * (_WARM + 1)
    if given.reviews < least:
        parser.error(
            f"--reviews {given.reviews}: at least {least}, since the first {_LOG_EVERY * _WARM} "
            f"steps of 2 x {given.batch} reviews do not count"
        )
    result: dict[str, Any] = {
        "command": " ".join(["python -m training.benchmarks.scale_out", *sys.argv[1:]]),
        "all_reduce": launch_all_reduce(),
        "experiments": [],
    }
    for experiment in given.experiments:
        result["experiments"].append(measure(experiment, given))
        write_whole(given.output, json.dumps(result, indent=1) + "\n")
    for row in result["experiments"]:
        for name, mode in row["modes"].items():
            print(f"{row['experiment']:<16} {name:<28} {mode['reviews_per_second']:8.1f} reviews/s "
                  f"{mode['ratio_to_one']:5.2f}x")  # fmt: skip
    for entry in result["all_reduce"]:
        print(f"all-reduce of {entry['bytes']:>11,} bytes: {1e3 * entry['seconds']:8.2f} ms")
    return 0


def measure(experiment: str, given: argparse.Namespace) -> dict[str, Any]:
    """Reviews a second of every mode."""
    rates: dict[str, list[float]] = {name: [] for name in MODES}  # tokens a second
    length = 0.0  # tokens a review: the same in every run, which reads the same reviews
    for turn in range(given.rounds):
        names = list(MODES)[turn % len(MODES) :] + list(MODES)[: turn % len(MODES)]
        for name in names:
            rate, length = train(experiment, given, MODES[name])
            rates[name].append(rate)
            print(f"{experiment}: {name} {rate:,.0f} tokens/s", file=sys.stderr)
    one = rates["one process, one thread"]
    return {
        "experiment": experiment,
        "batch_a_process": given.batch,
        "reviews": given.reviews,
        "tokens_a_review": length,
        "modes": {
            name: {
                "reviews_per_second": statistics.median(own) / length,
                "tokens_per_second": statistics.median(own),
                "ratio_to_one": statistics.median(a / b for a, b in zip(own, one, strict=True)),
                "rounds": own,
            }
            for name, own in rates.items()
        },
    }


def train(experiment: str, given: argparse.Namespace, mode: Mode) -> tuple[float, float]:
    """Launch the training; tokens a second, summed over its runs, and tokens a review."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(mode.threads)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        runs = [Path(folder) / f"run-{number}" for number in range(mode.runs)]
        started = [subprocess.Popen(launch(experiment, given, mode, run), env=environment,
                                    stdout=said, stderr=said) for run in runs]  # fmt: skip
        if any([each.wait() for each in started]):  # of a list: all are waited for
            said.seek(0)
            raise RuntimeError(f"the training failed:\n{said.read()}")
        each = [windows(run) for run in runs]
        for training in each:
            check_read(training, given.reviews)
        return sum(map(speed, each)), mean_length(each[0])


def launch(experiment: str, given: argparse.Namespace, mode: Mode, run: Path) -> list[str]:
    """The command of one run."""
    config = "cpu_two_processes" if mode.processes == 2 else "../accelerate_config"
    return [sys.executable, "-m", "accelerate.commands.launch",
            "--config_file", f"accelerate_configs/{config}.yaml",
            "--main_process_port", free_port(), "--num_cpu_threads_per_process",
            str(mode.threads), "-m", "training", "--experiment", experiment,
            "--data", given.data, "--output", str(run), "--set",
            f"data.tokenizer={given.tokenizer or 'null'}", "data.limit_validation=64",
            "data.limit_test=64", f"train.batch_size={given.batch * mode.processes}",
            f"train.micro_batch_size={given.batch}", f"data.limit_train={given.reviews}",
            "train.epochs=1", f"train.log_every={_LOG_EVERY}",
            "train.evaluations_per_epoch=1", "train.tracker=none",
            f"train.row_wise_embeddings={str(mode.row_wise).lower()}"]  # fmt: skip


def windows(run: Path) -> list[Window]:
    """A run's training, by the lines of its history."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    found, before = [], 0.0
    for line in (line for line in lines if line["kind"] == "train"):
        seconds, before = line["seconds"] - before, line["seconds"]
        found.append(Window(seconds, line["tokens_per_second"] * seconds,
                            line["reviews_per_second"] * seconds))  # fmt: skip
    return found


def check_read(training: list[Window], wanted: int) -> None:
    """Raises `ValueError` where a run had fewer reviews than it was to read."""
    read = round(sum(each.reviews for each in training))
    if read != wanted:
        raise ValueError(
            f"--reviews {wanted}: the data has {read} to train on; give fewer, or more data"
        )


def speed(training: list[Window]) -> float:
    """Tokens a second after the first steps."""
    counted = training[_WARM:]
    return sum(each.tokens for each in counted) / sum(each.seconds for each in counted)


def mean_length(training: list[Window]) -> float:
    """Tokens a review."""
    return sum(each.tokens for each in training) / sum(each.reviews for each in training)


def launch_all_reduce() -> list[dict[str, float]]:
    """Seconds of a gloo all-reduce between two processes, for each of `SIZES`."""
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
                                "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}  # fmt: skip
    command = [sys.executable, "-m", "training.benchmarks.scale_out", "--all-reduce"]
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment | {"RANK": str(rank)}
        )
        for rank in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("the all-reduce failed")
    answer: list[dict[str, float]] = json.loads(outputs[0])
    return answer


def all_reduce_times() -> None:
    """In each of the processes: median seconds by size, as JSON."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo")
    rows = []
    for size in SIZES:
        tensor, seconds = torch.ones(size // 4), []
        for _ in range(7):
            distributed.barrier()
            began = time.perf_counter()
            distributed.all_reduce(tensor)
            seconds.append(time.perf_counter() - began)
        rows.append({"bytes": size, "seconds": statistics.median(seconds)})
    distributed.destroy_process_group()
    print(json.dumps(rows))


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
