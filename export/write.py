"""Writes one artefact into its bundle: made, proved from its bytes, then renamed into place."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export.backends import Engine, onnx_engine, torch_engine
from export.cases import Case
from export.certificate import certify, read_config, write_whole
from export.formats import FORMATS
from export.metadata import metadata_of
from export.parity import check, compare
from models.bundle import Bundle


def write_artefact(
    folder: Path,
    bundle: Bundle,
    name: str,
    cases: list[Case],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Exports `bundle`, which was loaded from `folder`, to the format `name`; returns the
    certificate's entry. Until the proof holds, nothing in the folder changes.

    Raises:
        ParityError: the artefact does not answer as the checkpoint does.
    """
    entry = FORMATS[name]
    config = read_config(folder)
    metadata = metadata_of(config)
    content = make(name, bundle, metadata)
    reference = torch_engine(bundle.model.float(), "cpu", None)
    candidate = open_content(name, content, entry.filename)
    findings = check(compare(reference, candidate, cases, advance), entry.gate, entry.filename)
    certificate = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights_sha256": config["weights_sha256"],
        "tokenizer_sha256": config["tokenizer_sha256"],
        "passed": True,
        "gate": asdict(entry.gate),
        **findings,
        "cases": len(cases),
        "bytes": len(content),
        "versions": {package: version(package) for package in ("torch", "onnx")},
    }
    write_whole(folder / entry.filename, content)
    certify(folder, entry.filename, certificate)
    return certificate


def make(name: str, bundle: Bundle, metadata: dict[str, str]) -> bytes:
    """The artefact of the format `name`, as bytes."""
    if name == "torchscript":
        from export.torchscript import export_torchscript

        return export_torchscript(bundle, metadata)
    from export.onnx import export_onnx

    return export_onnx(bundle, metadata).SerializeToString()


def open_content(name: str, content: bytes, filename: str, device: str = "cpu") -> Engine:
    """The engine that will serve an artefact of the format `name`, from its bytes."""
    if name == "torchscript":
        from export.torchscript import load_torchscript

        return torch_engine(load_torchscript(content, device), device, None)
    return onnx_engine(content, device, None, filename)
