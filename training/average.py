"""An exponential moving average of a model's weights (Polyak & Juditsky 1992), for evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """`tensors` are the averaged parameters by name, on the model's device."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After optimiser step `step`, from 0: early steps weigh less, as long as few are there."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in model.named_parameters():
            self.tensors[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged parameters while this lasts."""
        own = {name: p.detach().clone() for name, p in model.named_parameters()}
        self._put(model, self.tensors)
        try:
            yield
        finally:
            self._put(model, own)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors`, those of a saved state."""
        with torch.no_grad():
            for name, tensor in tensors.items():
                self.tensors[name].copy_(tensor)

    @torch.no_grad()
    def _put(self, model: nn.Module, tensors: dict[str, Tensor]) -> None:
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[name])
