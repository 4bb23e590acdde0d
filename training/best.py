"""The best checkpoint of a run: taken back, calibrated, and tested.

The validation split's calibration error and loss in `result.json` are those of the calibrated
model on the very rows that its temperature was fitted on, which `calibration.fitted_on` says: they
flatter it. Those of the tests are on rows that it has not seen.
"""

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
from training.metrics import cross_entropy, evaluate_logits


def measure_best(trainer: Trainer, data: ReviewData) -> dict[str, Any]:
    """Validation and tests of the best checkpoint; its predictions go to `predictions/`.

    `trainer.state.best_loss` is from then on that of the calibrated checkpoint.
    """
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
            measured["calibration"] = {"temperature": temperature, "fitted_on": "validation"}
            trainer.state.best_loss = cross_entropy(logits, table.labels)
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
    logits = logits / temperature
    fold_temperature(trainer.bare, temperature)
    if stored:
        fold_temperature(stored.model, temperature)
        stored.metrics["temperature"] = temperature
        stored.metrics["validation_loss"] = cross_entropy(logits, labels)
        bundle.save(stored, trainer.output / "best")
    trainer.progress.say(
        "calibrated: the validation split asks for no other temperature than 1"
        if temperature == 1
        else f"calibrated: logits divided by {temperature:.3f}"
    )
    return temperature, logits
