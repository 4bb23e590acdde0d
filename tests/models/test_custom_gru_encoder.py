"""The encoder of custom GRUs against the one of torch's, with the same weights."""

from typing import Any

import pytest
import torch

from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import EncoderDecoder
from models.pooling import POOLINGS

# Sums of float64 in another order.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def with_the_same_weights(ours: CustomGRUEncoder, **options: Any) -> EncoderDecoder:
    theirs = EncoderDecoder(50, 6, 4, ours.num_layers, encoder_only=True, **options).double()
    with torch.no_grad():
        theirs.encoder.embedding.weight.copy_(ours.embedding.weight)
        for suffix, rnns in (("", ours.forward_rnns), ("_reverse", ours.backward_rnns)):
            for layer, rnn in enumerate(rnns):
                for name, kind in (("weight", "w"), ("bias", "b")):
                    for side in "ih":
                        gates = torch.cat([getattr(rnn, f"{kind}_{side}{gate}") for gate in "rzn"])
                        target = f"{name}_{side}h_l{layer}{suffix}"
                        getattr(theirs.encoder.rnn, target).copy_(gates)
    return theirs


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("reads_padding", [True, False])
def test_equals_torchs_gru_as_encoder(
    num_layers: int, pooling: str, reads_padding: bool, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"pooling": pooling, "reads_padding": reads_padding}
    ours = CustomGRUEncoder(50, 6, 4, num_layers, **options).double()
    theirs = with_the_same_weights(ours, **options)
    input_ids, mask = ragged_batch([5, 1, 7, 3], steps=9)
    for batch in ((input_ids, mask), (input_ids,)):
        found, wanted = ours(*batch), theirs(*batch)
        torch.testing.assert_close(found, wanted, **EXACT)
        torch.testing.assert_close(ours.feature(*batch), wanted[0], **EXACT)


def test_the_short_way_to_the_feature_gives_the_same_gradients(ragged_batch: Any) -> None:
    torch.manual_seed(0)
    model = CustomGRUEncoder(50, 6, 4, 2).double()
    input_ids, mask = ragged_batch([5, 0, 7, 1], steps=9)
    weights = torch.randn(4, 4, dtype=torch.float64)
    parameters = list(model.parameters())
    long = torch.autograd.grad((model(input_ids, mask)[0] * weights).sum(), parameters)
    short = torch.autograd.grad((model.feature(input_ids, mask) * weights).sum(), parameters)
    torch.testing.assert_close(short, long, **EXACT)
