"""What Accelerate's environment may ask of a run, and what is refused."""

import os

from accelerate import Accelerator
from accelerate.utils import DistributedType

_SHARDING = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}
_WHOLE = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def check_environment() -> None:
    """Before an accelerator is made, which would follow these variables.

    Raises:
        ValueError: it would compile or shard the model; one line.
    """
    backend = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if backend.lower() != "no":
        raise ValueError(
            f"ACCELERATE_DYNAMO_BACKEND={backend} (accelerate's --dynamo_backend): compiling is a "
            "setting here, which refuses what it cannot do; set it to no, and --set "
            "train.compile=true"
        )
    for name, what in _SHARDING.items():
        if os.environ.get(name, "false").lower() == "true":
            raise _unsharded(f"{name}=true ({what})")


def check_processes(accelerator: Accelerator) -> None:
    """Every process there is takes part, and each holds the whole model.

    Raises:
        ValueError: processes that do not know of one another, or another kind of distribution.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != world:
        raise ValueError(
            f"WORLD_SIZE={world}, but Accelerate found {accelerator.num_processes} process(es), "
            "each of which would train a model of its own; use accelerate launch or torchrun"
        )
    if accelerator.distributed_type not in _WHOLE:
        raise _unsharded(f"distributed_type {accelerator.distributed_type.value}")


def ignored_accumulation() -> str | None:
    """What to say where Accelerate is told to accumulate gradients: it would divide the loss."""
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps == "1":
        return None
    return (
        f"ACCELERATE_GRADIENT_ACCUMULATION_STEPS={steps} is left aside: an optimiser step takes "
        "train.batch_size reviews, train.micro_batch_size at a time"
    )


def _unsharded(given: str) -> ValueError:
    kinds = ", ".join(kind.value for kind in _WHOLE)
    return ValueError(
        f"{given}: a run saves whole states and does not shard; launch it with distributed_type "
        f"{kinds}, such as accelerate_configs/ has them"
    )
