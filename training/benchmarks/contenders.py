"""What the benchmarks of training compare: our loop with some levers on, and the reference's own.

One model, drawn alike for every contender of an experiment.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW

from models import registry
from models.classifier import Classifier
from training.benchmarks.reference_loop import ReferenceLoop, TorchsOwn
from training.config import load_experiment
from training.data import ReviewData
from training.loop import Trainer, make_optimizer
from training.progress import Progress
from training.run import RECURRENT, model_arguments
from training.settings import Config

LEVERS = {
    "buckets": "batches of like length, padded to their longest",
    "bf16": "autocast to bfloat16",
    "fused": "fused AdamW",
    "row-wise": "AdamW on the table's rows in use",
    "compile": "torch.compile, which draws dropout masks in its own way, with or without masks",
    "prefetch": "batches built by a worker process",
    "masks": "dropout masks drawn four elements at a time",
    "recurrence": "the GRU's backward pass written by hand",
}
# A GRU runs in its weights' precision on a CPU: bf16 would touch only what is around it.
TOGETHER = {("cpu", "recurrent"): ("buckets", "fused", "masks", "recurrence"),
            ("cpu", "other"): ("buckets", "bf16", "fused", "masks"),
            ("cuda", "recurrent"): ("buckets", "bf16", "fused"),
            ("cuda", "other"): ("buckets", "bf16", "fused")}  # fmt: skip
ON_CPUS = {"masks", "recurrence"}
"""Levers that change nothing on a GPU: there PyTorch's own dropout and GRU run."""


class Autocast(nn.Module):
    """What Accelerate makes of a model under `mixed_precision=bf16`: it allows one precision a
    process, and here several take turns in one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, 2) in float32."""
        with torch.autocast(input_ids.device.type, torch.bfloat16):
            logits: Tensor = self.model(input_ids, attention_mask)
        return logits.float()


def resolve(name: str, given: argparse.Namespace) -> Config:
    """The experiment with the benchmark's data, batch and constant learning rate."""
    settings = [f"data.sources=[{given.data}]", f"data.limit_train={given.reviews}",
                "data.text=title+content", "data.max_length=256",
                f"train.batch_size={given.batch}", f"train.micro_batch_size={given.batch}",
                "train.epochs=1000", "train.schedule=constant", "train.warmup_fraction=0",
                "train.max_gradient_norm=null", "train.tracker=none"]  # fmt: skip
    settings.append(f"data.tokenizer={given.tokenizer or 'null'}")
    config = load_experiment(name, settings)
    if config.model.arguments.get("reads_padding"):
        config.model.arguments["reads_padding"] = False
    return config


def together(config: Config, device: torch.device) -> frozenset[str]:
    """The levers that are recommended for this model on this device."""
    recurrent = config.model.architecture in RECURRENT
    return frozenset(TOGETHER[device.type, "recurrent" if recurrent else "other"])


def useless(config: Config, device: torch.device) -> set[str]:
    """The levers that cannot change this model on this device, or may not be had with it."""
    architecture = config.model.architecture
    found = {"compile"} if architecture in RECURRENT else {"recurrence"}
    if architecture == "custom-gru":
        found.add("recurrence")  # it has no other
    return found | ON_CPUS if device.type == "cuda" else found


def combinations(levers: list[str], together: frozenset[str]) -> dict[str, frozenset[str]]:
    """Which levers are on in each of our contenders."""
    alone = {f"{lever} alone": frozenset({lever}) for lever in levers}
    without = {f"together, no {lever}": together - {lever} for lever in levers if lever in together}
    added = {f"together and {x}": together | {x} for x in levers if x not in together}
    ours = {"no levers": frozenset[str](), "together": together}
    return ours | alone | without | added if levers else {"together": together}


def precision(config: Config, levers: frozenset[str], device: torch.device) -> str:
    """That of most of a contender's products."""
    recurrent, cuda = config.model.architecture in RECURRENT, device.type == "cuda"
    if recurrent and (not cuda or config.model.architecture == "custom-gru"):
        return "float32"  # the weights' own, under autocast too
    if "bf16" in levers:
        return "bfloat16"
    return "tf32" if recurrent else "float32"  # cuDNN's default for a GRU; else torch's


def make_trainer(
    config: Config, data: ReviewData, accelerator: Accelerator, levers: frozenset[str]
) -> Trainer:
    """Our loop with these levers on, on a model that every contender draws alike."""
    config = with_levers(config, levers)
    model = fresh_model(config, data).to(accelerator.device).train()
    runs: Any = torch.compile(model, dynamic=True) if "compile" in levers else model
    runs = TorchsOwn(runs, dropout="masks" not in levers, gru="recurrence" not in levers)
    runs = Autocast(runs) if "bf16" in levers else runs
    if "fused" in levers:
        optimizer = make_optimizer(config, model)
    else:
        optimizer = AdamW(model.parameters(), lr=config.train.learning_rate, eps=1e-8,
                          weight_decay=config.train.weight_decay)  # fmt: skip
    output = Path(tempfile.gettempdir()) / "throughput"  # of a history that is never written
    return Trainer(config, runs, model, optimizer, accelerator, data.train, data.validation, output,
                   Progress(False), lambda state: None)  # fmt: skip


def with_levers(config: Config, levers: frozenset[str]) -> Config:
    """The same configuration with these levers."""
    buckets = "buckets" in levers
    train = replace(
        config.train, bucketed=buckets, padding="longest" if buckets else "max",
        row_wise_embeddings="row-wise" in levers, loader_workers=int("prefetch" in levers),
    )  # fmt: skip
    return replace(config, train=train)


def reference_loop(config: Config, data: ReviewData, device: torch.device) -> ReferenceLoop:
    """The reference's loop over the experiment's model, on this device, and reviews."""
    c = config.train
    return ReferenceLoop(
        fresh_model(config, data).to(device), list(data.train.texts()), data.train.labels.tolist(),
        data.tokenizer, batch_size=c.batch_size, learning_rate=c.learning_rate,
        weight_decay=c.weight_decay, max_length=config.data.max_length, seed=c.seed,
    )  # fmt: skip


def fresh_model(config: Config, data: ReviewData) -> Classifier:
    """The experiment's model on the CPU, the same weights at every call."""
    torch.manual_seed(config.train.seed)
    return registry.build(config.model.architecture, **model_arguments(config, data))
