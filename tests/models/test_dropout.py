"""Dropout against its definition and `F.dropout`'s contract."""

import io

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest, chisquare

from models.dropout import Dropout, dropout

SHAPE = (64, 101, 33)  # not a multiple of four elements


@pytest.mark.parametrize("p", [1e-6, 8e-6, 0.1, 0.5, 0.9, 1 - 2**-16, 1 - 1e-6])
def test_keeps_as_many_of_all_draws_as_p_says(p: float, monkeypatch: pytest.MonkeyPatch) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    monkeypatch.setattr("models.dropout._random_steps", lambda shape: every)
    out = dropout(torch.ones(2**16), p, training=True)
    expected = round((1 - p) * 2**16)
    if 0 < expected < 2**16:
        assert int((out != 0).sum()) == expected
    else:  # PyTorch's own: a few of 65536 at most
        assert abs(int((out != 0).sum()) - expected) < 5


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_zeroes_with_probability_p_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(SHAPE, dtype=dtype), p, training=True)
    assert out.dtype == dtype
    zeros = int((out == 0).sum())
    assert binomtest(zeros, out.numel(), p).pvalue > 1e-4
    kept = out[out != 0].double()
    expected = torch.tensor(1 / (1 - p), dtype=torch.float64)
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(kept, expected.expand_as(kept), rtol=tolerance, atol=0)


def test_elements_of_a_word_are_independent() -> None:
    """Four elements share a 64-bit draw: all sixteen patterns come as often as chance has it."""
    torch.manual_seed(1)
    kept = dropout(torch.ones(400_000), 0.3, training=True).view(-1, 4) != 0
    counts = torch.bincount((kept * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    ones = torch.tensor([bin(pattern).count("1") for pattern in range(16)])
    expected = 0.7**ones * 0.3 ** (4 - ones) * len(kept)
    assert (
        chisquare(counts.numpy(), expected.numpy() * len(kept) / expected.sum().item()).pvalue
        > 1e-4
    )


def test_the_gradient_is_the_mask() -> None:
    x = torch.randn(SHAPE, dtype=torch.float64, requires_grad=True)
    out = dropout(x, 0.2, training=True)
    out.sum().backward()
    torch.testing.assert_close(out, x * x.grad)
    assert set(x.grad.unique().tolist()) == {0.0, 65536 / round(0.8 * 65536)}


def test_a_seed_repeats_it_and_draws_differ() -> None:
    x = torch.ones(10_000)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5, training=True), dropout(x, 0.5, training=True)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5, training=True), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends(p: float) -> None:
    x = torch.randn(5, 7)
    assert torch.equal(dropout(x, p, training=True), F.dropout(x, p))


def test_does_nothing_in_evaluation_nor_to_nothing() -> None:
    x = torch.randn(3, 4)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.5)(torch.empty(0, 4)).shape == (0, 4)
    assert Dropout(0.5)(torch.tensor(1.0)).shape == ()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts_and_compiles() -> None:
    x = torch.ones(10_000)
    scripted = torch.jit.script(Dropout(0.5))
    torch.jit.save(scripted, io.BytesIO())
    compiled = torch.compile(Dropout(0.5), backend="eager", fullgraph=True)
    for made in (scripted, compiled):
        assert 4500 < int((made(x) == 0).sum()) < 5500
        assert torch.equal(made.eval()(x), x)
