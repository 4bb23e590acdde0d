"""Weights of seven bits where products of eight overflow."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import quantize
from export.quantize import to_int8
from export.saturation import products_saturate

K = 64


def product(weight: int) -> np.ndarray:
    """255 · `weight`, K times over, by ONNX Runtime's own int8 kernel here."""
    weights = numpy_helper.from_array(np.full((K, K), weight, np.int8), "b")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])], "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [3, K])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [3, K])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"a": np.full((3, K), 255, np.uint8)})
    return np.asarray(found)


@pytest.mark.parametrize("weight", [-64, 64])
def test_seven_bits_are_exact_on_every_processor(weight: int) -> None:
    assert (product(weight) == 255 * weight * K).all()


def test_eight_bits_are_exact_where_it_is_said() -> None:
    exact = (product(127) == 255 * 127 * K).all()
    assert products_saturate() == (not exact)


@pytest.mark.parametrize("saturates", [False, True])
def test_weights_are_of_as_many_bits_as_the_products_take(
    saturates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "products_saturate", lambda: saturates)
    weights = np.random.default_rng(0).normal(size=(K, K)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, K])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, K])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    quantised = to_int8(model)
    found = [numpy_helper.to_array(each) for each in quantised.graph.initializer]
    (int8,) = [each for each in found if each.dtype == np.int8 and each.size == K * K]
    assert np.abs(int8.astype(int)).max() == (64 if saturates else 127)


def test_what_is_exported_here_is_right_here(tmp_path: Path) -> None:
    """Inputs and weights at the end of their ranges: what overflows, if anything does."""
    weights = np.full((K, K), 1.0, np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, K])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, K])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "linear.onnx"
    onnx.save(to_int8(model), path)
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"x": np.ones((3, K), np.float32)}
    )
    np.testing.assert_allclose(found, K, rtol=0.01)
