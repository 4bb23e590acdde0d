"""The custom GRU as a trainable encoder: a bidirectional one, built of two of them a layer.

B batch, T steps, E embedding size, H hidden size, L layers.
"""

import torch
import torch.nn as nn
from torch import Tensor

from models.dropout import Dropout
from models.gru import GRU, side_by_side
from models.pooling import check_pooling, pool
from models.ragged import lengths_of, reorder, reversal, state_at_end, zero_padding


class CustomGRUEncoder(nn.Module):
    """`EncoderDecoder(encoder_only=True)` with `models.gru.GRU` in the place of `nn.GRU`.

    Same sums of directions, same treatment of padding, same pooling; see there.
    """

    def __init__(
        self,
        vocabulary_size: int = 30522,
        embedding_size: int = 256,
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        *,
        pooling: str = "first",
        reads_padding: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.pooling = check_pooling(pooling)
        self.reads_padding = reads_padding
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=0)
        self.dropout = Dropout(dropout)
        widths = [embedding_size] + [2 * hidden_size] * (num_layers - 1)
        self.forward_rnns = nn.ModuleList([GRU(width, hidden_size) for width in widths])
        self.backward_rnns = nn.ModuleList([GRU(width, hidden_size) for width in widths])

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Token ids (B, T), mask (B, T) -> feature (B, H), hidden states (L, B, H)."""
        outputs, states = self._read(inputs, mask, False)
        return pool(outputs, mask, self.pooling), states

    def feature(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """`forward`'s feature (B, H) without the steps that nothing but its states would read."""
        outputs, _ = self._read(inputs, mask, self.pooling == "first")
        return pool(outputs, mask, self.pooling)

    def _read(self, inputs: Tensor, mask: Tensor | None, first_only: bool) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, H) and states (L, B, H); with `first_only`, outputs (B, 1, H) and the
        last layer's forward direction reads one token, which is all that step 0 needs of it."""
        if mask is None or self.reads_padding:
            mask = torch.ones_like(inputs)
        lengths = lengths_of(mask)
        index = reversal(lengths, inputs.shape[1])
        zeros = self.embedding.weight.new_zeros(1, inputs.shape[0], self.hidden_size)

        x = self.embedding(inputs)  # (B, T, E)
        forward = x
        backward = x
        states: list[Tensor] = []
        layers = zip(self.forward_rnns, self.backward_rnns)  # noqa: B905, TorchScript's has no strict
        for layer, (forward_rnn, backward_rnn) in enumerate(layers):
            if layer > 0:
                x = torch.cat([forward, backward], dim=2)  # (B, T, 2H)
            x = self.dropout(x)
            short = first_only and layer == self.num_layers - 1
            from_end = reorder(x, index)
            if torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling():
                forward, _ = forward_rnn(x[:, :1] if short else x, zeros)  # (B, T or 1, H)
                backward, _ = backward_rnn(from_end, zeros)  # (B, T, H)
            else:
                forward, backward = _both(forward_rnn, backward_rnn, x, from_end, zeros, short)
            end = state_at_end(backward, zeros[0], lengths)
            states.append(
                state_at_end(forward, zeros[0], lengths.clamp(max=forward.shape[1])) + end
            )
            # The backward direction comes to step 0 last: its output there is its final state.
            backward = end.unsqueeze(1) if short else reorder(backward, index)
        return zero_padding(forward + backward, mask[:, : forward.shape[1]]), torch.stack(states)


def _both(
    forward_rnn: nn.Module,
    backward_rnn: nn.Module,
    x: Tensor,
    from_end: Tensor,
    zeros: Tensor,
    short: bool,
) -> tuple[Tensor, Tensor]:
    """The outputs of the two directions from `zeros` (1, B, H), (B, T, H) each, step by step
    together; with `short`, the forward one's at step 0 alone, (B, 1, H)."""
    assert isinstance(forward_rnn, GRU) and isinstance(backward_rnn, GRU)
    if short:
        forward, _ = forward_rnn(x[:, :1], zeros)
        backward, _ = backward_rnn(from_end, zeros)
    else:
        rnns, inputs = [forward_rnn, backward_rnn], [x, from_end]
        forward, backward = side_by_side(rnns, inputs, zeros.expand(2, -1, -1))
    return forward, backward
