"""The custom GRU against torch's, in float64."""

from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from models.gru import GRU, side_by_side
from models.recurrence import STEPS_AHEAD, WIDE, recurrence

# The two compute the same sums in another order: a few units in the last place of float64.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def same_as_torch(ours: GRU) -> nn.GRU:
    """An nn.GRU with the weights of `ours`; its gates come in the order r, z, n."""
    theirs = nn.GRU(ours.input_size, ours.hidden_size, batch_first=True).to(ours.w_ir.dtype)
    stacked: dict[str, list[Tensor]] = {
        "weight_ih_l0": [ours.w_ir, ours.w_iz, ours.w_in],
        "weight_hh_l0": [ours.w_hr, ours.w_hz, ours.w_hn],
        "bias_ih_l0": [ours.b_ir, ours.b_iz, ours.b_in],
        "bias_hh_l0": [ours.b_hr, ours.b_hz, ours.b_hn],
    }
    theirs.load_state_dict({name: torch.cat(gates) for name, gates in stacked.items()})
    return theirs


def batch(batch_size: int, steps: int, gru: GRU) -> tuple[Tensor, Tensor]:
    dtype = gru.w_ir.dtype
    inputs = torch.randn(batch_size, steps, gru.input_size, dtype=dtype, requires_grad=True)
    state = torch.randn(1, batch_size, gru.hidden_size, dtype=dtype, requires_grad=True)
    return inputs, state


@pytest.mark.parametrize(("batch_size", "steps"), [(3, 7), (1, 7), (3, 1), (1, 1)])
def test_forward_and_every_gradient_equal_torchs(batch_size: int, steps: int) -> None:
    torch.manual_seed(0)
    ours = GRU(5, 4).double()
    theirs = same_as_torch(ours)
    inputs, state = batch(batch_size, steps, ours)
    outputs, final = ours(inputs, state)
    assert outputs.shape == (batch_size, steps, 4)
    assert final.shape == (1, batch_size, 4)
    expected_outputs, expected_final = theirs(inputs, state)
    torch.testing.assert_close(outputs, expected_outputs, **EXACT)
    torch.testing.assert_close(final, expected_final, **EXACT)

    # Both results count, with weights that differ, so that no two gradients can stand in for
    # each other.
    weights = torch.randn_like(outputs)
    found = torch.autograd.grad(
        (outputs * weights).sum() + final.pow(3).sum(), [inputs, state, *ours.parameters()]
    )
    wanted = torch.autograd.grad(
        (expected_outputs * weights).sum() + expected_final.pow(3).sum(),
        [inputs, state, *theirs.parameters()],
    )
    torch.testing.assert_close(found[:2], wanted[:2], **EXACT)
    by_name = dict(zip([name for name, _ in ours.named_parameters()], found[2:], strict=True))
    for kind, side, gradient in zip("wwbb", "ihih", wanted[2:], strict=True):
        stacked = torch.cat([by_name[f"{kind}_{side}{gate}"] for gate in "rzn"])
        torch.testing.assert_close(stacked, gradient, **EXACT)


