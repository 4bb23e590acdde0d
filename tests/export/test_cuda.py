"""On a GPU: exports answer as the checkpoint does on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch

from export.backends import open_backend
from export.torchscript import export_torchscript
from models.bundle import load
from models.registry import ARCHITECTURES

pytestmark = pytest.mark.cuda


def batch() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    ids = random.integers(1, 17, (4, 40))
    return ids, (np.arange(40) < np.array([[40], [17], [1], [8]])).astype(np.int64)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torchscript_on_a_gpu_answers_as_the_checkpoint_on_the_cpu(
    architecture: str, save_bundle: Any
) -> None:
    from export.torch_engine import torchscript

    folder = save_bundle(architecture)
    expected = open_backend(folder, "eager")(*batch())
    with torch.backends.cudnn.flags(allow_tf32=False):
        eager = open_backend(folder, "eager", device="cuda")(*batch())
        engine = torchscript(export_torchscript(load(folder), {}), "model.ts", "cuda", None)
        found = engine(*batch())
    # float32 sums in another order
    np.testing.assert_allclose(eager, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    with torch.autocast("cuda", torch.float16):
        half = engine(*batch())
    # float16 keeps eleven bits; the logits of these tiny models are below 1
    np.testing.assert_allclose(half, expected, rtol=0, atol=1e-2)
