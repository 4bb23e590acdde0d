"""The Triton kernels, interpreted on the CPU, against torch's GRU in float64; and compiled."""

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from models import recurrence
from models.gru import GRU, side_by_side

triton = pytest.importorskip(
    "triton", reason="no Triton: it comes with PyTorch for CUDA, or pip install triton==3.9.0"
)
KERNELS = "models.triton_recurrence"


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The kernels in use and interpreted, which is settled when they are imported."""
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 9):
        pytest.skip("Triton's interpreter before 3.9 fails with NumPy 2.4")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    sys.modules.pop(KERNELS, None)
    recurrence.use("triton")
    found = recurrence.kernels_for(torch.empty(0))
    assert found is not None
    yield found
    recurrence.use("loop")
    del sys.modules[KERNELS]


def torchs(*ours: GRU) -> nn.GRU:
    """An nn.GRU in float64 with the weights of `ours`, one a direction."""
    theirs = nn.GRU(ours[0].input_size, ours[0].hidden_size, batch_first=True,
                    bidirectional=len(ours) == 2, dtype=torch.float64)  # fmt: skip
    stacked = [tensor for gru in ours for tensor in gru.stacked()]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), stacked, strict=True)))
    return theirs


def gradients(grus: list[GRU], found: tuple[Tensor, ...]) -> list[Tensor]:
    """Those of each direction's twelve parameters, in the order and shapes of `nn.GRU`'s four."""
    names = [name for name, _ in grus[0].named_parameters()]
    each = [dict(zip(names, found[i : i + 12], strict=True)) for i in range(0, len(found), 12)]
    return [
        torch.cat([own[f"{kind}_{part}{gate}"] for gate in "rzn"])
        for own in each
        for kind, part in ("wi", "wh", "bi", "bh")
    ]


@pytest.mark.parametrize(
    ("batch_size", "steps", "hidden"),
    [(1, 1, 16), (5, 7, 32), (17, 3, 80), (33, 2, 128)],
    ids=["one", "few", "no multiple of a tile", "several tiles"],
)
def test_both_directions_and_every_gradient_are_torchs(
    kernels: ModuleType, batch_size: int, steps: int, hidden: int
) -> None:
    torch.manual_seed(0)
    grus = [GRU(12, hidden), GRU(12, hidden)]
    theirs = torchs(*grus)
    inputs = torch.randn(batch_size, steps, 12, requires_grad=True)
    state = torch.randn(2, batch_size, hidden, requires_grad=True)
    ahead, back = side_by_side(grus, [inputs, inputs.flip(1)], state)
    outputs = torch.cat([ahead, back.flip(1)], dim=2)
    exact = [tensor.detach().double().requires_grad_() for tensor in (inputs, state)]
    expected = theirs(*exact)[0]
    # float32 sums of up to 128 products
    close: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(outputs, expected, **close)
    with torch.inference_mode():
        alone = side_by_side(grus, [inputs, inputs.flip(1)], state)[0]
    torch.testing.assert_close(alone, expected[..., :hidden].detach(), **close)

    weights = torch.randn_like(outputs)
    parameters = [parameter for gru in grus for parameter in gru.parameters()]
    found = torch.autograd.grad((outputs * weights).sum(), [inputs, state, *parameters])
    wanted = torch.autograd.grad((expected * weights).sum(), [*exact, *theirs.parameters()])
    torch.testing.assert_close(
        [*found[:2], *gradients(grus, found[2:])], list(wanted), **close | {"atol": 1e-4}
    )


def test_longer_than_the_loops_chunk_of_inference(
    kernels: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    gru, steps = GRU(3, 16), recurrence.STEPS_AHEAD + 5
    inputs, state = torch.randn(2, steps, 3), torch.randn(1, 2, 16)
    launched: list[int] = []
    monkeypatch.setattr(kernels, "advance", counted(kernels.advance, launched))
    with torch.inference_mode():
        outputs = gru(inputs, state)[0]
        expected = torchs(gru)(inputs.double(), state.double())[0]
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5, check_dtype=False)
    assert launched == [steps + 1], "one launch for all steps, and no chunks"


def counted(call: Callable[..., None], lengths: list[int]) -> Callable[..., None]:
    """`call`, noting how many states it was to fill."""

    def counting(states: Tensor, **others: Tensor) -> None:
        lengths.append(len(states))
        call(states, **others)

    return counting


def test_float16_answers_within_its_rounding_and_learns(kernels: ModuleType) -> None:
    """The interpreter takes the bits of bfloat16 for whole numbers in products."""
    torch.manual_seed(0)
    gru = GRU(8, 64).half()
    inputs, state = torch.randn(4, 5, 8).half(), torch.randn(1, 4, 64).half()
    inputs.requires_grad_()
    exact = inputs.detach().double().requires_grad_()
    outputs, expected = gru(inputs, state)[0], torchs(gru)(exact, state.double())[0]
    assert outputs.dtype == torch.float16
    # a state is rounded to eleven bits at each of five steps
    torch.testing.assert_close(outputs, expected, rtol=0, atol=3e-3, check_dtype=False)
    found = torch.autograd.grad(outputs.float().sum(), inputs)[0]
    wanted = torch.autograd.grad(expected.sum(), exact)[0]
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-3, check_dtype=False)


def test_the_kernels_are_what_ran(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "advance", lambda states, **_: states.fill_(7))
    with torch.inference_mode():
        assert (GRU(3, 16)(torch.ones(2, 4, 3), torch.zeros(1, 2, 16))[0] == 7).all()


def test_float64_is_refused(kernels: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"not torch\.float64"):
        GRU(3, 16).double()(torch.ones(2, 4, 3).double(), torch.zeros(1, 2, 16).double())


@pytest.mark.parametrize(
    ("dtype", "precision"), [("fp32", "ieee"), ("fp32", "tf32"), ("bf16", "ieee")]
)
@pytest.mark.parametrize(("kernel", "barriers"), [("_advance", 1), ("_retreat", 2)])
def test_they_compile_for_an_h100(
    kernel: str, barriers: int, dtype: str, precision: str, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Triton brings NVIDIA's assembler: no GPU is needed."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from models import triton_recurrence

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = triton.JITFunction(getattr(triton_recurrence, kernel).fn)
    tensors = function.arg_names[:4]
    sizes = {"HIDDEN": 256, "ROWS": triton_recurrence.ROWS, "COLUMNS": triton_recurrence.COLUMNS,
             "DEPTH": triton_recurrence.DEPTH, "PRECISION": precision}  # fmt: skip
    signature = dict.fromkeys(tensors, f"*{dtype}") | dict.fromkeys(
        ("steps", "batch", "directions"), "i32"
    )
    signature |= dict.fromkeys(sizes, "constexpr")
    aligned = {(i,): [["tt.divisibility", 16]] for i in range(4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Triton's own defaults
        done = triton.compile(ASTSource(function, signature, sizes, aligned),
                              target=GPUTarget("cuda", 90, 32))  # fmt: skip
    # those that the kernel asks for: the compiler's own come later
    assert done.asm["ttir"].count("ttg.barrier all") == barriers
    tensor_cores = "mma.sync" in done.asm["ptx"]
    assert tensor_cores == (dtype == "bf16" or precision == "tf32")
    assert done.metadata.shared <= 227 * 1024
    assert len(done.asm["cubin"]) > 0
