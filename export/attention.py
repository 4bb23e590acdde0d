"""Attention as the one operator that ONNX Runtime has a fused kernel for.

`com.microsoft.MultiHeadAttention` takes the key mask as (B, T). ONNX's own `Attention` (opset 23)
wants it spread to (B, 1, Q, T) in ONNX Runtime 1.31, which is what the fusion is to save.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from models.transformer import MultiHeadedAttention

FUSED = "onnx_multi_head_attention"  # its name in transformers' table


def multi_head_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, num_heads: int
) -> Tensor:
    """`queries` (B, Q, D), `keys` and `values` (B, T, D), `mask` (B, T), 1 = real -> (B, Q, D).

    Scores are scaled by 1/√(D / num_heads). Exists only inside an ONNX export.
    """
    attended: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        [queries, keys, values, None, None if mask is None else mask.to(torch.int32)],
        {"num_heads": num_heads},
        dtype=queries.dtype,
        shape=queries.shape,
        version=1,
    )
    return attended


class AttentionTwin(nn.Module):
    """`MultiHeadedAttention` over the fused operator."""

    def __init__(self, original: MultiHeadedAttention) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        self.query, self.key = original.query, original.key
        self.value, self.output = original.value, original.output

    def forward(
        self, hidden_states: Tensor, mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """As the original's: (B, T, D), mask (B, T) -> (B, T, D) or (B, num_queries, D)."""
        queries = self.query(hidden_states[:, :num_queries])
        keys, values = self.key(hidden_states), self.value(hidden_states)
        return self.output(multi_head_attention(queries, keys, values, mask, self.num_heads))


def fuse_bert(encoder: nn.Module) -> None:
    """Lets a BERT of transformers attend through the fused operator."""
    AttentionInterface.register(FUSED, _bert_attention)
    AttentionMaskInterface.register(FUSED, _bert_mask)
    config = encoder.config
    assert isinstance(config._attn_implementation, str)  # type: ignore[union-attr]
    config._attn_implementation = FUSED  # type: ignore[union-attr]


def _bert_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **_: object,
) -> tuple[Tensor, None]:
    """`query`, `key`, `value` (B, heads, T, w) -> (B, T, heads, w); transformers' signature."""
    batch_size, num_heads, steps, width = query.shape
    q, k, v = (tensor.transpose(1, 2).flatten(2) for tensor in (query, key, value))  # (B, T, D)
    attended = multi_head_attention(q, k, v, attention_mask, num_heads)
    return attended.reshape(batch_size, steps, num_heads, width), None


def _bert_mask(*_: object, attention_mask: Tensor | None = None, **__: object) -> Tensor | None:
    """The (B, T) mask as it is; transformers' own implementations spread it here."""
    return attention_mask
