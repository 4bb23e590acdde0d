"""Writes one artefact into its bundle: made, proved from its bytes, then renamed into place."""

import hashlib
from dataclasses import asdict
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


def write_artefact(
    folder: Path,
    bundle: Bundle,
    name: str,
    reference: Reference,
    advance: Advance = lambda: None,
    opset: int | None = None,
) -> dict[str, Any]:
    """Exports `bundle`, which was loaded from `folder`, to the format `name`; returns the
    certificate's entry. Until the proof holds, nothing in the folder changes.

    Raises:
        ParityError: the artefact does not answer as the checkpoint does.
        ValueError: this architecture has no such format; says why.
    """
    content = make(name, bundle, metadata_of(read_config(folder)), opset)
    entry = prove(folder, name, content, reference, advance)
    write_whole(folder / FORMATS[name].filename, content)
    certify(folder, FORMATS[name].filename, entry)
    return entry


def prove(
    folder: Path, name: str, content: bytes, reference: Reference, advance: Advance
) -> dict[str, Any]:
    """The certificate's entry for an artefact of the format `name`, or a `ParityError`."""
    kind = FORMATS[name]
    findings = measure(reference, open_content(name, content), kind.filename, advance)
    check(findings, kind.gate, kind.filename)
    config = read_config(folder)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights_sha256": config["weights_sha256"],
        "tokenizer_sha256": config["tokenizer_sha256"],
        "passed": True,
        "gate": asdict(kind.gate),
        **findings.entry(),
        "bytes": len(content),
        "versions": _versions(),
    }


def make(name: str, bundle: Bundle, metadata: dict[str, str], opset: int | None = None) -> bytes:
    """The artefact of the format `name`, as bytes. Imports only what that format needs."""
    if name == "torchscript":
        from export.torchscript import export_torchscript

        return export_torchscript(bundle, metadata)
    if name == "pt2":
        from export.pt2 import export_pt2

        return export_pt2(bundle, metadata)
    from export.onnx import OPSET, export_onnx

    dtype = torch.float16 if name == "onnx-fp16" else torch.float32
    model = export_onnx(bundle, metadata, opset or OPSET, dtype)
    if name == "onnx-int8":
        from export.quantize import to_int8

        model = to_int8(model)
    return bytes(model.SerializeToString())


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