def test_gradcheck() -> None:
    torch.manual_seed(0)
    gru = GRU(3, 2).double()
    parameters = dict(gru.named_parameters())

    def run(inputs: Tensor, state: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        replaced = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(gru, replaced, (inputs, state))

    arguments = (*batch(2, 3, gru), *parameters.values())
    assert torch.autograd.gradcheck(run, arguments)
    assert torch.autograd.gradgradcheck(run, arguments)


def test_without_gradients_the_states_are_the_same() -> None:
    # More steps than are computed ahead at a time, and not a multiple of them.
    torch.manual_seed(0)
    gru = GRU(5, 4).double()
    inputs, state = batch(3, 2 * STEPS_AHEAD + 7, gru)
    expected, _ = gru(inputs, state)
    with torch.inference_mode():
        torch.testing.assert_close(gru(inputs, state)[0], expected.detach(), **EXACT)
    torch.testing.assert_close(expected, same_as_torch(gru)(inputs, state)[0], **EXACT)


def test_many_elements_a_step_give_what_few_do() -> None:
    torch.manual_seed(0)
    gru = GRU(5, 64).double()
    inputs, state = batch(WIDE // 64, 3, gru)
    found, _ = gru(inputs, state)
    expected, _ = same_as_torch(gru)(inputs, state)
    torch.testing.assert_close(found, expected, **EXACT)
    factors = torch.randn_like(found)
    torch.testing.assert_close(
        torch.autograd.grad(found, [inputs, state], factors),
        torch.autograd.grad(expected, [inputs, state], factors),
        **EXACT,
    )
    few = torch.cat(
        [gru(x, h)[0] for x, h in zip(inputs.split(2), state.split(2, dim=1), strict=True)]
    )
    torch.testing.assert_close(found, few, **EXACT)


def bidirectional(forward: GRU, backward: GRU) -> nn.GRU:
    theirs = nn.GRU(
        forward.input_size, forward.hidden_size, batch_first=True, bidirectional=True
    ).to(forward.w_ir.dtype)
    with torch.no_grad():
        for ours, suffix in ((forward, ""), (backward, "_reverse")):
            for name, parameter in same_as_torch(ours).named_parameters():
                getattr(theirs, name + suffix).copy_(parameter)
    return theirs


@pytest.mark.parametrize(("batch_size", "steps"), [(3, 7), (1, 40), (2, 1)])
def test_two_directions_side_by_side_equal_torchs_bidirectional_one(
    batch_size: int, steps: int
) -> None:
    torch.manual_seed(0)
    ours = [GRU(5, 4).double(), GRU(5, 4).double()]
    theirs = bidirectional(*ours)
    inputs, _ = batch(batch_size, steps, ours[0])
    state = torch.randn(2, batch_size, 4, dtype=torch.float64, requires_grad=True)
    expected, _ = theirs(inputs, state)
    forward, backward = side_by_side(ours, [inputs, inputs.flip(1)], state)
    found = torch.cat([forward, backward.flip(1)], dim=2)
    torch.testing.assert_close(found, expected, **EXACT)
    with torch.no_grad():
        alone = side_by_side(ours, [inputs, inputs.flip(1)], state)
    torch.testing.assert_close(alone, [forward.detach(), backward.detach()], **EXACT)

    weights = torch.randn_like(found)
    parameters = [parameter for gru in ours for parameter in gru.parameters()]
    gradients = torch.autograd.grad((found * weights).sum(), [inputs, state, *parameters])
    wanted = torch.autograd.grad((expected * weights).sum(), [inputs, state, *theirs.parameters()])
    torch.testing.assert_close(gradients[:2], wanted[:2], **EXACT)
    names = [name for name, _ in ours[0].named_parameters()]
    for number, suffix in enumerate(("", "_reverse")):
        first = 2 + number * len(names)
        by_name = dict(zip(names, gradients[first : first + len(names)], strict=True))
        for kind, side, torchs in zip("wwbb", "ihih", wanted[2 + 4 * number :], strict=False):
            stacked = torch.cat([by_name[f"{kind}_{side}{gate}"] for gate in "rzn"])
            torch.testing.assert_close(stacked, torchs, **EXACT, msg=f"{kind}_{side}{suffix}")


def test_two_directions_gradcheck() -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 2, 3), (2, 2, 2), (2, 6, 3), (2, 6, 2), (2, 6), (2, 6)]
    arguments = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(recurrence, arguments)
    assert torch.autograd.gradgradcheck(recurrence, arguments)


def test_what_needs_no_gradient_gets_none() -> None:
    gru = GRU(5, 4)
    gru.w_ir.requires_grad_(False)
    inputs, state = batch(2, 3, gru)
    gru(inputs.detach(), state)[0].sum().backward()
    assert inputs.grad is None and gru.w_ir.grad is None
    assert state.grad is not None and gru.w_iz.grad is not None


def test_a_result_changed_in_place_is_not_differentiated_silently() -> None:
    gru = GRU(5, 4)
    outputs, _ = gru(*batch(2, 3, gru))
    with pytest.raises(RuntimeError, match="inplace"):
        outputs.mul_(2)
        outputs.sum().backward()


def test_the_last_state_is_no_view_of_the_outputs() -> None:
    gru = GRU(5, 4)
    with torch.no_grad():
        outputs, last = gru(*batch(2, 3, gru))
        kept = last.clone()
        outputs.zero_()
    assert torch.equal(last, kept)


