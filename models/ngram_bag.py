"""A bag of tokens and n-grams, fastText's classifier (Joulin et al. 2016,
https://arxiv.org/abs/1607.01759), on WordPiece ids.

B batch, T steps, E embedding size.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from models.dropout import Dropout

# fastText's own multiplier; below 2^27, so that with fewer than 2^36 buckets no product leaves
# int64 and the hash is the same in every runtime.
HASH_MULTIPLIER = 116_049_371


class NgramBag(nn.Module):
    """The mean of the embeddings of all tokens and all n-grams up to `max_ngram`.

    N-grams have no vocabulary: each is hashed to one of `buckets` vectors. `dropout` drops whole
    tokens and n-grams.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 16,
        buckets: int = 524_288,
        max_ngram: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.buckets = buckets
        self.multiplier = HASH_MULTIPLIER  # TorchScript reads attributes, not globals
        self.max_ngram = max_ngram
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.ngram_embedding = nn.Embedding(buckets if max_ngram > 1 else 1, embedding_size)
        self.ngram_embedding.weight.requires_grad_(max_ngram > 1)  # else nothing reads it
        self.dropout = Dropout(dropout)
        # As fastText: near zero, so that an n-gram never seen in training says next to nothing.
        for table in (self.embedding, self.ngram_embedding):
            nn.init.uniform_(table.weight, -1 / embedding_size, 1 / embedding_size)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T), mask (B, T) -> feature (B, E); zeros for a review of length zero."""
        dtype = self.embedding.weight.dtype
        steps = inputs.shape[1]
        real = (inputs == inputs if mask is None else mask != 0).to(dtype)  # (B, T)
        # Padded at the end, every n-gram has T starts, so that T may be less than n.
        ids = F.pad(inputs, [0, self.max_ngram - 1])
        exists = F.pad(real, [0, self.max_ngram - 1])

        total = self._weighted_sum(self.embedding(inputs), real)  # (B, E)
        count = real.sum(dim=1, keepdim=True)  # (B, 1)
        hashed = inputs
        present = real
        for shift in range(1, self.max_ngram):
            hashed = (hashed * self.multiplier + ids[:, shift : shift + steps]) % self.buckets
            present = present * exists[:, shift : shift + steps]
            total = total + self._weighted_sum(self.ngram_embedding(hashed), present)
            count = count + present.sum(dim=1, keepdim=True)
        return total / count.clamp(min=1.0)

    def feature(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """What a classifier reads: `forward` itself."""
        return self.forward(inputs, mask)

    def _weighted_sum(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """(B, T, E) and (B, T) -> (B, E), as a product: no second (B, T, E) tensor is made."""
        return (self.dropout(weights).unsqueeze(1) @ vectors).squeeze(1)
