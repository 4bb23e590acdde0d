"""On a GPU: our GRU against cuDNN's and our attention against torch's own, in training too."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from models import recurrence
from models.encoder_decoder import EncoderDecoder
from models.gru import GRU
from models.transformer import MultiHeadedAttention

pytestmark = pytest.mark.cuda

# float32 sums of up to 64 products in another order, through as many steps.
FLOAT32: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(autouse=True)
def _without_tf32() -> Iterator[None]:
    """cuDNN takes it by default, which leaves ten bits."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield


@pytest.mark.parametrize("backend", ["loop", "triton"])
def test_the_gru_equals_cudnns_in_float32_with_every_gradient(backend: str) -> None:
    if backend == "triton":
        pytest.importorskip("triton", reason="no Triton")
    recurrence.use(backend)
    try:
        _equals_cudnns()
    finally:
        recurrence.use("loop")


def _equals_cudnns() -> None:
    torch.manual_seed(0)
    ours, theirs = GRU(32, 64).cuda(), nn.GRU(32, 64, batch_first=True).cuda()
    parts = [ours.w_ir, ours.w_iz, ours.w_in, ours.w_hr, ours.w_hz, ours.w_hn,
             ours.b_ir, ours.b_iz, ours.b_in, ours.b_hr, ours.b_hz, ours.b_hn]  # fmt: skip
    stacked = [torch.cat(parts[i : i + 3]).detach() for i in range(0, 12, 3)]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), stacked, strict=True)))
    inputs = torch.randn(8, 40, 32, device="cuda", requires_grad=True)
    state = torch.randn(1, 8, 64, device="cuda", requires_grad=True)
    outputs, expected = ours(inputs, state)[0], theirs(inputs, state)[0]
    torch.testing.assert_close(outputs, expected, **FLOAT32)
    with torch.inference_mode():
        torch.testing.assert_close(ours(inputs, state)[0], expected.detach(), **FLOAT32)

    weights = torch.randn_like(outputs) / outputs.numel() ** 0.5
    found = torch.autograd.grad((outputs * weights).sum(), [inputs, state, *parts])
    wanted = torch.autograd.grad((expected * weights).sum(), [inputs, state, *theirs.parameters()])
    gradients = [torch.cat(found[i : i + 3]) for i in range(2, 14, 3)]
    torch.testing.assert_close([*found[:2], *gradients], list(wanted), **FLOAT32)


@pytest.mark.parametrize("masked", [True, False])
def test_attention_equals_torchs_math_with_every_gradient(masked: bool) -> None:
    torch.manual_seed(0)
    attention = MultiHeadedAttention(16, 4, 40).cuda()
    q, k, v = (torch.randn(8, 4, 40, 16, device="cuda", requires_grad=True) for _ in range(3))
    lengths = torch.arange(5, 45, 5, device="cuda").unsqueeze(1)
    mask = (torch.arange(40, device="cuda") < lengths).to(torch.int64) if masked else None
    found = attention.apply_attention(q, k, v, mask)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        real = None if mask is None else (mask != 0)[:, None, None, :]
        expected = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), real)
    expected = attention.merge_heads(expected).float()
    torch.testing.assert_close(found, expected, **FLOAT32)
    ours = torch.autograd.grad(found.pow(2).sum(), [q, k, v])
    theirs = torch.autograd.grad(expected.pow(2).sum(), [q, k, v])
    torch.testing.assert_close(list(ours), list(theirs), **FLOAT32)


@pytest.mark.parametrize("options", [{}, {"reads_padding": True, "pooling": "mean"}])
def test_under_bf16_a_gru_runs_in_bf16_and_learns_what_float32_does(
    options: Any, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(50, 16, 16, 2, **options).cuda()
    ids, mask = (tensor.cuda() for tensor in ragged_batch([5, 1, 7, 3]))

    def learned(enabled: bool) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=enabled):
            feature = model.feature(ids, mask)
            states = model.encoder(ids, model.encoder.initial_states(4), mask)[0]
        feature.float().pow(2).sum().backward()
        if enabled:
            assert states.dtype == torch.bfloat16, "cuDNN left to itself gives float16"
        return feature, [p.grad.clone() for p in model.parameters() if p.grad is not None]

    (exact, gradients), (feature, rounded) = learned(False), learned(True)
    # bfloat16 keeps eight bits, over some ten roundings in a row
    torch.testing.assert_close(feature.float(), exact, rtol=0.1, atol=0.05)
    for ours, theirs in zip(rounded, gradients, strict=True):
        assert (ours - theirs).norm() <= 0.1 * theirs.norm() + 1e-3
