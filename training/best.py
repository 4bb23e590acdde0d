"""The best checkpoint of a run: taken back, calibrated, and tested."""

from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast, broadcast_object_list
from numpy.typing import NDArray

from models import bundle
from training.calibration import fit_temperature, fold_temperature
from training.data import ReviewData
from training.evaluation import predict, write_predictions
from training.loop import Trainer
from training.metrics import evaluate_logits


def measure_best(trainer: Trainer, data: ReviewData) -> dict[str, Any]:
    """Validation and tests of the best checkpoint; its predictions go to `predictions/`."""
    accelerator, config, best = trainer.accelerator, trainer.config, trainer.bare
    stored = bundle.load(trainer.output / "best") if accelerator.is_main_process else None
    if stored:
        best.load_state_dict(stored.model.state_dict())
    with torch.no_grad():
        for tensor in best.state_dict().values():
            tensor.copy_(broadcast(tensor))  # the other processes need not see the main one's disk
    measured: dict[str, Any] = {"tests": {}}
    for name, table in {"validation": data.validation, **data.tests}.items():
        logits = predict(trainer.model, table, accelerator, config, trainer.progress, name)
        if name == "validation" and config.train.calibrate:
            temperature, logits = _calibrated(trainer, stored, logits, table.labels)
            measured["calibration"] = {"temperature": temperature}
        metrics = evaluate_logits(logits, table.labels)
        if accelerator.is_main_process:
            path = trainer.output / "predictions" / f"{name}.parquet"
            write_predictions(path, table.labels, logits)
        if name == "validation":
            measured[name] = metrics.as_dict()
        else:
            measured["tests"][name] = metrics.as_dict()
        trainer.progress.say(f"best checkpoint on {name}: {metrics.summary()}")
    return measured


def _calibrated(
    trainer: Trainer,
    stored: bundle.Bundle | None,
    logits: NDArray[np.float32],
    labels: NDArray[np.integer],
) -> tuple[float, NDArray[np.float32]]:
    """The temperature that fits the validation split, folded into the best checkpoint, and the
    split's `logits` (N, C) as they are from then on.

    `stored` is the bundle on the main process. One that a run folded before it was killed says so,
    and is left as it is.
    """
    known: list[float | None] = [stored.metrics.get("temperature") if stored else None]
    broadcast_object_list(known)
    if known[0] is not None:
        return known[0], logits
    temperature = fit_temperature(logits, labels)
    fold_temperature(trainer.bare, temperature)
    if stored:
        fold_temperature(stored.model, temperature)
        stored.metrics["temperature"] = temperature
        bundle.save(stored, trainer.output / "best")
    trainer.progress.say(f"calibrated: logits divided by {temperature:.3f}")
    return temperature, logits / temperature
