"""What many processes should give, worked out from the bytes and the operations of a step.

    python -m training.benchmarks.scaling_estimate --scale-out docs/benchmarks/scale_out.json

An estimate, not a measurement. Data-parallel training does its own share of the batch, then
all-reduces the gradient. A ring of N processes sends 2 (N - 1) / N of its G bytes past every link
(Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002), in 2 (N - 1) messages:

    t_reduce = 2 (N - 1) / N · G / bandwidth + 2 (N - 1) · latency

The efficiency is t_step / (t_step + t_reduce) where nothing overlaps, and
t_step / max(t_step, t_reduce) where all of it does: DistributedDataParallel lies between, since it
reduces a layer's gradient while those before it are still computed. For GPUs the step is counted
operations over an assumed share of the peak; for the two CPU processes that were measured, the same
formula stands beside what was measured.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import registry
from models.command import command
from models.files import write_whole
from training.benchmarks.operations import counted
from training.config import load_experiment

VOCABULARY = 30_522


@dataclass(frozen=True)
class Machine:
    """Assumptions: bytes a second and seconds a message between neighbours of a ring, operations
    a second of one GPU, and the share of those that training reaches."""

    name: str
    processes: int
    bandwidth: float
    latency: float
    peak: float = 989e12
    """Dense bfloat16 of an H100 SXM (NVIDIA's data sheet)."""
    share: float = 0.3


MACHINES = (
    # 900 GB/s of NVLink are 450 each way; 400 Gb/s InfiniBand a GPU are 50 GB/s (NVIDIA's sheets)
    Machine("8 H100, one node, NVLink", 8, 450e9, 5e-6),
    Machine("64 H100, eight nodes, InfiniBand", 64, 50e9, 10e-6),
)


@command
def main(arguments: list[str] | None = None) -> int:
    """Print the table, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.scaling_estimate",
        description="Expected efficiency of data-parallel training: an estimate.",
    )
    parser.add_argument("--scale-out", type=Path, help="what training.benchmarks.scale_out wrote")
    parser.add_argument("--experiments", nargs="+", default=["1-gru", "3-transformer",
                        "4-transformer-deep", "6-bert-finetuned"])  # fmt: skip
    parser.add_argument("--batch", type=int, default=64, help="reviews a step of each GPU")
    parser.add_argument("--length", type=int, default=104, help="tokens of a review")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/benchmarks/scaling_estimate.json")
    )
    given = parser.parse_args(arguments)
    own = sys.argv[1:] if arguments is None else arguments
    rows = [
        estimate(name, given.batch, given.length, machine)
        for name in given.experiments
        for machine in MACHINES
    ]
    result: dict[str, Any] = {
        "command": " ".join(["python -m training.benchmarks.scaling_estimate", *own]),
        "gpus": rows,
        "check": check(json.loads(given.scale_out.read_text())) if given.scale_out else [],
    }
    write_whole(given.output, json.dumps(result, indent=1) + "\n")
    for row in rows:
        low, high = row["efficiency"]
        step, reduce = 1e3 * row["step_seconds"], 1e3 * row["reduce_seconds"]
        print(f"{row['experiment']:<20} {row['machine']:<34} {row['gradient_bytes'] / 1e6:7.1f} MB "
              f"step {step:7.2f} ms  reduce {reduce:6.2f} ms  {low:.0%} to {high:.0%}")  # fmt: skip
    for row in result["check"]:
        print(f"{row['experiment']:<20} two CPU processes, {row['mode']}: expected "
              f"{row['expected']:.2f}x, measured {row['measured']:.2f}x")  # fmt: skip
    return 0


def ring(size: float, processes: int, bandwidth: float, latency: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes."""
    return 2 * (processes - 1) * (size / processes / bandwidth + latency)


def efficiency(step: float, reduce: float) -> tuple[float, float]:
    """Of N processes against N times one: without any overlap, and with all there can be."""
    return step / (step + reduce), step / max(step, reduce)


def estimate(experiment: str, batch: int, length: int, machine: Machine) -> dict[str, Any]:
    """One experiment on one machine, `batch` reviews a GPU."""
    operations, size = count(experiment, batch, length)
    step = operations / (machine.peak * machine.share)
    reduce = ring(size, machine.processes, machine.bandwidth, machine.latency)
    return {
        "experiment": experiment,
        "machine": machine.name,
        "gradient_bytes": size,
        "operations": operations,
        "step_seconds": step,
        "reduce_seconds": reduce,
        "efficiency": efficiency(step, reduce),
    }


def count(experiment: str, batch: int, length: int) -> tuple[int, int]:
    """Floating-point operations of a step, and bytes of its float32 gradient.

    Counted of one review: all products are linear in the batch.
    """
    config = load_experiment(experiment)
    arguments = dict(config.model.arguments)
    if config.model.architecture == "bert":
        arguments["backbone"] = {"model_type": "bert"}  # bert-base-uncased's sizes are the default
    else:
        arguments["vocabulary_size"] = VOCABULARY
    model = registry.build(config.model.architecture, **arguments).train()
    size = sum(4 * p.numel() for p in model.parameters() if p.requires_grad)
    return batch * counted(model, length), size


def check(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """The formula on the two CPU processes that were measured, the whole table reduced."""
    sizes = measured["all_reduce"]
    rows = []
    for row in measured["experiments"]:
        one = row["modes"]["one process, one thread"]["reviews_per_second"]
        mode = "two processes, whole table"
        _, size = count(row["experiment"], 1, 8)
        nearest = min(sizes, key=lambda entry: abs(entry["bytes"] - size))
        reduce = nearest["seconds"] * size / nearest["bytes"]
        low, _ = efficiency(row["batch_a_process"] / one, reduce)
        rows.append({"experiment": row["experiment"], "mode": mode, "expected": 2 * low,
                     "measured": row["modes"][mode]["ratio_to_one"]})  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
