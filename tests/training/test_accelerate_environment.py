"""Variables that `accelerate launch` sets, and what a run makes of them."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from training import launch
from training.config import load_experiment
from training.run import make_accelerator


def test_gradients_are_not_divided_by_accelerates_accumulation_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = make_accelerator(load_experiment("demo"), tmp_path)
    weight = torch.ones(1, requires_grad=True, device=accelerator.device)
    accelerator.backward((3 * weight).sum())
    assert weight.grad.item() == 3
    said = launch.ignored_accumulation()
    assert said and "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4 is left aside" in said


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "--dynamo_backend.*train.compile=true"),
        ("ACCELERATE_USE_FSDP", "true", "FSDP.*does not shard.*MULTI_CPU"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed.*does not shard"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM.*does not shard"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "does not shard"),
    ],
)
def test_a_launch_that_compiles_or_shards_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message) as caught:
        make_accelerator(load_experiment("demo"), tmp_path)
    assert f"{name}={value}" in str(caught.value) and "\n" not in str(caught.value)


def test_what_the_launcher_sets_by_default_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    launch.check_environment()
    assert launch.ignored_accumulation() is None


@pytest.mark.parametrize("kind", list(DistributedType))
def test_only_whole_models_are_trained(kind: DistributedType, monkeypatch) -> None:
    accelerator = Accelerator(cpu=True)
    monkeypatch.setattr(Accelerator, "distributed_type", kind)
    if kind.value in ("NO", "MULTI_CPU", "MULTI_GPU"):
        launch.check_processes(accelerator)
    else:
        with pytest.raises(ValueError, match=f"distributed_type {kind.value}: .*does not shard"):
            launch.check_processes(accelerator)
