"""A classifier rewritten, part by part, into what the exported graph has an operator for."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.gru_operators import OnnxGRU, ScanGRU
from export.recurrent import RecurrentTwin
from models.classifier import Classifier
from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import EncoderDecoder
from models.transformer import LayerNorm, MultiHeadedAttention, Transformer


class LayerNormTwin(nn.Module):
    """ONNX `LayerNormalization`."""

    def __init__(self, original: LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = original.weight, original.bias, original.eps

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., D) -> (..., D)"""
        return F.layer_norm(inputs, self.weight.shape, self.weight, self.bias, self.eps)


class Float32Logits(nn.Module):
    """A classifier of any dtype whose logits are float32."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (B, T) -> logits (B, labels)"""
        return self.classifier(input_ids, attention_mask).float()


def onnx_twin(model: Classifier, dtype: torch.dtype) -> nn.Module:
    """A copy of `model` for ONNX export, in `dtype`; `model` itself stays as it is."""
    twin = copy.deepcopy(model).eval().to(dtype)
    if isinstance(twin.backbone, EncoderDecoder | CustomGRUEncoder):
        twin.backbone = RecurrentTwin(twin.backbone, OnnxGRU)
    elif isinstance(twin.backbone, Transformer):
        _replace_transformer_parts(twin)
    elif getattr(getattr(twin.backbone, "encoder", None), "config", None) is not None:
        from export.attention import fuse_bert

        if twin.backbone.encoder.config.model_type == "bert":  # type: ignore[union-attr]
            fuse_bert(twin.backbone.encoder)  # type: ignore[arg-type]
    return Float32Logits(twin).eval()


def torch_export_twin(model: Classifier) -> nn.Module:
    """A copy of `model` in float32 whose recurrence keeps its length dynamic in `torch.export`."""
    twin = copy.deepcopy(model).eval().float().requires_grad_(False)
    if isinstance(twin.backbone, EncoderDecoder | CustomGRUEncoder):
        twin.backbone = RecurrentTwin(twin.backbone, ScanGRU)
    return twin


def _replace_transformer_parts(model: nn.Module) -> None:
    from export.attention import AttentionTwin  # imports transformers, which takes a second

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LayerNorm):
                setattr(parent, name, LayerNormTwin(child))
            elif isinstance(child, MultiHeadedAttention):
                setattr(parent, name, AttentionTwin(child))
