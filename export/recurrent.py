"""Recurrent backbones with one operator where torch runs a loop over steps: ONNX's `GRU`, or
`scan`, torch.export's loop. A twin has its original's weights and answers as it does.
"""

import torch
from torch import Tensor, nn

from export.gru_operators import OnnxGRU, ScanGRU, Weights
from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import DecoderAttn, EncoderDecoder
from models.gru import GRU
from models.pooling import pool
from models.ragged import lengths_of, zero_padding

Operator = type[OnnxGRU] | type[ScanGRU]


class EncoderTwin(nn.Module):
    """The bidirectional encoder, its directions summed. Steps come first in here: (T, B, ...)."""

    def __init__(
        self,
        embedding: nn.Embedding,
        layers: list[tuple[Weights, Weights]],
        first_only: bool,
        gru: Operator,
    ) -> None:
        """With `first_only`, `forward` gives step 0 of the outputs alone."""
        super().__init__()
        self.embedding = embedding
        self.first_only = first_only
        whole = layers[:-1] if first_only else layers
        self.rnns = nn.ModuleList(gru(list(pair), "bidirectional") for pair in whole)
        if first_only:
            self.first_step = gru([layers[-1][0]], "forward")
            self.to_start = gru([layers[-1][1]], "reverse")

    def forward(self, inputs: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids (B, T), mask (B, T) -> outputs (B, T, H) and states (L, B, H), or, with
        `first_only`, outputs (B, 1, H) and None."""
        lengths = lengths_of(mask).to(torch.int32)
        x = self.embedding(inputs.transpose(0, 1))  # (T, B, E)
        outputs = x
        states = []
        for layer, rnn in enumerate(self.rnns):
            if layer > 0:
                x = outputs.transpose(1, 2).flatten(2)  # (T, 2, B, H) -> (T, B, 2H)
            outputs, final = rnn(x, lengths)
            states.append(final.sum(dim=0))
        if not self.first_only:
            summed = outputs.sum(dim=1).transpose(0, 1)  # (B, T, H)
            return zero_padding(summed, mask), torch.stack(states)
        if len(self.rnns):
            x = outputs.transpose(1, 2).flatten(2)
        # At step 0 the forward direction has read one token and the backward direction all.
        _, forward = self.first_step(x[:1], lengths.clamp(max=1))
        _, backward = self.to_start(x, lengths)
        return zero_padding((forward + backward).transpose(0, 1), mask[:, :1]), None


class DecoderTwin(nn.Module):
    """The attending decoder."""

    def __init__(self, decoder: DecoderAttn, first_only: bool, gru: Operator) -> None:
        super().__init__()
        self.mlp_attn = decoder.mlp_attn
        self.first_only = first_only
        self.rnns = nn.ModuleList(
            gru([_torch_weights(decoder.rnn, f"l{layer}")], "forward")
            for layer in range(decoder.num_layers)
        )

    def forward(self, inputs: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """`inputs` (B, T, H), `states` (L, B, H), mask (B, T) -> outputs (B, T, H), or (B, 1, H)
        with `first_only`."""
        x, _ = self.mlp_attn(inputs, states, mask)  # (B, T, H)
        if self.first_only:
            x, mask = x[:, :1], mask[:, :1]
        x = x.transpose(0, 1)  # (T, B, H)
        lengths = lengths_of(mask).to(torch.int32)
        for layer, rnn in enumerate(self.rnns):
            outputs, _ = rnn(x, lengths, states[layer : layer + 1])
            x = outputs.squeeze(1)
        return zero_padding(x.transpose(0, 1), mask)


class RecurrentTwin(nn.Module):
    """The backbone: encoder, decoder where there is one, pooling."""

    def __init__(self, original: EncoderDecoder | CustomGRUEncoder, gru: Operator) -> None:
        super().__init__()
        self.pooling = original.pooling
        self.reads_padding = original.reads_padding
        first = self.pooling == "first"
        self.decoder: DecoderTwin | None = None
        if isinstance(original, CustomGRUEncoder):
            layers = _custom_layers(original)
            self.encoder = EncoderTwin(original.embedding, layers, first, gru)
            return
        encoder = original.encoder
        layers = [
            (
                _torch_weights(encoder.rnn, f"l{layer}"),
                _torch_weights(encoder.rnn, f"l{layer}_reverse"),
            )
            for layer in range(encoder.num_layers)
        ]
        only = first and original.encoder_only
        self.encoder = EncoderTwin(encoder.embedding, layers, only, gru)
        if not original.encoder_only:
            self.decoder = DecoderTwin(original.decoder, first, gru)

    def feature(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Ids (B, T), mask (B, T) -> (B, H)"""
        read = torch.ones_like(mask) if self.reads_padding else mask
        outputs, states = self.encoder(inputs, read)
        if self.decoder is not None:
            outputs = self.decoder(outputs, states, mask)
        return pool(outputs, mask, self.pooling)


def _custom_layers(original: CustomGRUEncoder) -> list[tuple[Weights, Weights]]:
    pairs = zip(original.forward_rnns, original.backward_rnns, strict=True)
    return [(_custom_weights(forward), _custom_weights(backward)) for forward, backward in pairs]


def _custom_weights(rnn: nn.Module) -> Weights:
    assert isinstance(rnn, GRU)
    return Weights(
        torch.cat([rnn.w_ir, rnn.w_iz, rnn.w_in]).detach(),
        torch.cat([rnn.w_hr, rnn.w_hz, rnn.w_hn]).detach(),
        torch.cat([rnn.b_ir, rnn.b_iz, rnn.b_in]).detach(),
        torch.cat([rnn.b_hr, rnn.b_hz, rnn.b_hn]).detach(),
    )


def _torch_weights(rnn: nn.GRU, suffix: str) -> Weights:
    names = ("weight_ih_", "weight_hh_", "bias_ih_", "bias_hh_")
    return Weights(*(getattr(rnn, name + suffix).detach() for name in names))
