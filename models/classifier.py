"""A backbone and a linear head. B batch, T steps, D feature size."""

import torch.nn as nn
from torch import Tensor

from models.dropout import Dropout


class Classifier(nn.Module):
    """Logits from one feature vector a review.

    The backbone's `feature(input_ids, attention_mask)` makes that vector, (B, D); padding on the
    right must not change it. `dropout` is on the feature; the backbones have their own inside.
    """

    def __init__(
        self, backbone: nn.Module, feature_size: int, num_labels: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(feature_size, num_labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """`input_ids` (B, T) int64, `attention_mask` (B, T), 1 = real -> logits (B, num_labels)."""
        feature = self.backbone.feature(input_ids, attention_mask)  # type: ignore[operator]
        return self.head(self.dropout(feature))  # (B, D) -> (B, num_labels)
