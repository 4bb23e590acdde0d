"""Pooling against Python loops over each review's real steps."""

import pytest
import torch

from models.pooling import POOLINGS, check_pooling, pool

LENGTHS = [4, 1, 5]


@pytest.mark.parametrize("how", POOLINGS)
def test_only_real_steps_are_pooled(how: str) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(3, 5, 2, dtype=torch.float64) - 3  # below 0, where a zero would win
    mask = torch.tensor([[1] * length + [0] * (5 - length) for length in LENGTHS])
    pooled = pool(outputs, mask, how)
    for row, length in enumerate(LENGTHS):
        real = outputs[row, :length]
        expected = {"first": real[0], "mean": real.mean(0), "max": real.max(0).values}[how]
        # float64 sums in another order.
        torch.testing.assert_close(pooled[row], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("how", POOLINGS)
def test_no_mask_means_all_steps_are_real(how: str) -> None:
    outputs = torch.randn(3, 5, 2, dtype=torch.float64)
    torch.testing.assert_close(
        pool(outputs, None, how), pool(outputs, torch.ones(3, 5), how), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("how", ["mean", "max"])
def test_a_review_of_length_zero_pools_to_zeros_with_zero_gradients(how: str) -> None:
    outputs = torch.randn(1, 5, 2, requires_grad=True)
    pooled = pool(outputs, torch.zeros(1, 5), how)
    pooled.sum().backward()
    assert torch.equal(pooled, torch.zeros(1, 2))
    assert outputs.grad is not None
    assert torch.equal(outputs.grad, torch.zeros_like(outputs))


def test_an_unknown_pooling_names_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="pooling: got 'average'; allowed are first, mean, max"):
        check_pooling("average")
