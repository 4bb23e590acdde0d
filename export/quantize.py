"""Int8 for CPUs: products with int8 weights where ONNX Runtime multiplies them as int8, and int8
storage where it does not.

Linear layers are quantised dynamically, a scale an output channel: activations become uint8 as they
come, so that no calibration set is needed; their weights take seven bits where products of eight
would overflow. Embeddings keep a scale a row and are widened after the
look-up. A `GRU`'s weights are stored as int8, a scale an output channel, and widened when the
session is made, since ONNX Runtime has no int8 kernel for the operator: a quarter of the file, at
the float32 operator's speed.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from export.formats import NotExportable
from export.saturation import products_saturate

SMALLEST = 2048  # elements: below it a scale costs as much as it saves


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float32 `model` with int8 weights; same inputs, outputs and metadata."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    # The quantizer transposes weights and leaves their old shapes in here.
    del bare.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder, _quiet():  # the quantizer writes a file
        path = Path(folder) / "model.onnx"
        quantize_dynamic(
            bare,
            path,
            op_types_to_quantize=["MatMul", "Gemm", "Attention"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=products_saturate(),
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantised = onnx.load(path)
    initializers = {each.name: each for each in quantised.graph.initializer}
    for node in list(quantised.graph.node):
        if node.op_type == "Gather" and _is_large(initializers.get(node.input[0])):
            _quantise_embedding(quantised.graph, node, initializers)
        if node.op_type == "GRU":
            for index in (1, 2):  # W and R
                if _is_large(initializers.get(node.input[index])):
                    _quantise_gru_weight(quantised.graph, node, index, initializers)
    _drop_unused(quantised.graph)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantised)
    return quantised


def symmetric(
    weights: NDArray[np.float32], axis: int, limit: int = 127
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`weights` ≈ quantised · scale, with one scale for each index of `axis`; the other dimensions
    of `scale` are 1. None is beyond ±`limit`. `NotExportable` for weights that are not finite: they
    have no scale, and NaN becomes some int8 without a word."""
    if not np.isfinite(weights).all():
        raise NotExportable(
            f"int8: a weight of shape {weights.shape} is not finite, so that it has no scale; "
            "train the checkpoint again"
        )
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(limit)
    return np.rint(weights / scale).astype(np.int8), scale


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's advice, on the root logger, to fold constants first: they are."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _is_large(initializer: onnx.TensorProto | None) -> bool:
    return (
        initializer is not None
        and initializer.data_type == onnx.TensorProto.FLOAT
        and int(np.prod(initializer.dims)) >= SMALLEST
    )


def _quantise_embedding(
    graph: onnx.GraphProto, node: onnx.NodeProto, initializers: dict[str, onnx.TensorProto]
) -> None:
    """Gather(table, ids) becomes Cast(Gather(int8 table, ids)) · Gather(scales, ids)."""
    table, ids, output = node.input[0], node.input[1], node.output[0]
    if f"{table}_int8" not in initializers:  # another look-up in the same table may have made it
        weights = numpy_helper.to_array(initializers[table])
        quantised, scale = symmetric(weights, axis=0)  # (V, E), (V, 1)
        for added in (
            numpy_helper.from_array(quantised, f"{table}_int8"),
            numpy_helper.from_array(scale, f"{table}_scale"),
        ):
            graph.initializer.append(added)
            initializers[added.name] = added
    names = [f"{output}_{part}" for part in ("int8", "scale", "wide")]
    position = list(graph.node).index(node)
    graph.node.remove(node)
    replacement = [
        helper.make_node("Gather", [f"{table}_int8", ids], [names[0]], axis=0),
        helper.make_node("Gather", [f"{table}_scale", ids], [names[1]], axis=0),
        helper.make_node("Cast", [names[0]], [names[2]], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [names[2], names[1]], [output]),
    ]
    for offset, each in enumerate(replacement):
        graph.node.insert(position + offset, each)


def _quantise_gru_weight(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    index: int,
    initializers: dict[str, onnx.TensorProto],
) -> None:
    """Input `index` (directions, 3H, ·) of a `GRU` becomes DequantizeLinear of an int8 tensor."""
    name = node.input[index]
    quantised, scale = symmetric(numpy_helper.to_array(initializers[name]), axis=1)
    zero = np.zeros(scale.size, np.int8)
    tensors = (quantised, "int8"), (scale.reshape(-1), "scale"), (zero, "zero")
    for tensor, part in tensors:
        graph.initializer.append(numpy_helper.from_array(tensor, f"{name}_{part}"))
    inputs = [f"{name}_{part}" for _, part in tensors]
    wide = f"{name}_wide"
    graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [wide], axis=1))
    node.input[index] = wide


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
