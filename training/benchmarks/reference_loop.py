"""The loop that the reference trains by, as a baseline to hold ours against.

Every batch is tokenised in the collate function and padded to 256 tokens, computed in float32, and
stepped by a plain AdamW; the loss is read after every step. The model, and so the sums, are those
of our loop: only the way there differs, with PyTorch's own dropout and GRU. B batch, T = 256.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader


class TorchsOwn(nn.Module):
    """A model whose dropout and GRUs are computed by PyTorch's own functions, where asked."""

    def __init__(self, model: nn.Module, dropout: bool = True, gru: bool = True) -> None:
        super().__init__()
        self.model = model
        self.parts: dict[str, Any] = {}
        if dropout:
            self.parts["models.dropout.dropout"] = F.dropout
            self.parts["models.encoder_decoder.dropout"] = F.dropout
        if gru:
            self.parts["models.torchs_gru.recurrence_trains_faster"] = lambda *_: False

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (B, 2)."""
        with ExitStack() as patches:
            for name, part in self.parts.items():
                patches.enter_context(patch(name, part))
            logits: Tensor = self.model(input_ids, attention_mask)
        return logits


class ReferenceLoop:
    """Trains `model`, where it is, on reviews, batch after batch, epoch after epoch."""

    def __init__(
        self,
        model: nn.Module,
        texts: Sequence[str],
        labels: Sequence[int],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        max_length: int,
        seed: int = 0,
    ) -> None:
        self.model = model.train()
        self.device = next(model.parameters()).device
        self.runs = TorchsOwn(model)
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding(pad_id=0, length=max_length)
        self.optimizer = AdamW(
            model.parameters(), lr=learning_rate, eps=1e-8, weight_decay=weight_decay
        )
        self.loader: DataLoader[Any] = DataLoader(
            list(zip(texts, labels, strict=True)),  # type: ignore[arg-type]
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            collate_fn=self._collate,
            generator=torch.Generator().manual_seed(seed),
        )
        self._batches = self._forever()

    def step(self) -> float:
        """One optimiser step; its loss."""
        input_ids, mask, labels = (each.to(self.device) for each in next(self._batches))
        loss = F.cross_entropy(self.runs(input_ids, mask), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _collate(self, reviews: list[tuple[str, int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids (B, T), mask (B, T), labels (B,)."""
        encodings = self.tokenizer.encode_batch([text for text, _ in reviews])
        return (
            torch.tensor([encoding.ids for encoding in encodings]),
            torch.tensor([encoding.attention_mask for encoding in encodings]),
            torch.tensor([label for _, label in reviews]),
        )

    def _forever(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        while True:
            yield from self.loader
