"""Bidirectional GRU encoder, soft attention and GRU decoder.

Bahdanau, Cho, Bengio 2015, https://arxiv.org/abs/1409.0473. B batch, T steps, E embedding size,
H hidden size, L layers, V vocabulary.
"""

from typing import Final

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from models.dropout import Dropout, dropout
from models.pooling import check_pooling, pool
from models.ragged import (
    lengths_of,
    masked_softmax,
    reorder,
    reversal,
    state_at_end,
    zero_padding,
)
from models.torchs_gru import run_direction, torchs_gru


class Encoder(nn.Module):
    """Bidirectional GRU whose two directions are summed.

    With a mask, padding changes neither the outputs at real steps nor the final states: the
    backward direction starts at each review's last real token, from its initial state.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        self.rnn = nn.GRU(
            embedding_size,
            hidden_size,
            num_layers,
            # nn.GRU drops between layers and warns where there is no between.
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=True,
            batch_first=True,
        )

    def initial_states(self, batch_size: int, device: torch.device | None = None) -> Tensor:
        """The zero state (2L, B, H), in the weights' dtype and, unless given, on their device."""
        weight = self.embedding.weight
        return torch.zeros(
            2 * self.num_layers,
            batch_size,
            self.hidden_size,
            dtype=weight.dtype,
            device=weight.device if device is None else device,
        )

    def forward(
        self, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) and initial states (2L, B, H) -> outputs (B, T, H), states (L, B, H).

        Without a mask every step is read, padding too. Outputs at padded steps are 0.
        """
        x = self.dropout(self.embedding(inputs))  # (B, T, E)
        if mask is None:
            weights: list[Tensor] = self.rnn._flat_weights  # type: ignore[assignment]
            outputs, states = torchs_gru(  # (B, T, 2H), (2L, B, H)
                x, hidden_states, weights, self.num_layers, self.rnn.dropout, self.training, True
            )
            return self._sum_outputs(outputs), states[0::2] + states[1::2]
        lengths = lengths_of(mask)
        summed_states: list[Tensor] = []
        for layer in range(self.num_layers):
            x, forward, backward = self._layer(x, hidden_states, lengths, layer)
            summed_states.append(forward + backward)
        return self._sum_outputs(zero_padding(x, mask)), torch.stack(summed_states)

    def first_output(
        self, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """`forward`'s output at step 0 alone, (B, H), at about half its cost.

        In the last layer the forward direction then has one token to read, and the backward
        direction, which comes to step 0 last, has its output there as its final state.
        """
        x = self.dropout(self.embedding(inputs))  # (B, T, E)
        if mask is None:
            mask = torch.ones_like(inputs)
        lengths = lengths_of(mask)
        last = self.num_layers - 1
        for layer in range(last):
            x, _, _ = self._layer(x, hidden_states, lengths, layer)
        x = self._drop_between(x, last)
        forward = self._direction(x[:, :1], hidden_states, 2 * last)[:, 0]  # (B, H)
        x = reorder(x, reversal(lengths, x.shape[1]))
        backward = self._direction(x, hidden_states, 2 * last + 1)  # (B, T, H)
        output = forward + state_at_end(backward, hidden_states[2 * last + 1], lengths)
        return output.masked_fill((lengths == 0).unsqueeze(1), 0.0)

    def _layer(
        self, x: Tensor, initial: Tensor, lengths: Tensor, layer: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Layer `layer` of `self.rnn`: outputs (B, T, 2H), the directions' final states (B, H)."""
        x = self._drop_between(x, layer)
        index = reversal(lengths, x.shape[1])
        forward = self._direction(x, initial, 2 * layer)  # (B, T, H)
        backward = self._direction(reorder(x, index), initial, 2 * layer + 1)  # (B, T, H)
        return (
            torch.cat([forward, reorder(backward, index)], dim=2),
            state_at_end(forward, initial[2 * layer], lengths),
            state_at_end(backward, initial[2 * layer + 1], lengths),
        )

    def _direction(self, x: Tensor, initial: Tensor, which: int) -> Tensor:
        """Direction `which` of `self.rnn` (two a layer): (B, T, I) -> (B, T, H)."""
        weights: list[Tensor] = self.rnn._flat_weights  # type: ignore[assignment]
        return run_direction(x, initial, weights, which)

    def _drop_between(self, x: Tensor, layer: int) -> Tensor:
        """Dropout on what layer `layer` reads, where that is another layer's output."""
        return dropout(x, self.rnn.dropout, self.training) if layer > 0 else x

    def _sum_outputs(self, outputs: Tensor) -> Tensor:
        """(B, T, 2H) -> (B, T, H)"""
        return outputs[:, :, : self.hidden_size] + outputs[:, :, self.hidden_size :]


