"""Our training loop against the reference's own: reviews a second, and what each lever gives.

    python -m training.benchmarks.throughput --data data/amazon_polarity \\
        --tokenizer data/bert-base-uncased --output docs/benchmarks/throughput.json

The model, its optimiser and the micro-batch are the same in every contender of an experiment:

- reference: `training.benchmarks.reference_loop`.
- no levers: `training.loop.Trainer` with every lever off, which already tokenises once and does
  not wait for the loss after each step.
- one lever alone, for each of `LEVERS`; the recommended ones together; and those but one.

The model's sums are the same in all; without "masks" and "recurrence" PyTorch's own dropout and GRU
compute them.

Contenders take turns, in an order that each round turns by one, in one process. A round is an epoch
over the same reviews with buckets (a longer epoch sorts more of them together and pads less: what
is measured is a lower bound). Without them every batch is padded to 256 tokens and takes the same
time whatever its reviews, so a few steps stand for all. Ratios are of the same round; medians over
the rounds. Experiments named `-reference` are measured with a mask, as the others: with
`reads_padding` a loss depends on the padding, and two loops that pad differently would not train
the same model. (Trained for real, experiment 2's reference reads padding, by PyTorch's GRU.)

Measured on a GPU where there is one (`CUDA_VISIBLE_DEVICES=` hides it). The share of the peak that
is stated (MFU) is of products that were timed in the same process, in the contender's precision;
counted are the operations that the reviews need, not those on their padding.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.table import Table

from models.benchmarks.timing import wait_for
from models.command import command
from models.files import write_whole
from training.benchmarks.contenders import (
    LEVERS,
    combinations,
    fresh_model,
    make_trainer,
    precision,
    reference_loop,
    resolve,
    together,
    useless,
)
from training.benchmarks.operations import mean_operations, peak
from training.data import ReviewData, load_data
from training.measure import device_name
from training.settings import Config

EXPERIMENTS = ("1-gru", "2-gru-attention", "3-transformer", "4-transformer-deep",
               "5-transformer-postnorm")  # fmt: skip


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write JSON and plot."""
    given = parse(arguments)
    torch.set_num_threads(given.threads)
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    device = accelerator.device
    names = ("bfloat16", "tf32", "float32") if device.type == "cuda" else ("bfloat16", "float32")
    peaks = {name: peak(device, name) for name in names}
    rows = []
    for name in given.experiments:
        rows.append(measure(name, given, accelerator, peaks))
        result = {
            "command": " ".join(
                ["python -m training.benchmarks.throughput", *(arguments or sys.argv[1:])]
            ),
            "device": device_name(device),
            "threads": given.threads,
            "peak_operations_per_second": peaks,
            "torch": torch.__version__,
            "experiments": rows,
        }
        write_whole(given.output, json.dumps(result, indent=1) + "\n")
    show(rows)
    from training.benchmarks.throughput_plot import plot

    plot(rows, given.output.with_suffix(".png"))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.throughput",
        description="Reviews a second of our training loop and of the reference's own, in turns.",
    )
    parser.add_argument("--data", default="embedded:2000", help="a source of reviews")
    parser.add_argument("--tokenizer", help="folder or hub name; else one is trained on the data")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--levers", nargs="*", default=list(LEVERS), choices=list(LEVERS),
                        help="those to measure alone and left out")  # fmt: skip
    parser.add_argument("--reviews", type=int, default=2048, help="of an epoch")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--reference-steps", type=int, default=2, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/throughput.json"))
    given = parser.parse_args(arguments)
    for name in ("reviews", "batch", "reference_steps", "rounds", "threads"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(given, name)}: at least 1")
    if given.reviews < given.batch:
        parser.error(f"--reviews {given.reviews}: at least --batch {given.batch}")
    return given


def measure(
    name: str, given: argparse.Namespace, accelerator: Accelerator, peaks: dict[str, float]
) -> dict[str, Any]:
    """One experiment: seconds a review of every contender, their ratios and shares of the peak."""
    config = resolve(name, given)
    data, device = load_data(config.data), accelerator.device
    levers = [lever for lever in given.levers if lever not in useless(config, device)]
    on = combinations(levers, together(config, device)) | {"reference": frozenset[str]()}
    contenders = {"reference": reference_pass(config, data, device, given.reference_steps)}
    for label in on:
        if label not in contenders:
            steps = None if "buckets" in on[label] else given.reference_steps
            contenders[label] = trainer_pass(config, data, accelerator, on[label], steps)
    seconds: dict[str, list[float]] = {label: [] for label in contenders}
    for run in contenders.values():
        run()  # compiles, allocates, fills caches
    for turn in range(given.rounds):
        order = (
            list(contenders)[turn % len(contenders) :] + list(contenders)[: turn % len(contenders)]
        )
        for label in order:
            seconds[label].append(contenders[label]())
            print(f"{name}: {label} {1 / seconds[label][-1]:.1f} reviews/s", file=sys.stderr)
    lengths = data.train.lengths
    operations = mean_operations(fresh_model(config, data).train(), lengths)
    return {
        "experiment": name,
        "batch": config.train.batch_size,
        "reviews": len(data.train),
        "mean_tokens": float(lengths.mean()),
        "operations_a_review": operations,
        "contenders": [
            {
                "contender": label,
                "reviews_per_second": 1 / statistics.median(times),
                "precision": precision(config, on[label], device),
                "share_of_peak": operations
                / statistics.median(times)
                / peaks[precision(config, on[label], device)],
                "ratio_to_reference": statistics.median(
                    r / t for r, t in zip(seconds["reference"], times, strict=True)
                ),
                "seconds_a_review": times,
            }
            for label, times in seconds.items()
        ],
    }


def reference_pass(
    config: Config, data: ReviewData, device: torch.device, steps: int
) -> Callable[[], float]:
    """A function that takes some steps of the reference's loop and gives its seconds a review."""
    loop = reference_loop(config, data, device)

    def run() -> float:
        wait_for(device)
        began = time.perf_counter()
        for _ in range(steps):
            loop.step()
        wait_for(device)
        return (time.perf_counter() - began) / (steps * config.train.batch_size)

    return run


def trainer_pass(
    config: Config,
    data: ReviewData,
    accelerator: Accelerator,
    levers: frozenset[str],
    steps: int | None,
) -> Callable[[], float]:
    """A function that trains some steps, or an epoch, by our loop; its seconds a review."""
    trainer = make_trainer(config, data, accelerator, levers)
    batches = iter(trainer._batches())
    count = steps or trainer.schedule.steps_per_epoch

    def run() -> float:
        wait_for(accelerator.device)
        began, seen = time.perf_counter(), trainer.state.train_reviews
        for _ in range(count):
            trainer._step(next(batches))
            trainer.state.step += 1
        trainer._gather_window()
        wait_for(accelerator.device)
        return (time.perf_counter() - began) / (trainer.state.train_reviews - seen)

    return run


def show(rows: list[dict[str, Any]]) -> None:
    """A table of speeds, ratios to the reference's loop, and shares of the peak."""
    labels = list(dict.fromkeys(c["contender"] for row in rows for c in row["contenders"]))
    table = Table("contender", *(row["experiment"] for row in rows))
    for label in labels:
        cells = []
        for row in rows:
            found = [c for c in row["contenders"] if c["contender"] == label]
            cells.append(
                f"{found[0]['reviews_per_second']:.0f}/s {found[0]['ratio_to_reference']:.2f}x "
                f"{found[0]['share_of_peak']:.1%}"
                if found else ""
            )  # fmt: skip
        table.add_row(label, *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
