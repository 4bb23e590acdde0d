"""Transformer encoder with a class token (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762;
norm placement after Xiong et al. 2020, https://arxiv.org/abs/2002.04745).

B batch, T steps, D = heads · w model width, w width of a head, Q queried steps.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from models.dropout import Dropout
from models.normalization import layer_norm, normalized
from models.pooling import check_pooling, pool
from models.ragged import masked_softmax

MAX_LENGTH = 256  # tokens of a review; the class token takes one position more

Block = Literal["prenorm", "postnorm"]
BLOCKS: tuple[str, ...] = get_args(Block)


class LayerNorm(nn.Module):
    """Layer normalisation over the last dimension (Ba et al. 2016), with the biased variance."""

    def __init__(self, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., hidden_size) -> (..., hidden_size)"""
        if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
            return normalized(inputs, self.weight, self.bias, self.eps)
        return layer_norm(inputs, self.weight, self.bias, self.eps)


class MultiHeadedAttention(nn.Module):
    """Multi-headed self-attention."""

    def __init__(self, head_size: int, num_heads: int, sequence_length: int) -> None:
        super().__init__()
        self.head_size = head_size
        self.num_heads = num_heads
        self.sequence_length = sequence_length
        width = num_heads * head_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def split_heads(self, tensor: Tensor) -> Tensor:
        """(B, T, heads · w) -> (B, heads, T, w), for any w."""
        batch_size, steps, width = tensor.shape
        heads = tensor.reshape(batch_size, steps, self.num_heads, width // self.num_heads)
        return heads.transpose(1, 2)

    def merge_heads(self, tensor: Tensor) -> Tensor:
        """(B, heads, T, w) -> (B, T, heads · w), for any w: the inverse of `split_heads`."""
        batch_size, num_heads, steps, width = tensor.shape
        return tensor.transpose(1, 2).reshape(batch_size, steps, num_heads * width)

    def get_attention_weights(
        self, queries: Tensor, keys: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """softmax(QKᵀ/√w) over the keys that `mask` (B, T) marks as real; padded keys weigh 0.

        `queries` (B, heads, Q, w), `keys` (B, heads, T, w) -> (B, heads, Q, T).
        """
        # Scaled before the product: fewer elements, and float16 products stay in range.
        scores = (queries / math.sqrt(self.head_size)) @ keys.transpose(2, 3)  # (B, heads, Q, T)
        return masked_softmax(scores, None if mask is None else mask[:, None, None, :], dim=3)

    def apply_attention(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """`queries` (B, heads, Q, w), `keys` and `values` (B, heads, T, w), `mask` (B, T) ->
        attended values, heads merged (B, Q, heads · w)."""
        # `get_attention_weights` @ values, without keeping the weights: those of a review over
        # nothing are 0 here too. Differentiable once; twice under
        # `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`.
        real = None if mask is None else (mask != 0)[:, None, None, :]  # (B, 1, 1, T)
        if _products_train_faster(queries):
            attended = attention_by_products(
                queries, keys, values, real, 1 / math.sqrt(self.head_size)
            )
        else:
            attended = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=real, scale=1 / math.sqrt(self.head_size)
            )
        return self.merge_heads(attended)

    def forward(
        self, hidden_states: Tensor, mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """`hidden_states` (B, T, D), `mask` (B, T) -> (B, T, D).

        With `num_queries`, only the first that many steps ask: (B, num_queries, D).
        """
        queries = self.split_heads(self.query(hidden_states[:, :num_queries]))
        keys = self.split_heads(self.key(hidden_states))
        values = self.split_heads(self.value(hidden_states))
        return self.output(self.apply_attention(queries, keys, values, mask))


def _products_train_faster(queries: Tensor) -> bool:
    """On CPUs the backward pass of PyTorch's fused attention in bf16 takes two to three times as
    long as that of two products (docs/speed.md)."""
    if torch.jit.is_scripting() or torch.jit.is_tracing():
        return False
    return queries.requires_grad and queries.is_cpu and queries.dtype == torch.bfloat16


def attention_by_products(
    queries: Tensor, keys: Tensor, values: Tensor, real: Tensor | None, scale: float
) -> Tensor:
    """What `F.scaled_dot_product_attention` makes of them; `real` (B, 1, 1, T) of bool."""
    scores = (queries * scale) @ keys.transpose(2, 3)  # (B, heads, Q, T)
    if real is None:
        return scores.softmax(3) @ values
    # Added, and the empty reviews' zeros put on the result: the backward of a `masked_fill` would
    # walk the scores once more.
    padding = torch.zeros_like(real, dtype=scores.dtype).masked_fill(~real, -1e30)
    attended = (scores + padding).softmax(3) @ values
    return attended.masked_fill(~real.any(3, keepdim=True), 0.0)


def feed_forward(embed_dim: int, hidden_dim: int, dropout: float) -> nn.Sequential:
    """The position-wise network of a block: (..., D) -> (..., D)."""
    return nn.Sequential(
        nn.Linear(embed_dim, hidden_dim),
        nn.GELU(),
        Dropout(dropout),
        nn.Linear(hidden_dim, embed_dim),
        Dropout(dropout),
    )


class PostNormAttentionBlock(nn.Module):
    """Attention and feed-forward, each normalised after its skip connection is added."""

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        num_heads: int,
        sequence_length: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        head_size = _head_size(embed_dim, num_heads)
        self.attn = MultiHeadedAttention(head_size, num_heads, sequence_length)
        self.layer_norm_1 = LayerNorm(embed_dim)
        self.linear = feed_forward(embed_dim, hidden_dim, dropout)
        self.layer_norm_2 = LayerNorm(embed_dim)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """(B, T, D), mask (B, T) -> (B, T, D); with `num_queries`, its first steps only."""
        x = self.layer_norm_1(x[:, :num_queries] + self.attn(x, mask, num_queries))
        return self.layer_norm_2(x + self.linear(x))


class PreNormAttentionBlock(nn.Module):
    """Attention and feed-forward, each normalised before, outside the skip connection."""

    def __init__(
        self,
        embed_dim: int,
        hidden_dim: int,
        num_heads: int,
        sequence_length: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        head_size = _head_size(embed_dim, num_heads)
        self.layer_norm_1 = LayerNorm(embed_dim)
        self.attn = MultiHeadedAttention(head_size, num_heads, sequence_length)
        self.layer_norm_2 = LayerNorm(embed_dim)
        self.linear = feed_forward(embed_dim, hidden_dim, dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """(B, T, D), mask (B, T) -> (B, T, D); with `num_queries`, its first steps only."""
        x = x[:, :num_queries] + self.attn(self.layer_norm_1(x), mask, num_queries)
        return x + self.linear(self.layer_norm_2(x))


def _head_size(embed_dim: int, num_heads: int) -> int:
    if embed_dim % num_heads:
        raise ValueError(
            f"num_heads: got {num_heads}, which does not divide embed_dim = {embed_dim}; "
            "choose a divisor"
        )
    return embed_dim // num_heads


class Transformer(nn.Module):
    """Token embedding, class token, learned positions, blocks, and a norm on what is pooled.

    `pooling` makes the feature of the final steps: "first" (the class token, the course's), "mean"
    or "max" over the class token and the real tokens.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embed_dim: int = 256,
        hidden_dim: int = 256,
        num_heads: int = 1,
        num_layers: int = 2,
        block: str = "prenorm",
        dropout: float = 0.3,
        *,
        pooling: str = "first",
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block: got {block!r}; allowed are {', '.join(BLOCKS)}")
        self.pooling = check_pooling(pooling)
        self.max_length = MAX_LENGTH
        self.embedding = nn.Embedding(vocabulary_size, embed_dim, padding_idx=0)
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim))
        self.pos_embedding = nn.Parameter(torch.randn(1, MAX_LENGTH + 1, embed_dim))
        self.dropout = Dropout(dropout)
        make_block = PreNormAttentionBlock if block == "prenorm" else PostNormAttentionBlock
        self.blocks = nn.ModuleList(
            [
                make_block(embed_dim, hidden_dim, num_heads, MAX_LENGTH + 1, dropout)
                for _ in range(num_layers)
            ]
        )
        self.norm = LayerNorm(embed_dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T), mask (B, T) -> feature (B, D). `ValueError` for T > 256."""
        batch_size, steps = x.shape
        # A traced graph keeps no check; tracing would only warn that it is lost.
        if not torch.jit.is_tracing() and steps > self.max_length:
            raise ValueError(
                f"input_ids: got {steps} tokens, of which the transformer has positions for "
                f"{self.max_length}; cut the reviews to {self.max_length} tokens"
            )
        hidden_states = torch.cat(
            [self.cls_token.expand(batch_size, -1, -1), self.embedding(x)], dim=1
        )  # (B, 1 + T, D)
        hidden_states = self.dropout(hidden_states + self.pos_embedding[:, : steps + 1])
        if mask is not None:
            mask = F.pad((mask != 0).to(x.dtype), [1, 0], value=1.0)  # (B, 1 + T), class token real
        last = len(self.blocks) - 1
        for index, block in enumerate(self.blocks):
            # When only the class token's output is used, the last block computes only that.
            alone = self.pooling == "first" and index == last
            hidden_states = block(hidden_states, mask, 1 if alone else None)
        return self.norm(pool(hidden_states, mask, self.pooling))

    def feature(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """What a classifier reads: `forward` itself."""
        return self.forward(x, mask)
