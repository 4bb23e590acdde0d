"""Whether this processor's int8 products overflow.

Without VNNI, ONNX Runtime multiplies uint8 by int8 with x86's `vpmaddubsw`, which adds two products
in 16 bits with saturation: 2 · 255 · 127 does not fit, 2 · 255 · 64 does. Weights of seven bits
(ONNX Runtime's `reduce_range`) are therefore right on every processor, at half the resolution.
"""

import functools

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INNER = 64  # of the product that is tried


@functools.cache
def products_saturate() -> bool:
    """Tried, not looked up: it is the library's kernel for this processor that decides."""
    return bool((full_product(127) != INNER * 255 * 127).any())


def full_product(weight: int) -> NDArray[np.int32]:
    """What ONNX Runtime makes here of 255 · `weight`, INNER times over: (1, INNER), all alike."""
    weights = np.full((INNER, INNER), weight, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [1, INNER])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [1, INNER])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (product,) = session.run(None, {"a": np.full((1, INNER), 255, np.uint8)})
    return np.asarray(product, np.int32)
