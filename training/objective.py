"""What a step minimises: cross-entropy with the labels, with a teacher's probabilities, or both.

B reviews, C classes. Distillation: Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.batches import Batch
from training.settings import Config


@dataclass(frozen=True)
class Objective:
    """Losses of a batch; without a teacher, cross-entropy."""

    teacher_share: float = 0.0
    temperature: float = 1.0

    @classmethod
    def of(cls, config: Config) -> "Objective":
        """The configuration's; the teacher's share is 0 where none is named."""
        distill = config.distill
        share = distill.share if distill.teacher is not None else 0.0
        return cls(share, distill.temperature)

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, C) and losses (B,)."""
        logits = model(batch.input_ids, batch.attention_mask).float()  # (B, C)
        return logits, self._losses(logits, batch)

    def _losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """(B,). A review without a label, which is -1, has the teacher's word alone."""
        if batch.teacher is None:
            return F.cross_entropy(logits, batch.labels, reduction="none")
        labelled = batch.labels >= 0  # (B,)
        hard = F.cross_entropy(logits, batch.labels.clamp(min=0), reduction="none")
        t = self.temperature
        wanted = (batch.teacher / t).log_softmax(-1)  # (B, C)
        given = (logits / t).log_softmax(-1)  # (B, C)
        # t² keeps the gradient's size whatever the temperature (Hinton et al., section 2)
        soft = t * t * F.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)  # (B,)
        share = torch.where(labelled, self.teacher_share, 1.0)
        return share * soft + (1 - share) * hard


def known_labels(batch: Batch) -> Tensor:
    """Labels (B,), and the teacher's where there is none: what the train accuracy counts."""
    if batch.teacher is None:
        return batch.labels
    return torch.where(batch.labels >= 0, batch.labels, batch.teacher.argmax(-1))
