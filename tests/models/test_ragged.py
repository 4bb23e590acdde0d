"""Reversal, final states and masked softmax against Python loops."""

import torch

from models.ragged import lengths_of, masked_softmax, reorder, reversal, state_at_end, zero_padding

LENGTHS = [4, 1, 0, 6]
STEPS = 6
MASK = torch.tensor([[1] * length + [0] * (STEPS - length) for length in LENGTHS])


def test_lengths_of_any_kind_of_mask() -> None:
    for dtype in (torch.int64, torch.bool, torch.float32):
        assert lengths_of(MASK.to(dtype)).tolist() == LENGTHS


def test_reversal_turns_real_tokens_and_leaves_padding() -> None:
    assert reversal(torch.tensor(LENGTHS), STEPS).tolist() == [
        [3, 2, 1, 0, 4, 5],
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
        [5, 4, 3, 2, 1, 0],
    ]


def test_reordering_twice_gives_back_the_sequence() -> None:
    sequence = torch.randn(4, STEPS, 3)
    index = reversal(torch.tensor(LENGTHS), STEPS)
    once = reorder(sequence, index)
    for row, length in enumerate(LENGTHS):
        assert torch.equal(once[row, :length], sequence[row, :length].flip(0))
        assert torch.equal(once[row, length:], sequence[row, length:])
    assert torch.equal(reorder(once, index), sequence)


def test_state_at_end_is_the_last_real_output_or_the_initial_state() -> None:
    outputs, initial = torch.randn(4, STEPS, 3), torch.randn(4, 3)
    states = state_at_end(outputs, initial, torch.tensor(LENGTHS))
    for row, length in enumerate(LENGTHS):
        assert torch.equal(states[row], outputs[row, length - 1] if length else initial[row])


def test_zero_padding_clears_what_the_mask_hides_even_nan() -> None:
    sequence = torch.full((4, STEPS, 2), float("nan"))
    sequence[MASK.bool()] = 1.0
    assert torch.equal(zero_padding(sequence, MASK), MASK.unsqueeze(2).expand(-1, -1, 2).float())


def test_masked_softmax_is_the_softmax_of_the_real_entries_alone() -> None:
    # Scores far apart: a fill of moderate size would let padding in.
    scores = torch.randn(4, STEPS, dtype=torch.float64) * 1e5
    weights = masked_softmax(scores, MASK, dim=1)
    for row, length in enumerate(LENGTHS):
        if length:
            expected = scores[row, :length].softmax(0)
            torch.testing.assert_close(weights[row, :length], expected, rtol=0, atol=1e-15)
        assert torch.equal(weights[row, length:], torch.zeros_like(weights[row, length:]))


def test_masked_softmax_has_no_nan_in_any_precision_forward_or_backward() -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        scores = torch.randn(4, STEPS).to(dtype).requires_grad_()
        weights = masked_softmax(scores, MASK, dim=1)
        (weights * torch.arange(STEPS)).sum().backward()
        assert torch.isfinite(weights).all()
        assert scores.grad is not None
        assert torch.isfinite(scores.grad).all()
        assert torch.equal(scores.grad[2], torch.zeros(STEPS, dtype=dtype))  # length zero
