"""The moving average of weights, against its definition."""

import pytest
import torch
from torch import nn

from training.average import Average


def test_it_is_the_exponential_average_with_a_warm_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    values = [3.0, -1.0, 4.0, 1.0]
    with torch.no_grad():
        model.weight.fill_(2.0)
    average = Average(model, decay=0.15)
    wanted = 2.0
    for step, value in enumerate(values):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(model, step)
        decay = min(0.15, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * value
    assert average.tensors["weight"].item() == pytest.approx(wanted)


def test_the_weights_come_back_after_an_evaluation_even_when_it_fails() -> None:
    model = nn.Linear(3, 2)
    average = Average(model, 0.5)
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    after = model.weight.detach().clone()
    with pytest.raises(RuntimeError), average.in_place(model):
        assert torch.equal(model.weight, before)
        raise RuntimeError
    assert torch.equal(model.weight, after)
