"""ONNX: one file that any ONNX runtime reads, with batch and length dynamic."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from torch.export import Dim

from export.formats import MAX_LENGTH
from export.twins import onnx_twin
from models.bundle import Bundle

OPSET = 20  # the first with Gelu; LayerNormalization is of 17


def export_onnx(
    bundle: Bundle,
    metadata: dict[str, str],
    opset: int = OPSET,
    dtype: torch.dtype = torch.float32,
) -> onnx.ModelProto:
    """The bundle's classifier, computing in `dtype`: `input_ids`, `attention_mask` int64 (B, T) ->
    `logits` float32 (B, labels), with `metadata` inside."""
    input_ids = torch.ones(2, 3, dtype=torch.int64)
    dimensions = {0: Dim("batch"), 1: Dim("length", min=1, max=MAX_LENGTH)}
    with quiet_exporter():
        program = torch.onnx.export(
            onnx_twin(bundle.model, dtype),
            (input_ids, torch.ones_like(input_ids)),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(dimensions, dimensions),
            opset_version=opset,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    strip(model)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Without what the exporter says about itself: its use of what torch deprecates, that the two
    inputs share their dimensions (they should), that torchvision is not installed, and which
    constants it does not fold."""
    talkers = (
        "torch.onnx._internal.exporter._registration",
        "onnxscript.optimizer._constant_folding",
    )
    levels = {name: logging.getLogger(name).level for name in talkers}
    for name in talkers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*axis name.*", category=UserWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def strip(model: onnx.ModelProto) -> None:
    """Drops the exporter's notes (source lines and paths of this machine) from every node."""
    del model.metadata_props[:]
    graph = model.graph
    for part in [graph, *graph.node, *graph.input, *graph.output, *graph.value_info]:
        del part.metadata_props[:]
        part.doc_string = ""
    for initializer in graph.initializer:
        del initializer.metadata_props[:]
