"""Losses against scipy."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch import nn

from training.batches import Batch
from training.objective import Objective, known_labels

B, T = 5, 7


class Linear(nn.Module):
    """Logits that depend on every id."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(100, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return (self.table(input_ids) * attention_mask[..., None]).sum(1)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    lengths = torch.tensor([7, 3, 2, 5, 4])
    mask = (torch.arange(T) < lengths[:, None]).long()
    ids = torch.randint(5, 100, (B, T)) * mask
    return Batch(ids, mask, torch.tensor([0, 1, 1, -1, -1]), torch.randn(B, 2))


def test_without_a_teacher_it_is_cross_entropy(batch: Batch) -> None:
    labelled = Batch(batch.input_ids[:3], batch.attention_mask[:3], batch.labels[:3])
    logits, losses = Objective()(Linear(), labelled)
    wanted = -log_softmax(logits.detach().numpy(), axis=1)[range(3), labelled.labels]
    np.testing.assert_allclose(losses.detach(), wanted, rtol=1e-6)


@pytest.mark.parametrize(("share", "temperature"), [(0.0, 1.0), (0.3, 2.0), (1.0, 4.0)])
def test_a_label_and_a_teacher_share_the_loss_and_no_label_leaves_it_to_the_teacher(
    batch: Batch, share: float, temperature: float
) -> None:
    objective = Objective(teacher_share=share, temperature=temperature)
    logits, losses = objective(Linear(), batch)
    own, taught = logits.detach().double().numpy(), batch.teacher.double().numpy()
    divergence = rel_entr(softmax(taught / temperature, 1), softmax(own / temperature, 1)).sum(1)
    soft = temperature**2 * divergence
    hard = -log_softmax(own, axis=1)[range(B), batch.labels.clamp(min=0)]
    weight = np.where(batch.labels.numpy() >= 0, share, 1.0)
    np.testing.assert_allclose(losses.detach(), weight * soft + (1 - weight) * hard, rtol=2e-5)


def test_the_teachers_gradient_keeps_its_size_at_any_temperature() -> None:
    # for logits near zero, Hinton et al., equation 4: the gradient is (student - teacher) / 2 here
    student = torch.tensor([[0.02, -0.02]], requires_grad=True)
    teacher = torch.tensor([[-0.01, 0.01]])
    one = torch.ones(1, 1, dtype=torch.int64)
    for temperature in (1.0, 10.0):
        batch = Batch(one, one, torch.tensor([-1]), teacher)
        _, losses = Objective(temperature=temperature)(lambda *_: student, batch)
        (gradient,) = torch.autograd.grad(losses.sum(), student)
        torch.testing.assert_close(gradient, (student - teacher).detach() / 2, rtol=1e-3, atol=0)


def test_accuracy_counts_the_teachers_word_where_there_is_no_label(batch: Batch) -> None:
    assert torch.equal(known_labels(batch)[:3], batch.labels[:3])
    assert torch.equal(known_labels(batch)[3:], batch.teacher[3:].argmax(-1))
