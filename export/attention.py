"""Attention as the operators that ONNX Runtime has fused kernels for.

`com.microsoft.Attention` multiplies one input by the three projections at once, and has an int8
twin, `QAttention`, which the quantizer puts in its place. Where fewer steps ask than there are,
`com.microsoft.MultiHeadAttention` attends over separate projections. Both take the key mask as
(B, T); ONNX's own `Attention` (opset 23) wants it spread to (B, 1, Q, T) in ONNX Runtime 1.31,
which is what the fusion is to save.
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

import torch
from torch import Tensor, nn
from transformers import AttentionMaskInterface
from transformers.models.bert.modeling_bert import BertSelfAttention

from models.transformer import MultiHeadedAttention

FUSED = "onnx_attention"  # its name in transformers' table


class SelfAttention(nn.Module):
    """The three projections and the attention of a sequence over itself, in one operator.

    Exists only inside an ONNX export.
    """

    def __init__(self, query: nn.Linear, key: nn.Linear, value: nn.Linear, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        projections = [query, key, value]
        weight = torch.cat([each.weight.detach() for each in projections])
        self.weight = nn.Parameter(weight.t().contiguous())  # (D, 3D)
        self.bias = nn.Parameter(torch.cat([each.bias.detach() for each in projections]))

    def forward(self, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, D), mask (B, T), 1 = real -> (B, T, D). The scale is 1/√(D / num_heads)."""
        return _operator("Attention", [hidden_states, self.weight, self.bias, _int32(mask)],
                         self.num_heads)  # fmt: skip


class AttentionTwin(nn.Module):
    """`MultiHeadedAttention` over the fused operators."""

    def __init__(self, original: MultiHeadedAttention) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        self.query, self.key = original.query, original.key
        self.value, self.output = original.value, original.output
        self.attend = SelfAttention(self.query, self.key, self.value, self.num_heads)

    def forward(
        self, hidden_states: Tensor, mask: Tensor | None = None, num_queries: int | None = None
    ) -> Tensor:
        """As the original's: (B, T, D), mask (B, T) -> (B, T, D) or (B, num_queries, D)."""
        if num_queries is None:
            return self.output(self.attend(hidden_states, mask))
        queries = self.query(hidden_states[:, :num_queries])
        inputs = [queries, self.key(hidden_states), self.value(hidden_states), None, _int32(mask)]
        return self.output(_operator("MultiHeadAttention", inputs, self.num_heads))


class BertAttentionTwin(SelfAttention):
    """`BertSelfAttention` over the fused operator."""

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_: object
    ) -> tuple[Tensor, None]:
        """(B, T, D), mask (B, T) -> (B, T, D), and no weights; transformers' signature."""
        return super().forward(hidden_states, attention_mask), None


def fuse_bert(encoder: nn.Module) -> None:
    """Lets a BERT of transformers attend through the fused operator."""
    AttentionMaskInterface.register(FUSED, _bert_mask)
    config = encoder.config
    assert isinstance(config._attn_implementation, str)  # type: ignore[union-attr]
    config._attn_implementation = FUSED  # type: ignore[union-attr]
    for module in list(encoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, BertSelfAttention):
                parts = child.query, child.key, child.value
                setattr(module, name, BertAttentionTwin(*parts, child.num_attention_heads))


def _bert_mask(*_: object, attention_mask: Tensor | None = None, **__: object) -> Tensor | None:
    """The (B, T) mask as it is; transformers' own implementations spread it here."""
    return attention_mask


def _operator(name: str, inputs: list[Tensor | None], num_heads: int) -> Tensor:
    """An attention operator of ONNX Runtime's; its result is like its first input."""
    first = inputs[0]
    assert first is not None
    attended: Tensor = torch.onnx.ops.symbolic(
        f"com.microsoft::{name}", inputs, {"num_heads": num_heads}, dtype=first.dtype,
        shape=first.shape, version=1,
    )  # fmt: skip
    return attended


def _int32(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.to(torch.int32)
