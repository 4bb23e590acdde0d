"""Norm, attention, blocks and transformer against torch's own layers, in float64."""

from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models import normalization
from models.normalization import layer_norm, normalized
from models.transformer import (
    LayerNorm,
    MultiHeadedAttention,
    PostNormAttentionBlock,
    PreNormAttentionBlock,
    Transformer,
    attention_by_products,
)

# Sums of float64 in another order.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}
LENGTHS = [5, 1, 7, 3]


def copy_(target: nn.Module, source: nn.Module) -> None:
    """Weight and bias of `source` into `target`."""
    with torch.no_grad():
        for name, parameter in target.named_parameters():
            parameter.copy_(getattr(source, name))


def torch_attention(ours: MultiHeadedAttention) -> nn.MultiheadAttention:
    width = ours.num_heads * ours.head_size
    theirs = nn.MultiheadAttention(width, ours.num_heads, batch_first=True).double()
    copy_attention_(theirs, ours)
    return theirs


def copy_attention_(theirs: nn.MultiheadAttention, ours: MultiHeadedAttention) -> None:
    projections = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in projections]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
    copy_(theirs.out_proj, ours.output)


@pytest.mark.parametrize("shape", [(3, 5, 8), (2, 8), (8,)])
def test_layer_norm_equals_torchs(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours, theirs = LayerNorm(8, eps=1e-3).double(), nn.LayerNorm(8, eps=1e-3).double()
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    copy_(theirs, ours)
    inputs = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(*shape, dtype=torch.float64)
    found, wanted = ours(inputs), theirs(inputs)
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), [inputs, ours.weight, ours.bias]),
        torch.autograd.grad((wanted * weights).sum(), [inputs, theirs.weight, theirs.bias]),
        **EXACT,
    )


def test_layer_norm_gradcheck() -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 4), (4,), (4,)]
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def run(*tensors: Tensor) -> Tensor:
        return layer_norm(*tensors, 1e-5)

    assert torch.autograd.gradcheck(run, arguments)
    assert torch.autograd.gradgradcheck(run, arguments)


