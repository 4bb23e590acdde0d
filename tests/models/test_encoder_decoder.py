"""Encoder, attention and decoder against torch's packed sequences and explicit loops."""

from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from models.encoder_decoder import Attn, DecoderAttn, Encoder, EncoderDecoder
from models.torchs_gru import in_one_buffer

# Sums of float64 in another order.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
LENGTHS = [5, 1, 7, 3]


def packed(rnn: nn.GRU, x: Tensor, initial: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor]:
    """What `rnn` makes of each review without its padding: outputs (0 at padding) and states."""
    sequence = pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
    outputs, states = rnn(sequence, initial)
    return pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])[0], states


@pytest.mark.parametrize("num_layers", [1, 3])
def test_masked_encoder_equals_torchs_packed_sequences(num_layers: int, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    encoder = Encoder(50, 6, 4, num_layers).double()
    input_ids, mask = ragged_batch(LENGTHS, steps=9)
    initial = torch.randn(2 * num_layers, 4, 4, dtype=torch.float64, requires_grad=True)
    outputs, states = encoder(input_ids, initial, mask)
    both, both_states = packed(encoder.rnn, encoder.embedding(input_ids), initial, LENGTHS)
    expected = both[..., :4] + both[..., 4:]
    expected_states = both_states.view(num_layers, 2, 4, 4).sum(1)
    torch.testing.assert_close(outputs, expected, **EXACT)
    torch.testing.assert_close(states, expected_states, **EXACT)

    weights = torch.randn_like(outputs)
    wanted_for = [initial, *encoder.parameters()]
    found = torch.autograd.grad((outputs * weights).sum() + states.pow(3).sum(), wanted_for)
    wanted = torch.autograd.grad(
        (expected * weights).sum() + expected_states.pow(3).sum(), wanted_for
    )
    torch.testing.assert_close(found, wanted, **EXACT)


def test_encoder_without_mask_is_the_plain_gru_over_padding_too(ragged_batch: Any) -> None:
    encoder = Encoder(50, 6, 4, 2).double()
    input_ids, _ = ragged_batch(LENGTHS, steps=9)
    initial = encoder.initial_states(4)
    assert torch.equal(initial, torch.zeros(4, 4, 4, dtype=torch.float64))
    outputs, states = encoder(input_ids, initial)
    both, both_states = encoder.rnn(encoder.embedding(input_ids), initial)
    assert torch.equal(outputs, both[..., :4] + both[..., 4:])
    assert torch.equal(states, torch.stack([both_states[:2].sum(0), both_states[2:].sum(0)]))


def test_a_mask_of_ones_changes_nothing(ragged_batch: Any) -> None:
    encoder = Encoder(50, 6, 4, 2).double()
    input_ids, mask = ragged_batch([5, 5])
    initial = torch.randn(4, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(
        encoder(input_ids, initial, mask), encoder(input_ids, initial), **EXACT
    )


def test_a_review_of_length_zero_keeps_its_initial_state(ragged_batch: Any) -> None:
    encoder = Encoder(50, 6, 4, 2).double()
    input_ids, mask = ragged_batch([0, 3])
    initial = torch.randn(4, 2, 4, dtype=torch.float64)
    outputs, states = encoder(input_ids, initial, mask)
    assert torch.equal(outputs[0], torch.zeros(3, 4, dtype=torch.float64))
    assert torch.equal(states[:, 0], initial[0::2, 0] + initial[1::2, 0])


def test_between_layer_dropout_has_the_given_rate(
    ragged_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(50, 64, 64, 2, dropout=0.4).train()
    encoder.dropout.p = 0.0  # leave the one between the layers
    read: list[Tensor] = []

    def direction(x: Tensor, initial: Tensor, which: int) -> Tensor:
        read.append(x)
        return torch.ones(*x.shape[:2], 64)  # so that a zero further up is a dropped one

    monkeypatch.setattr(encoder, "_direction", direction)
    torch.manual_seed(0)
    input_ids, mask = ragged_batch([20, 20])
    encoder(input_ids, encoder.initial_states(2), mask)
    first_layer, _, second_layer, _ = read
    assert not (first_layer == 0).any()
    dropped = (second_layer == 0).float().mean().item()
    # 5,120 draws: the standard error is 0.007.
    assert abs(dropped - 0.4) < 0.035


def test_weights_side_by_side_are_one_buffer_and_pass_gradients() -> None:
    """As cuDNN lays out two directions: the four matrices, then the four biases."""
    rnn = nn.GRU(2, 3, bidirectional=True)
    weights = list(rnn.parameters())
    views = in_one_buffer(weights)
    for view, weight in zip(views, weights, strict=True):
        assert torch.equal(view, weight)
    in_memory = sorted(range(8), key=lambda i: views[i].data_ptr())
    assert in_memory == [0, 1, 4, 5, 2, 3, 6, 7]
    assert len({view.untyped_storage().data_ptr() for view in views}) == 1
    sum(number * view.sum() for number, view in enumerate(views)).backward()  # type: ignore[union-attr]
    for number, weight in enumerate(weights):
        assert torch.equal(weight.grad, torch.full_like(weight, number))  # type: ignore[arg-type]


@pytest.mark.parametrize("masked", [True, False])
def test_attention_equals_the_mlp_written_out_step_by_step(masked: bool, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    attention = Attn(4).double()
    inputs = torch.randn(4, 9, 4, dtype=torch.float64)
    states = torch.randn(3, 4, 4, dtype=torch.float64)
    mask = ragged_batch(LENGTHS, steps=9)[1] if masked else None
    attended, weights = attention(inputs, states, mask)
    assert weights.shape == (4, 9, 1)
    for row, length in enumerate(LENGTHS if masked else [9] * 4):
        scores = torch.stack(
            [
                attention.V(torch.tanh(attention.W(torch.cat([step, states[-1, row]])))).sum()
                for step in inputs[row, :length]
            ]
        )
        expected = torch.zeros(9, dtype=torch.float64)
        expected[:length] = scores.softmax(0)
        torch.testing.assert_close(weights[row, :, 0], expected, **EXACT)
    assert torch.equal(attended, inputs * weights)


def test_attention_over_nothing_weighs_nothing() -> None:
    attention = Attn(4)
    attended, weights = attention(torch.randn(1, 3, 4), torch.randn(1, 1, 4), torch.zeros(1, 3))
    assert torch.equal(weights, torch.zeros(1, 3, 1))
    assert torch.equal(attended, torch.zeros(1, 3, 4))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_masked_decoder_equals_torchs_packed_sequences(num_layers: int, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    decoder = DecoderAttn(50, 6, 4, num_layers).double()
    inputs = torch.randn(4, 9, 4, dtype=torch.float64)
    initial = torch.randn(num_layers, 4, 4, dtype=torch.float64)
    mask = ragged_batch(LENGTHS, steps=9)[1]
    attended, _ = decoder.mlp_attn(inputs, initial, mask)
    found = decoder(inputs, initial, mask)
    torch.testing.assert_close(found, packed(decoder.rnn, attended, initial, LENGTHS), **EXACT)


@pytest.mark.parametrize("encoder_only", [True, False])
def test_feature_is_the_output_at_step_0(encoder_only: bool, ragged_batch: Any) -> None:
    model = EncoderDecoder(50, 6, 4, 2, encoder_only=encoder_only).double()
    assert hasattr(model, "decoder") is not encoder_only
    input_ids, mask = ragged_batch(LENGTHS, steps=9)
    feature, states = model(input_ids, mask)
    outputs, expected_states = model.encoder(input_ids, model.encoder.initial_states(4), mask)
    if not encoder_only:
        outputs, expected_states = model.decoder(outputs, expected_states, mask)
    assert torch.equal(feature, outputs[:, 0])
    assert torch.equal(states, expected_states)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("encoder_only", [True, False])
@pytest.mark.parametrize("reads_padding", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_the_short_way_to_the_feature_gives_the_same_feature_and_gradients(
    num_layers: int, encoder_only: bool, reads_padding: bool, masked: bool, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(
        50, 6, 4, num_layers, encoder_only=encoder_only, reads_padding=reads_padding
    ).double()
    input_ids, mask = ragged_batch([5, 0, 7, 1], steps=9)
    mask = mask if masked else None
    long, _ = model(input_ids, mask)
    short = model.feature(input_ids, mask)
    torch.testing.assert_close(short, long, **EXACT)
    weights = torch.randn_like(long)
    parameters = list(model.parameters())
    found = torch.autograd.grad((short * weights).sum(), parameters)
    torch.testing.assert_close(
        found, torch.autograd.grad((long * weights).sum(), parameters), **EXACT
    )


@pytest.mark.parametrize("encoder_only", [True, False])
def test_reads_padding_is_the_encoder_without_a_mask(encoder_only: bool, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(50, 6, 4, encoder_only=encoder_only, reads_padding=True).double()
    input_ids, mask = ragged_batch(LENGTHS, steps=9)
    outputs, states = model.encoder(input_ids, model.encoder.initial_states(4))
    if not encoder_only:
        outputs, _ = model.decoder(outputs, states, mask)
    feature, _ = model(input_ids, mask)
    assert torch.equal(feature, outputs[:, 0])
    more_ids, more_mask = ragged_batch(LENGTHS, steps=20)
    assert not torch.allclose(model(more_ids, more_mask)[0], feature)


@pytest.mark.cuda
def test_cuda_equals_the_cpu_without_a_warning(ragged_batch: Any) -> None:
    model = EncoderDecoder(50, 6, 4, 2, pooling="mean").double()
    input_ids, mask = ragged_batch(LENGTHS, steps=9)
    expected = model(input_ids, mask)
    found = model.cuda()(input_ids.cuda(), mask.cuda())
    torch.testing.assert_close([part.cpu() for part in found], list(expected), **EXACT)


@pytest.mark.parametrize("mask_given", [True, False])
def test_under_autocast_on_a_cpu_training_and_evaluation_are_one_function(mask_given: bool) -> None:
    """Both recur in float32; torch's own operator would round its products in evaluation only."""
    torch.manual_seed(0)
    model = EncoderDecoder(50, 16, 16, 1, 0.0, encoder_only=True, pooling="max")
    ids = torch.randint(1, 50, (4, 30))
    mask = torch.ones_like(ids) if mask_given else None
    with torch.autocast("cpu", torch.bfloat16):
        trained = model.feature(ids, mask)
        with torch.no_grad():
            evaluated = model.feature(ids, mask)
    torch.testing.assert_close(trained, evaluated, rtol=0, atol=1e-5)
