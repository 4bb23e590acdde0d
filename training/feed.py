"""The micro-batches of each step, in the schedule's order, on the device that trains.

N reviews in all, C classes.
"""

from collections.abc import Iterator

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from training.batches import Batch, collate
from training.data import TokenTable
from training.schedule import Schedule
from training.settings import Config


def feed(
    schedule: Schedule,
    table: TokenTable,
    teacher: NDArray[np.float32] | None,
    config: Config,
    accelerator: Accelerator,
    first: int,
) -> Iterator[list[Batch]]:
    """This process's micro-batches of each step from `first` on.

    Args:
        teacher: a teacher's logits (N, C) for the table's reviews.
    """
    dataset = _MicroBatches(
        schedule,
        table,
        config,
        accelerator.process_index,
        accelerator.num_processes,
        first,
        teacher,
    )
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=config.train.loader_workers,
        collate_fn=_as_it_is,
        pin_memory=accelerator.device.type == "cuda",
    )
    for micro in loader:
        yield [batch.to(accelerator.device) for batch in micro]


class _MicroBatches(Dataset[list[Batch]]):
    """Item k: this process's micro-batches of the k-th step from `first` on."""

    def __init__(
        self,
        schedule: Schedule,
        table: TokenTable,
        config: Config,
        rank: int,
        world: int,
        first: int,
        teacher: NDArray[np.float32] | None,
    ) -> None:
        self.schedule, self.table, self.config = schedule, table, config
        self.teacher = teacher
        self.rank, self.world, self.first = rank, world, first

    def __len__(self) -> int:
        return self.schedule.total_steps - self.first

    def __getitem__(self, item: int) -> list[Batch]:
        rows = self.schedule.rows(self.first + item)
        padding, size = self.config.train.padding, self.config.train.micro_batch_size
        return [
            collate(self.table, part, padding, self.config.data.max_length, self.teacher)
            for part in micro_batches(rows, self.rank, self.world, size)
        ]


def micro_batches(
    rows: NDArray[np.integer], rank: int, world: int, size: int
) -> list[NDArray[np.integer]]:
    """This process's share of a global batch, cut to `size`; as many parts on every process.

    A process whose share of a short last batch is smaller gets empty parts, for which it still
    takes part in the gradient's all-reduce.
    """
    largest_share = -(-len(rows) // world)
    count = -(-largest_share // size)
    own = rows[rank::world]
    return [own[i * size : (i + 1) * size] for i in range(count)]


def _as_it_is(micro: list[Batch]) -> list[Batch]:
    """A named function, since a worker process that is spawned cannot be handed a lambda."""
    return micro