@pytest.mark.parametrize("rows", [0, 1, 8, 9, 19])
def test_layer_norm_over_any_number_of_blocks_equals_torchs(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(normalization, "BLOCK", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # blocks of 8 rows
    # not contiguous, and gradients that are not either
    inputs = torch.randn(8, rows, dtype=torch.float64).t().requires_grad_()
    weight, bias = torch.randn(2, 8, dtype=torch.float64).unbind()
    weight.requires_grad_()
    factors = torch.randn(8, rows, dtype=torch.float64).t()
    found = layer_norm(inputs, weight, bias, 1e-5)
    wanted = F.layer_norm(inputs, (8,), weight, bias)
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(normalized(inputs, weight, bias, 1e-5), wanted, **EXACT)
    found_gradients = torch.autograd.grad(found, [inputs, weight], factors)
    wanted_gradients = torch.autograd.grad(wanted, [inputs, weight], factors)
    torch.testing.assert_close(found_gradients, wanted_gradients, **EXACT)


def test_layer_norm_in_float32_is_as_exact_as_torchs_far_from_zero() -> None:
    torch.manual_seed(0)
    inputs = (torch.randn(64, 256) + 100).requires_grad_()
    weight, bias = torch.randn(2, 256).unbind()
    factors = torch.randn(64, 256)

    def of(run: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        x, w = inputs.detach().to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()
        outputs = run(x, w, bias.to(dtype))
        gradients = torch.autograd.grad(outputs, [x, w], factors.to(dtype))
        return outputs.detach(), torch.cat([part.flatten() for part in gradients])

    def torchs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.layer_norm(x, (256,), w, b)

    exact, theirs = of(torchs, torch.float64), of(torchs, torch.float32)
    ours = of(lambda x, w, b: layer_norm(x, w, b, 1e-5), torch.float32)
    for right, found, reference in zip(exact, ours, theirs, strict=True):
        allowed = 2 * (reference - right).abs().max() + 1e-6
        assert (found - right).abs().max() < allowed


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_layer_norm_of_halves_is_computed_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm = LayerNorm(8)
    inputs = torch.randn(5, 8).to(dtype)
    expected = norm(inputs.float())
    assert torch.equal(norm(inputs), expected), "with float32 weights, float32 as promotion has it"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(norm(inputs), expected)
    low = norm.to(dtype)(inputs)
    assert low.dtype == dtype
    assert torch.equal(low, expected.to(dtype))


@pytest.mark.parametrize("width", [3, 5])
def test_split_heads_places_elements_and_merge_heads_undoes_it(width: int) -> None:
    attention = MultiHeadedAttention(head_size=5, num_heads=4, sequence_length=6)
    x = torch.randn(2, 6, 4 * width)
    y = attention.split_heads(x)
    assert y.shape == (2, 4, 6, width)
    assert y[0, 1, 2, 2] == x[0, 2, width * 1 + 2]
    assert torch.equal(attention.merge_heads(y), x)
    merged_first = torch.randn(2, 4, 6, width)
    assert torch.equal(attention.split_heads(attention.merge_heads(merged_first)), merged_first)


def test_attention_has_four_linear_layers_worth_of_parameters() -> None:
    attention = MultiHeadedAttention(head_size=5, num_heads=4, sequence_length=6)
    assert sum(p.numel() for p in attention.parameters()) == 4 * (20**2 + 20)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_equals_torchs_forward_and_backward(masked: bool, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    ours = MultiHeadedAttention(head_size=3, num_heads=4, sequence_length=9).double()
    theirs = torch_attention(ours)
    x = torch.randn(4, 9, 12, dtype=torch.float64, requires_grad=True)
    mask = ragged_batch(LENGTHS, steps=9)[1] if masked else None
    padded = None if mask is None else mask == 0
    found = ours(x, mask)
    wanted, wanted_weights = theirs(
        x, x, x, key_padding_mask=padded, need_weights=True, average_attn_weights=False
    )
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(ours(x, mask, 2), wanted[:, :2], **EXACT)
    queries, keys = ours.split_heads(ours.query(x)), ours.split_heads(ours.key(x))
    weights = ours.get_attention_weights(queries, keys, mask)
    torch.testing.assert_close(weights, wanted_weights, **EXACT)
    if padded is not None:
        assert (weights[padded[:, None, None].expand_as(weights)] == 0).all()

    factors = torch.randn_like(found)
    (gradient,) = torch.autograd.grad((found * factors).sum(), x)
    torch.testing.assert_close(
        gradient, torch.autograd.grad((wanted * factors).sum(), x)[0], **EXACT
    )


@pytest.mark.parametrize("lengths", [None, [5, 3], [1, 0]])
@pytest.mark.parametrize("queried", [1, 5])
def test_apply_attention_averages_values_by_the_weights_that_it_gives(
    lengths: list[int] | None, queried: int, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    attention = MultiHeadedAttention(head_size=3, num_heads=2, sequence_length=5).double()
    shapes = [(2, 2, queried, 3), (2, 2, 5, 3), (2, 2, 5, 3)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    mask = None if lengths is None else ragged_batch(lengths, steps=5)[1]
    found = attention.apply_attention(*tensors, mask)
    weights = attention.get_attention_weights(*tensors[:2], mask)
    expected = torch.einsum("bhqt,bhtw->bqhw", weights, tensors[2]).reshape(2, queried, 6)
    torch.testing.assert_close(found, expected, **EXACT)
    factors = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, tensors, factors),
        torch.autograd.grad(expected, tensors, factors),
        **EXACT,
    )


@pytest.mark.parametrize("lengths", [None, [9, 4, 1, 0]])
def test_attention_by_products_equals_torchs(lengths: list[int] | None, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(4, 2, 9, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = None if lengths is None else ragged_batch(lengths, steps=9)[1]
    real = None if mask is None else (mask != 0)[:, None, None, :]
    found = attention_by_products(*tensors, real, tensors[0].shape[3] ** -0.5)
    wanted = F.scaled_dot_product_attention(*tensors, attn_mask=real)
    torch.testing.assert_close(found, wanted, **EXACT)
    factors = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, tensors, factors),
        torch.autograd.grad(wanted, tensors, factors),
        **EXACT,
    )


def test_attention_gradcheck(ragged_batch: Any) -> None:
    torch.manual_seed(0)
    attention = MultiHeadedAttention(head_size=3, num_heads=2, sequence_length=4).double()
    x = torch.randn(3, 4, 6, dtype=torch.float64, requires_grad=True)
    mask = ragged_batch([4, 2, 0], steps=4)[1]
    assert torch.autograd.gradcheck(lambda x: attention(x, mask), x)
    with sdpa_kernel(SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(lambda x: attention(x, mask), x)


def test_attention_under_autocast_stays_close_and_trains(ragged_batch: Any) -> None:
    torch.manual_seed(0)
    attention = MultiHeadedAttention(head_size=8, num_heads=2, sequence_length=9)
    x = torch.randn(4, 9, 16)
    mask = ragged_batch(LENGTHS, steps=9)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention(x, mask)
    assert found.dtype == torch.bfloat16
    # bfloat16 has 8 bits of mantissa: 0.004 a product, on outputs below 1.
    torch.testing.assert_close(found.float(), attention(x, mask), rtol=0, atol=0.03)
    found.float().sum().backward()
    assert all(parameter.grad is not None for parameter in attention.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_over_nothing_is_not_nan(dtype: torch.dtype) -> None:
    attention = MultiHeadedAttention(head_size=3, num_heads=2, sequence_length=5).to(dtype)
    x = torch.randn(1, 5, 6, dtype=dtype, requires_grad=True)
    outputs = attention(x, torch.zeros(1, 5))
    outputs.sum().backward()
    # Nothing attended: what is left is the output layer's bias.
    assert torch.equal(outputs, attention.output.bias.expand_as(outputs))
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("block", [PreNormAttentionBlock, PostNormAttentionBlock])
def test_block_equals_torchs_encoder_layer(block: Any, ragged_batch: Any) -> None:
    torch.manual_seed(0)
    ours = block(12, 20, 4, 9, 0.0).double()
    for norm in (ours.layer_norm_1, ours.layer_norm_2):
        nn.init.normal_(norm.weight)
    theirs = nn.TransformerEncoderLayer(
        12, 4, 20, 0.0, "gelu", batch_first=True, norm_first=block is PreNormAttentionBlock
    ).double()
    copy_attention_(theirs.self_attn, ours.attn)
    copy_(theirs.linear1, ours.linear[0])
    copy_(theirs.linear2, ours.linear[3])
    copy_(theirs.norm1, ours.layer_norm_1)
    copy_(theirs.norm2, ours.layer_norm_2)
    x = torch.randn(4, 9, 12, dtype=torch.float64, requires_grad=True)
    mask = ragged_batch(LENGTHS, steps=9)[1]
    found, wanted = ours(x, mask), theirs(x, src_key_padding_mask=mask == 0)
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(ours(x, mask, 1), wanted[:, :1], **EXACT)
    factors = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad((found * factors).sum(), x),
        torch.autograd.grad((wanted * factors).sum(), x),
        **EXACT,
    )


def written_out(model: Transformer, input_ids: Tensor, mask: Tensor) -> Tensor:
    """The whole transformer, every step of every block, no dropout: norm of the class token."""
    rows = [
        torch.cat([model.cls_token[0], model.embedding(row)])
        + model.pos_embedding[0, : len(row) + 1]
        for row in input_ids
    ]
    x = torch.stack(rows)
    longer = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
    for block in model.blocks:
        x = block(x, longer)
    return model.norm(x)[:, 0]


@pytest.mark.parametrize("block", ["prenorm", "postnorm"])
def test_feature_is_the_normed_class_token_with_the_same_gradients(
    block: str, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    model = Transformer(50, 8, 12, 2, 3, block).double().eval()
    input_ids, mask = ragged_batch([5, 0, 7, 1], steps=9)
    found, wanted = model(input_ids, mask), written_out(model, input_ids, mask)
    torch.testing.assert_close(found, wanted, **EXACT)
    factors = torch.randn_like(found)
    parameters = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((found * factors).sum(), parameters),
        torch.autograd.grad((wanted * factors).sum(), parameters),
        **EXACT,
    )


def test_no_mask_means_all_tokens_are_real(ragged_batch: Any) -> None:
    model = Transformer(50, 8, 12, 2, 2).double().eval()
    input_ids, mask = ragged_batch([5, 5])
    torch.testing.assert_close(model(input_ids), model(input_ids, mask), **EXACT)


def test_embeddings_have_their_shapes() -> None:
    model = Transformer(50, 8, 12, 2, 3)
    assert model.embedding.weight.shape == (50, 8)
    assert model.cls_token.shape == (1, 1, 8)
    assert model.pos_embedding.shape == (1, 257, 8)
    assert len(model.blocks) == 3


def test_dropout_acts_in_training_only(ragged_batch: Any) -> None:
    model = Transformer(50, 8, 12, 2, 2, dropout=0.3)
    batch = ragged_batch([5, 7])
    assert not torch.equal(model(*batch), model(*batch))
    model.eval()
    assert torch.equal(model(*batch), model(*batch))


def test_256_tokens_pass_and_257_are_refused() -> None:
    model = Transformer(50, 8, 12, 2, 1).eval()
    assert model(torch.ones(1, 256, dtype=torch.int64)).shape == (1, 8)
    with pytest.raises(ValueError, match=r"got 257 tokens.*positions for 256.*cut the reviews"):
        model(torch.ones(1, 257, dtype=torch.int64))


def test_unfit_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="block: got 'pre'; allowed are prenorm, postnorm"):
        Transformer(block="pre")
    with pytest.raises(ValueError, match="num_heads: got 3, which does not divide embed_dim = 8"):
        Transformer(embed_dim=8, num_heads=3)


@pytest.mark.cuda
def test_cuda_equals_the_cpu(ragged_batch: Any) -> None:
    model = Transformer(50, 8, 12, 2, 2).double().eval()
    input_ids, mask = ragged_batch(LENGTHS, steps=9)
    expected = model(input_ids, mask)
    found = model.cuda()(input_ids.cuda(), mask.cuda())
    torch.testing.assert_close(found.cpu(), expected, **EXACT)


def test_compiled_gradients_in_bfloat16_are_the_eager_ones() -> None:
    torch.manual_seed(0)
    model = Transformer(50, 16, 32, 2, 2, "prenorm", 0.0, pooling="mean")
    compiled = torch.compile(model, backend="aot_eager", dynamic=True)
    ids = torch.randint(1, 50, (3, 9))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    gradients = []
    for runs in (model, compiled):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            runs(ids, mask).float().pow(2).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
