"""The loop that the reference trains by, as a baseline to hold ours against.

Every batch is tokenised in the collate function and padded to 256 tokens, computed in float32, and
stepped by a plain AdamW; the loss is read after every step. The model, and so the sums, are those
of our loop: only the way there differs. B batch, T = 256.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader


class ReferenceLoop:
    """Trains `model` on reviews, batch after batch, epoch after epoch."""

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
        input_ids, mask, labels = next(self._batches)
        loss = F.cross_entropy(self.model(input_ids, mask), labels)
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