class Attn(nn.Module):
    """Soft attention: a one-layer MLP scores each step against the last layer's hidden state."""

    def __init__(self, hidden_size: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.W = nn.Linear(2 * hidden_size, hidden_size)
        self.V = nn.Linear(hidden_size, hidden_size)
        self.dropout = Dropout(dropout)

    def forward(
        self, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T, H), `hidden_states` (L, B, H) -> `inputs` ⊙ weights, weights (B, T, 1).

        The weights of a review sum to 1 over its real steps; padded steps weigh 0.
        """
        # W [x; h] = W_x x + W_h h: the state's half is the same at every step of a review.
        w_x, w_h = self.W.weight.split(self.hidden_size, dim=1)  # (H, H) each
        from_state = F.linear(hidden_states[-1], w_h, self.W.bias)  # (B, H)
        features = torch.tanh(F.linear(inputs, w_x) + from_state.unsqueeze(1))  # (B, T, H)
        # The sum of V's H outputs is one output whose weights are V's, summed.
        v = self.V.weight.sum(dim=0, keepdim=True)  # (1, H)
        scores = F.linear(self.dropout(features), v, self.V.bias.sum().reshape(1))  # (B, T, 1)
        weights = masked_softmax(scores, None if mask is None else mask.unsqueeze(2), dim=1)
        return inputs * weights, weights


class DecoderAttn(nn.Module):
    """One-way GRU over the attended steps, started from the encoder's state."""

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        """`vocabulary_size` and `embedding_size` are the encoder's; no weight here depends on them,
        since what the decoder reads is the encoder's outputs."""
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = Dropout(dropout)
        self.mlp_attn = Attn(hidden_size, dropout)
        self.rnn = nn.GRU(
            hidden_size,
            hidden_size,
            num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            batch_first=True,
        )

    def forward(
        self, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`inputs` (B, T, H) and states (L, B, H) -> outputs (B, T, H) and states (L, B, H).

        With a mask, outputs at padded steps are 0 and the states are those after each review's
        last real token, in the last layer; the layers below it keep theirs too.
        """
        x, _ = self.mlp_attn(self.dropout(inputs), hidden_states, mask)  # (B, T, H)
        if mask is None:
            return self._whole(x, hidden_states)
        lengths = lengths_of(mask)
        weights: list[Tensor] = self.rnn._flat_weights  # type: ignore[assignment]
        states: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = dropout(x, self.rnn.dropout, self.training)
            x = run_direction(x, hidden_states, weights, layer)
            states.append(state_at_end(x, hidden_states[layer], lengths))
        return zero_padding(x, mask), torch.stack(states)

    def first_output(
        self, inputs: Tensor, hidden_states: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """`forward`'s output at step 0 alone, (B, H): all of the attention, one step of the GRU."""
        x, _ = self.mlp_attn(self.dropout(inputs), hidden_states, mask)  # (B, T, H)
        outputs, _ = self._whole(x[:, :1], hidden_states)  # (B, 1, H)
        if mask is not None:
            outputs = zero_padding(outputs, mask[:, :1])
        return outputs[:, 0]

    def _whole(self, x: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """All layers of `self.rnn`: (B, T, H) and (L, B, H) -> the same of outputs and states."""
        weights: list[Tensor] = self.rnn._flat_weights  # type: ignore[assignment]
        dropout = self.rnn.dropout
        return torchs_gru(x, states, weights, self.num_layers, dropout, self.training, False)


class EncoderDecoder(nn.Module):
    """The encoder, and the attending decoder behind it unless `encoder_only`.

    `pooling` makes the feature of the outputs: "first" (step 0, the course's), "mean" or "max" over
    the real steps. With `reads_padding` the encoder is shown no mask and so reads padding as the
    course's did; the feature then depends on how far a review is padded.
    """

    encoder_only: Final[bool]  # a constant to TorchScript, which then compiles no absent decoder

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        encoder_only: bool = False,
        *,
        pooling: str = "first",
        reads_padding: bool = False,
    ) -> None:
        super().__init__()
        self.encoder_only = encoder_only
        self.pooling = check_pooling(pooling)
        self.reads_padding = reads_padding
        self.encoder = Encoder(vocabulary_size, embedding_size, hidden_size, num_layers, dropout)
        if not encoder_only:
            self.decoder = DecoderAttn(
                vocabulary_size, embedding_size, hidden_size, num_layers, dropout
            )

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Token ids (B, T), mask (B, T) -> feature (B, H), hidden states (L, B, H)."""
        initial = self.encoder.initial_states(inputs.shape[0], inputs.device)
        encoder_mask = None if self.reads_padding else mask
        outputs, states = self.encoder(inputs, initial, encoder_mask)  # (B, T, H), (L, B, H)
        if not self.encoder_only:
            outputs, states = self.decoder(outputs, states, mask)
        return pool(outputs, mask, self.pooling), states

    def feature(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward`'s feature (B, H) without the steps that nothing but its states would read."""
        if self.pooling != "first":
            return self.forward(inputs, mask)[0]
        initial = self.encoder.initial_states(inputs.shape[0], inputs.device)
        encoder_mask = None if self.reads_padding else mask
        if self.encoder_only:
            return self.encoder.first_output(inputs, initial, encoder_mask)
        outputs, states = self.encoder(inputs, initial, encoder_mask)  # (B, T, H), (L, B, H)
        return self.decoder.first_output(outputs, states, mask)
