"""The pretrained backbone with parameters, gradients and moments sharded over processes (FSDP).

    python -m training.benchmarks.fsdp --backbone minilm/ --output docs/benchmarks/fsdp.json

Two CPU processes over gloo, by PyTorch's own `fully_shard`, a shard group a layer: Accelerate turns
FSDP on for accelerators only (`AcceleratorState` asks for MULTI_GPU and its like, and on CPUs
quietly wraps in DistributedDataParallel instead). Each process has half of every batch. Recorded
are the losses, beside those of one process with the whole batch, and the bytes that a process keeps
of parameters and moments.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from models import registry
from models.command import command
from models.files import write_whole
from training.benchmarks.scale_out import free_port

SMALL = {"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 128, "vocab_size": 1000}  # fmt: skip
PROCESSES = 2


@command
def main(arguments: list[str] | None = None) -> int:
    """Train one process and two sharded ones, print and write what each saw and kept."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.fsdp",
        description="A BERT backbone sharded over two CPU processes, against one process.",
    )
    parser.add_argument("--backbone", help="folder or hub name; else a small one, freshly drawn")
    parser.add_argument("--batch", type=int, default=8, help="an even number")
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks/fsdp.json"))
    given = parser.parse_args(arguments)
    if given.batch < PROCESSES or given.batch % PROCESSES:
        parser.error(f"--batch {given.batch}: a multiple of {PROCESSES}")
    if "RANK" in os.environ:
        print(json.dumps(train(given)))
        return 0
    own = sys.argv[1:] if arguments is None else arguments
    result: dict[str, Any] = {
        "command": " ".join(["python -m training.benchmarks.fsdp", *own]),
        "one": train(given),
        "sharded": launch(own),
    }
    write_whole(given.output, json.dumps(result, indent=1) + "\n")
    for name in ("one", "sharded"):
        print(f"{name:<8} losses {result[name]['losses']}, "
              f"{result[name]['kept_bytes'] / 2**20:,.1f} MiB kept, "
              f"{result[name]['seconds_a_step']:.2f} s a step")  # fmt: skip
    return 0


def launch(arguments: list[str]) -> dict[str, Any]:
    """Start the processes; what the first one saw.

    Raises:
        RuntimeError: one of them failed.
    """
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
                                "WORLD_SIZE": str(PROCESSES)}  # fmt: skip
    command = [sys.executable, "-m", "training.benchmarks.fsdp", *arguments]
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment | {"RANK": str(rank)}
        )
        for rank in range(PROCESSES)
    ]
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("a process failed; its error stands above")
    answer: dict[str, Any] = json.loads(outputs[0])
    return answer


def train(given: argparse.Namespace) -> dict[str, Any]:
    """A few steps, alone or as one of the processes, on ids drawn at random."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        distributed.init_process_group("gloo")
    torch.manual_seed(0)
    backbone = given.backbone or SMALL
    model = registry.build("bert", backbone=backbone, encoder_dropout=0.0).train()
    if world > 1:
        shard(model)
    optimizer = AdamW(model.parameters(), lr=1e-3)
    losses, began = [], 0.0
    for step in range(given.steps):
        if step == 1:  # the first one allocates
            began = time.perf_counter()
        ids, labels = batch(step, given)
        part = slice(rank, None, world)
        loss = F.cross_entropy(model(ids[part], torch.ones_like(ids[part])), labels[part])
        loss.backward()  # sharded: the mean over the processes, which have as many reviews each
        optimizer.step()
        optimizer.zero_grad()
        shown = loss.detach() / world
        if world > 1:
            distributed.all_reduce(shown)
        losses.append(round(float(shown), 6))
    seconds = (time.perf_counter() - began) / max(1, given.steps - 1)
    kept = kept_bytes(model, optimizer)
    if world > 1:
        distributed.destroy_process_group()
    return {"losses": losses, "kept_bytes": kept, "seconds_a_step": seconds}


def shard(model: nn.Module) -> None:
    """A group for each layer, gathered when its turn comes; the rest is one more."""
    mesh = distributed.init_device_mesh("cpu", (PROCESSES,))
    for layer in model.get_submodule("backbone.encoder.encoder.layer").children():
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def batch(step: int, given: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and labels (B,), the same on every process."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(5, 1000, (given.batch, given.length), generator=generator)
    return ids, torch.randint(0, 2, (given.batch,), generator=generator)


def kept_bytes(model: nn.Module, optimizer: AdamW) -> int:
    """What this process keeps of parameters and moments between steps."""
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return sum(local(tensor).nbytes for tensor in [*model.parameters(), *moments])


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


if __name__ == "__main__":
    raise SystemExit(main())
