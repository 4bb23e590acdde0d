"""How much memory does a review of a given length take in training, and what batch then fits?

    python -m training.benchmarks.activation_memory --backbone minilm/ \\
        --output docs/benchmarks/activation_memory.json

For each experiment and length, a forward and a backward pass over a small and over a larger
micro-batch, each in one fresh process (Linux: the peak of the resident set, reset before each).
The difference of the two peaks over the difference of the two sizes is what a review takes; what is
left is fixed: interpreter, libraries, parameters, gradients and AdamW's two moments. From both
follows the largest micro-batch of a given memory, which is `train.micro_batch_size`: a batch beyond
it is accumulated, with the same gradient. float32; the pretrained backbone is experiment 6's.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from models.command import command

EXPERIMENTS = ("1-gru", "2-gru-attention", "3-transformer", "4-transformer-deep",
               "5-transformer-postnorm", "6-bert-finetuned", "6-bert-frozen",
               "custom-gru")  # fmt: skip
LENGTHS = (32, 64, 128, 256)
TOKENS = (2048, 6144)
"""Of the two micro-batches: enough that their activations, not AdamW's step, make the peak."""
VOCABULARY = 30_522
_GIB = 1 << 30


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write JSON and plot."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.activation_memory",
        description="Memory a review takes in training, by experiment and length.",
    )
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--lengths", nargs="+", type=int, default=list(LENGTHS))
    parser.add_argument("--backbone", help="of experiment 6: a folder or hub name")
    parser.add_argument("--memory", nargs="+", type=float, default=[4, 16, 80], metavar="GiB")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/benchmarks/activation_memory.json")
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # the child's own: an experiment
    given = parser.parse_args(arguments)
    if given.measure:
        print(json.dumps(measure(given.measure, given.lengths, given.backbone)))
        return 0
    if not Path("/proc/self/clear_refs").exists():
        parser.error("needs Linux, whose /proc tells a peak and resets it")
    rows = [fresh(name, given) for name in given.experiments]
    for row in rows:
        row["largest_micro_batch"] = {
            f"{memory:g} GiB": largest(row, memory * _GIB) for memory in given.memory
        }
    from models.files import write_whole

    own = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m training.benchmarks.activation_memory", *own])
    result = {"command": command, "experiments": rows}
    write_whole(given.output, json.dumps(result, indent=1) + "\n")
    show(rows)
    plot(rows, given.output.with_suffix(".png"))
    return 0


def measure(experiment: str, lengths: list[int], backbone: str | None) -> dict[str, Any]:
    """Peaks of this process, which is used for nothing else."""
    import torch
    import torch.nn.functional as F

    from models import registry
    from training.config import load_experiment
    from training.loop import make_optimizer
    from training.result import count_parameters

    settings = [f"model.arguments.backbone={backbone}"] if backbone and "bert" in experiment else []
    config = load_experiment(experiment, settings)
    arguments = dict(config.model.arguments)
    if config.model.architecture != "bert":
        arguments["vocabulary_size"] = VOCABULARY
    model = registry.build(config.model.architecture, **arguments).train()
    optimizer = make_optimizer(config, model)

    def peak(size: int, length: int) -> int:
        ids = torch.randint(5, 1000, (size, length))
        labels = torch.zeros(size, dtype=torch.int64)
        Path("/proc/self/clear_refs").write_text("5")
        F.cross_entropy(model(ids, torch.ones_like(ids)), labels).backward()
        optimizer.step()
        return status("VmHWM")

    peak(1, min(lengths))  # gradients and moments come to be
    points = []
    for length in lengths:
        sizes = [max(1, tokens // length) for tokens in TOKENS]
        small, large = (peak(size, length) for size in sizes)
        slope = (large - small) / (sizes[1] - sizes[0])
        points.append(
            {
                "length": length,
                "reviews": sizes,
                "peaks": [small, large],
                "bytes_a_review": slope,
                "fixed_bytes": small - sizes[0] * slope,
            }
        )
    return {
        "experiment": experiment,
        "parameters": count_parameters(model),
        "lengths": points,
    }


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024


def fresh(experiment: str, given: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own, whose freed memory goes back to the system at once."""
    print(f"{experiment} ...", file=sys.stderr)
    command = [sys.executable, "-m", "training.benchmarks.activation_memory", "--measure",
               experiment, "--lengths", *map(str, given.lengths)]  # fmt: skip
    if given.backbone:
        command += ["--backbone", given.backbone]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def largest(row: dict[str, Any], memory: float) -> int:
    """Reviews of the greatest length measured that a step can hold; 0 where not one fits."""
    longest = row["lengths"][-1]
    return max(0, int((memory - longest["fixed_bytes"]) / longest["bytes_a_review"]))


def show(rows: list[dict[str, Any]]) -> None:
    """MiB a review by length, and the largest micro-batches."""
    from rich.console import Console
    from rich.table import Table

    lengths = [point["length"] for point in rows[0]["lengths"]]
    memories = [f"largest in {memory}" for memory in rows[0]["largest_micro_batch"]]
    table = Table("experiment", *(f"MiB a review of {n}" for n in lengths), *memories)
    for row in rows:
        table.add_row(
            row["experiment"],
            *(f"{point['bytes_a_review'] / 2**20:.2f}" for point in row["lengths"]),
            *(f"{size:,}" for size in row["largest_micro_batch"].values()),
        )
    Console(width=150).print(table)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Memory a review against its length."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5), layout="constrained")
    for row, marker in zip(rows, "os^vDPX*<>" * len(rows), strict=False):
        lengths = [point["length"] for point in row["lengths"]]
        sizes = [point["bytes_a_review"] / 2**20 for point in row["lengths"]]
        axes.plot(lengths, sizes, marker=marker, label=row["experiment"])
    axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="MiB a review",
             title="Peak memory of a training step, a further review")  # fmt: skip
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
