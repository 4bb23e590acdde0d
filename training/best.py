"""The best checkpoint of a run: taken back, calibrated, and tested."""

from typing import Any

import torch
from accelerate.utils import broadcast, broadcast_object_list

from models import bundle
from training.calibration import fit_temperature, fold_temperature
from training.data import ReviewData
from training.evaluation import predict, write_predictions
from training.loop import Trainer
from training.metrics import evaluate_logits


def measure_best(trainer: Trainer, data: ReviewData) -> dict[str, Any]:
    """Validation and tests of the best checkpoint; its predictions go to `predictions/`."""
    accelerator, config, best = trainer.accelerator, trainer.config, trainer.bare
    if accelerator.is_main_process:
        best.load_state_dict(bundle.load(trainer.output / "best").model.state_dict())
    with torch.no_grad():
        for tensor in best.state_dict().values():
            tensor.copy_(broadcast(tensor))  # the other processes need not see the main one's disk
    measured: dict[str, Any] = {"tests": {}}
    if config.train.calibrate:
        measured["calibration"] = _calibrate(trainer, data)
    for name, table in {"validation": data.validation, **data.tests}.items():
        logits = predict(trainer.model, table, accelerator, config, trainer.progress, name)
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


def _calibrate(trainer: Trainer, data: ReviewData) -> dict[str, Any]:
    """Fold into the best checkpoint the temperature that fits the validation split.

    A checkpoint that a run folded before it was killed says so, and is left as it is.
    """
    accelerator, config, best = trainer.accelerator, trainer.config, trainer.bare
    folder = trainer.output / "best"
    done: list[float | None] = [None]
    if accelerator.is_main_process:
        done = [bundle.load(folder).metrics.get("temperature")]
    broadcast_object_list(done)
    if done[0] is not None:
        return {"temperature": done[0]}
    logits = predict(trainer.model, data.validation, accelerator, config, trainer.progress,
                     "validation")  # fmt: skip
    temperature = fit_temperature(logits, data.validation.labels)
    fold_temperature(best, temperature)
    if accelerator.is_main_process:
        stored = bundle.load(folder)
        fold_temperature(stored.model, temperature)
        stored.metrics["temperature"] = temperature
        bundle.save(stored, folder)
    trainer.progress.say(f"calibrated: logits divided by {temperature:.3f}")
    return {"temperature": temperature}
