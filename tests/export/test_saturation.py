"""Weights of seven bits where products of eight overflow."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export import quantize
from export.quantize import to_int8
from export.saturation import INNER, full_product, products_saturate

K = 64


def linear(weights: NDArray[np.float32]) -> onnx.ModelProto:
    """(., K) times `weights` (K, K)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, K])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, K])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("weight", [-64, 64])
def test_seven_bits_are_exact_on_every_processor(weight: int) -> None:
    assert (full_product(weight) == 255 * weight * INNER).all()


def test_eight_bits_are_exact_where_it_is_said() -> None:
    exact = (full_product(127) == 255 * 127 * INNER).all()
    assert products_saturate() == (not exact)


@pytest.mark.parametrize("saturates", [False, True])
def test_weights_are_of_as_many_bits_as_the_products_take(
    saturates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "products_saturate", lambda: saturates)
    quantised = to_int8(linear(np.random.default_rng(0).normal(size=(K, K)).astype(np.float32)))
    found = [numpy_helper.to_array(each) for each in quantised.graph.initializer]
    (int8,) = [each for each in found if each.dtype == np.int8 and each.size == K * K]
    assert np.abs(int8.astype(int)).max() == (64 if saturates else 127)


def test_what_is_exported_here_is_right_here(tmp_path: Path) -> None:
    """Inputs and weights at the end of their ranges: what overflows, if anything does."""
    path = tmp_path / "linear.onnx"
    onnx.save(to_int8(linear(np.full((K, K), 1.0, np.float32))), path)
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"x": np.ones((3, K), np.float32)}
    )
    np.testing.assert_allclose(found, K, rtol=0.01)
