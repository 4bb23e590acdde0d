"""The head on a backbone's feature."""

import torch
import torch.nn as nn
from torch import Tensor

from models.classifier import Classifier


class MeanId(nn.Module):
    """A backbone whose feature is the mean real id, twice."""

    def feature(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(inputs) if mask is None else mask
        mean = (inputs * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return mean.expand(-1, 2)


def test_logits_are_the_head_on_the_feature() -> None:
    model = Classifier(MeanId(), feature_size=2, num_labels=3)
    logits = model(torch.tensor([[2, 4, 9]]), torch.tensor([[1, 1, 0]]))
    assert torch.equal(logits, model.head(torch.tensor([[3.0, 3.0]])))
    assert torch.equal(model(torch.tensor([[2, 4]])), logits)


def test_dropout_is_on_the_feature_in_training_only() -> None:
    torch.manual_seed(0)
    model = Classifier(MeanId(), feature_size=2, dropout=0.5)
    batch = torch.full((64, 1), 3), torch.ones(64, 1)
    assert len(model(*batch).unique(dim=0)) == 4  # either, both or neither feature dropped
    assert len(model.eval()(*batch).unique(dim=0)) == 1
