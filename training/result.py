"""What `result.json` says of a run beside its tests."""

from typing import Any

import torch
from torch import nn

from training.data import ReviewData
from training.loop import Trainer
from training.measure import device_name
from training.settings import Config


def describe(
    config: Config, trainer: Trainer, data: ReviewData, model: nn.Module, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Everything of the result that is no test."""
    state, schedule, train = trainer.state, trainer.schedule, config.train
    samples = trainer.history.column("train", "memory_bytes")
    seconds = max(state.train_seconds, 1e-9)
    return common(config, data) | {
        "architecture": config.model.architecture,
        "arguments": arguments,
        "parameters": count_parameters(model),
        "best": {
            "step": state.best_step,
            "epoch": schedule.epoch(state.best_step),
            "accuracy": state.best_accuracy,
            "loss": state.best_loss,
        },
        "time": {
            "train_seconds": state.train_seconds,
            "train_cpu_seconds": state.train_cpu_seconds,
            "evaluation_seconds": state.evaluation_seconds,
            "data_seconds": state.data_seconds,
            "teacher_seconds": state.teacher_seconds,
        },
        "throughput": {
            "reviews_per_second": state.train_reviews / seconds,
            "tokens_per_second": state.train_tokens / seconds,
        },
        "memory": trainer.memory.describe(samples, state.peak_bytes),
        "training": {
            "epochs": schedule.epoch(state.step),
            "steps": state.step,
            "batch_size": train.batch_size,
            "learning_rate": train.learning_rate,
            "schedule": train.schedule,
            "warmup_fraction": train.warmup_fraction,
            "weight_decay": train.weight_decay,
            "max_gradient_norm": train.max_gradient_norm,
            "bucketed": train.bucketed,
            "max_length": config.data.max_length,
            "padding": train.padding,
            "mixed_precision": trainer.accelerator.mixed_precision,
            "seed": train.seed,
            "stopped": state.stopped,
        },
        "machine": {
            "device": device_name(trainer.accelerator.device),
            "processes": trainer.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    }


def common(config: Config, data: ReviewData) -> dict[str, Any]:
    """What every result says of the experiment and its data, whatever was trained."""
    return {
        "schema_version": 1,
        "experiment": config.experiment,
        "number": config.number,
        "variant": config.variant,
        "title": config.title,
        "data": {
            "train_reviews": len(data.train),
            "validation_reviews": len(data.validation),
            "sources": config.data.sources,
            "extra_tests": config.data.tests,
            "seed": config.data.seed,
            "limits": [
                config.data.limit_train,
                config.data.limit_validation,
                config.data.limit_test,
            ],
            "text": config.data.text,
            "report": data.report.as_dict(),
        },
    }


def count_parameters(model: nn.Module) -> dict[str, int]:
    """All parameters, those that learn, and those in embedding tables."""
    tables = (nn.Embedding, nn.EmbeddingBag)
    return {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "embedding": sum(m.weight.numel() for m in model.modules() if isinstance(m, tables)),
    }
