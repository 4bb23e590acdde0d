"""Writes one artefact into its bundle: made, proved from its bytes, then renamed into place."""

import hashlib
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from export.backends import BACKENDS, Engine
from export.cases import cases
from export.certificate import certify, read_config, write_whole
from export.formats import FORMATS
from export.metadata import metadata_of, vocabulary_size
from export.parity import Advance, Reference, check, measure
from export.reviews import LabelledSet
from export.torch_engine import torch_engine
from models.bundle import Bundle

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime")


def reference_of(
    folder: Path, bundle: Bundle, reviews: LabelledSet, advance: Advance = lambda: None
) -> Reference:
    """The checkpoint's own answers, in float32, on all cases and reviews."""
    engine = torch_engine(bundle.model.float(), "cpu", None)
    batches = cases(vocabulary_size(read_config(folder)))
    return Reference.of(engine, batches, reviews.rows, reviews.labels, reviews.source, advance)


class Exporter:
    """Makes the artefacts of one bundle; the float32 graph, which int8 starts from, once."""

    def __init__(self, folder: Path, bundle: Bundle, opset: int | None = None) -> None:
        self.folder = folder
        self.bundle = bundle
        self.opset = opset
        self.metadata = metadata_of(read_config(folder))

    @cached_property
    def graph(self) -> Any:
        """The classifier as an ONNX graph in float32."""
        return self._graph(torch.float32)

    def open_content(name: str, content: bytes, device: str = "cpu") -> Engine:
    """The engine that will serve an artefact of the format `name`, from its bytes."""
    kind = next(kind for kind in BACKENDS.values() if kind.format == name)
    assert kind.from_bytes is not None
    return kind.from_bytes(content, FORMATS[name].filename, device, None)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # one of the two distributions of ONNX Runtime
            continue
    return found
