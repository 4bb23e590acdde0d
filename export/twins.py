"""A classifier rewritten, part by part, into what ONNX has an operator for."""

import copy

import torch.nn.functional as F
from torch import Tensor, nn

from export.recurrent import RecurrentTwin
from models.classifier import Classifier
from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import EncoderDecoder
from models.transformer import LayerNorm


class LayerNormTwin(nn.Module):
    """ONNX `LayerNormalization`."""

    def __init__(self, original: LayerNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = original.weight, original.bias, original.eps

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., D) -> (..., D)"""
        return F.layer_norm(inputs, self.weight.shape, self.weight, self.bias, self.eps)


def twin_of(model: Classifier) -> nn.Module:
    """A copy of `model` for ONNX export; `model` itself stays as it is."""
    twin = copy.deepcopy(model).eval()
    if isinstance(twin.backbone, EncoderDecoder | CustomGRUEncoder):
        twin.backbone = RecurrentTwin(twin.backbone)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LayerNorm):
                setattr(parent, name, LayerNormTwin(child))
    return twin