@pytest.mark.parametrize("shape", [(1, 1, 4), (2, 4), (2, 2, 4), (1, 2, 5)])
def test_a_state_of_another_shape_is_refused_and_not_broadcast(shape: tuple[int, ...]) -> None:
    gru = GRU(5, 4)
    with pytest.raises(ValueError, match=r"hidden_states: got .*; give \(1, 2, 4\)"):
        gru(torch.zeros(2, 3, 5), torch.zeros(shape))


def test_parameters_have_their_names_and_shapes() -> None:
    shapes = {name: tuple(parameter.shape) for name, parameter in GRU(5, 4).named_parameters()}
    assert shapes == {
        **{f"w_i{gate}": (4, 5) for gate in "rzn"},
        **{f"w_h{gate}": (4, 4) for gate in "rzn"},
        **{f"b_{side}{gate}": (4,) for side in "ih" for gate in "rzn"},
    }


def test_initial_parameters_fill_plus_minus_one_over_root_hidden_size() -> None:
    torch.manual_seed(0)
    for name, parameter in GRU(64, 64).named_parameters():
        largest = parameter.abs().max().item()
        # 64 uniform draws at least: all below 0.9 of the bound has a chance of 0.9^64 = 0.1%.
        assert 0.9 / 8 < largest <= 1 / 8, name


@pytest.mark.parametrize("name", [name for name, _ in GRU(1, 1).named_parameters()])
def test_a_replaced_parameter_is_the_one_that_is_read(name: str) -> None:
    torch.manual_seed(0)
    gru = GRU(5, 4).double()
    inputs, state = batch(2, 3, gru)
    before, _ = gru(inputs, state)
    setattr(gru, name, nn.Parameter(torch.randn_like(getattr(gru, name))))
    after, _ = gru(inputs, state)
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after, same_as_torch(gru)(inputs, state)[0], **EXACT)


@pytest.mark.parametrize(("batch_size", "hidden_size"), [(3, 4), (32, 64)])
def test_float32_equals_torchs(batch_size: int, hidden_size: int) -> None:
    torch.manual_seed(0)
    gru = GRU(5, hidden_size)
    inputs, state = batch(batch_size, 20, gru)
    outputs, _ = gru(inputs, state)
    assert outputs.dtype == torch.float32
    # Rounding of 20 steps of float32.
    torch.testing.assert_close(outputs, same_as_torch(gru)(inputs, state)[0], rtol=1e-5, atol=1e-6)


def test_autocast_to_bfloat16_stays_close_and_trains() -> None:
    torch.manual_seed(0)
    gru = GRU(5, 4)
    inputs, state = batch(3, 20, gru)
    expected, _ = gru(inputs, state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _ = gru(inputs, state)
    # bfloat16 has 8 bits of mantissa: 0.004 a product, on states below 1.
    torch.testing.assert_close(outputs.float(), expected, rtol=0, atol=0.03)
    outputs.float().sum().backward()
    assert all(parameter.grad is not None for parameter in gru.parameters())


def test_a_backward_pass_under_autocast_is_not_rounded() -> None:
    torch.manual_seed(0)
    gru = GRU(5, 8)
    inputs, state = batch(3, 7, gru)
    found = []
    for enabled in (False, True):
        loss = gru(inputs, state)[0].pow(3).sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            found.append(torch.autograd.grad(loss, list(gru.parameters())))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_reads_any_number_of_steps() -> None:
    gru = GRU(5, 4).double()
    scripted = torch.jit.script(gru)
    for batch_size, steps in [(3, 7), (1, 1), (2, 12)]:
        inputs, state = batch(batch_size, steps, gru)
        torch.testing.assert_close(scripted(inputs, state), gru(inputs, state), **EXACT)


@pytest.mark.cuda
def test_cuda_equals_the_cpu() -> None:
    torch.manual_seed(0)
    gru = GRU(5, 4).double()
    inputs, state = batch(3, 7, gru)
    expected = gru(inputs, state)
    found = gru.cuda()(inputs.cuda(), state.cuda())
    torch.testing.assert_close([part.cpu() for part in found], list(expected), **EXACT)
