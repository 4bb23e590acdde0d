"""Does our loop, with its levers, learn as the reference's does?

    python -m training.benchmarks.loss_curves --data data/amazon_polarity \\
        --tokenizer data/bert-base-uncased --output docs/benchmarks/loss_curves.json

The same model from the same weights, learning rate and number of reviews, trained by the
reference's loop, by ours without levers, and by ours with the recommended ones; the loss on the
same held-out reviews after every few steps. The loops draw their batches in orders of their own,
and ours of like lengths, so that the curves cannot be equal to the last digit: what they may differ
by is the spread of each loop over its seeds.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from models.command import command
from models.files import write_whole
from training.benchmarks.contenders import make_trainer, reference_loop, resolve, together
from training.data import ReviewData, load_data
from training.evaluation import predict
from training.measure import device_name
from training.progress import Progress
from training.settings import Config

LOOPS = ("reference", "no levers", "together")


@command
def main(arguments: list[str] | None = None) -> int:
    """Train every loop with every seed, print the last losses, write JSON and plot."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.loss_curves",
        description="Held-out loss over training, of our loop and of the reference's.",
    )
    parser.add_argument("--data", default="embedded:2000", help="a source of reviews")
    parser.add_argument("--tokenizer", help="folder or hub name; else one is trained on the data")
    parser.add_argument("--experiment", default="1-gru")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=10, help="steps between two losses")
    parser.add_argument("--held-out", type=int, default=500, help="reviews")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--loops", nargs="+", default=list(LOOPS), choices=list(LOOPS))
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/loss_curves.json"))
    given = parser.parse_args(arguments)
    if given.every < 1 or given.steps < given.every:
        parser.error(f"--every {given.every}: at least 1 and at most --steps {given.steps}")
    given.reviews = given.batch * given.steps  # every loop sees each of them once
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    curves: list[dict[str, Any]] = []
    for seed in given.seeds:
        config = resolve(given.experiment, given)
        config.train.seed = seed
        config.data.limit_validation = given.held_out
        data = load_data(config.data)
        for loop in given.loops:
            losses = curve(loop, config, data, accelerator, given)
            curves.append({"loop": loop, "seed": seed, "losses": losses})
            print(f"{loop} seed {seed}: {losses}", file=sys.stderr)
    own = sys.argv[1:] if arguments is None else arguments
    result = {
        "command": " ".join(["python -m training.benchmarks.loss_curves", *own]),
        "experiment": given.experiment,
        "device": device_name(accelerator.device),
        "steps": list(range(given.every, given.steps + 1, given.every)),
        "curves": curves,
    }
    write_whole(given.output, json.dumps(result, indent=1) + "\n")
    plot(result, given.output.with_suffix(".png"))
    return 0


def curve(
    loop: str,
    config: Config,
    data: ReviewData,
    accelerator: Accelerator,
    given: argparse.Namespace,
) -> list[float]:
    """Held-out losses of one loop."""
    step, model, ready = stepper(loop, config, data, accelerator)
    losses = []
    for number in range(1, given.steps + 1):
        step()
        if number % given.every == 0:
            ready()
            logits = predict(model, data.validation, accelerator, config, Progress(False), "")
            labels = torch.from_numpy(data.validation.labels.astype(np.int64))
            losses.append(float(F.cross_entropy(torch.from_numpy(logits), labels)))
    return losses


def stepper(
    loop: str, config: Config, data: ReviewData, accelerator: Accelerator
) -> tuple[Callable[[], object], nn.Module, Callable[[], object]]:
    """A function that takes a step, the model, and one to call before the model is read."""
    if loop == "reference":
        reference = reference_loop(config, data, accelerator.device)
        return reference.step, reference.model, lambda: None
    levers = together(config, accelerator.device) if loop == "together" else frozenset[str]()
    trainer = make_trainer(config, data, accelerator, levers)
    batches = iter(trainer._batches())

    def step() -> None:
        trainer._step(next(batches))
        trainer.state.step += 1

    def ready() -> None:
        if trainer.row_wise:
            trainer.row_wise.flush(trainer.state.step)

    return step, trainer.bare, ready


def plot(result: dict[str, Any], path: Path) -> None:
    """A line a loop and seed."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    colours = dict(zip(LOOPS, ("#000000", "#E69F00", "#0072B2"), strict=True))
    figure, axes = pyplot.subplots(figsize=(6.5, 4.5), layout="constrained")
    for entry in result["curves"]:
        first = entry["seed"] == result["curves"][0]["seed"]
        axes.plot(result["steps"], entry["losses"], color=colours[entry["loop"]], marker="o",
                  markersize=3, alpha=1 if first else 0.5,
                  label=entry["loop"] if first else None)  # fmt: skip
    axes.set(xlabel="step", ylabel="loss on held-out reviews",
             title=f"{result['experiment']}: a line a seed")  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
