"""What happens at which step: the order of the reviews, the learning rate, the validations.

All of it is a function of the configuration and the step, so that a resumed run needs no memory.
"""

import math

import numpy as np
from numpy.typing import NDArray

from training.batches import epoch_plan
from training.settings import TrainConfig


class Schedule:
    """The plan of a whole run over reviews of `lengths (N,)`."""

    def __init__(self, config: TrainConfig, lengths: NDArray[np.integer]) -> None:
        self.config = config
        self.lengths = lengths
        self.steps_per_epoch = math.ceil(len(lengths) / config.batch_size)
        planned = self.steps_per_epoch * config.epochs
        self.total_steps = min(planned, config.max_steps or planned)
        self.validation_steps = self._validation_steps()
        self._epoch = -1
        self._plan: list[NDArray[np.int64]] = []

    def rows(self, step: int) -> NDArray[np.integer]:
        """Row indices of the global batch of this step."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            c = self.config
            self._plan = epoch_plan(self.lengths, c.batch_size, c.seed, epoch, c.bucketed)
            self._epoch = epoch
        return self._plan[position]

    def epoch(self, step: int) -> float:
        """Epochs done after `step` steps."""
        return step / self.steps_per_epoch

    def reviews(self, step: int) -> int:
        """Reviews seen after `step` steps: the last batch of an epoch may be a short one."""
        epochs, position = divmod(step, self.steps_per_epoch)
        of_this_epoch = min(position * self.config.batch_size, len(self.lengths))
        return epochs * len(self.lengths) + of_this_epoch

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then constant, or falling to 0 linearly or as half a cosine."""
        warmup = round(self.config.warmup_fraction * self.total_steps)
        peak = self.config.learning_rate
        if step < warmup:
            return peak * (step + 1) / warmup
        share = (step - warmup) / max(1, self.total_steps - warmup)
        match self.config.schedule:
            case "constant":
                return peak
            case "linear":
                return peak * (1 - share)
            case "cosine":
                return peak * 0.5 * (1 + math.cos(math.pi * share))

    def _validation_steps(self) -> frozenset[int]:
        interval = self.steps_per_epoch / self.config.evaluations_per_epoch
        count = math.ceil(self.total_steps / interval)
        steps = {round(interval * i) for i in range(1, count + 1)}
        return frozenset({s for s in steps if 0 < s <= self.total_steps} | {self.total_steps})
