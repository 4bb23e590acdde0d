"""Writes one artefact into its bundle: made, proved from its bytes, then renamed into place."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from export.backends import Engine, backend_of, open_content, skips_padding
from export.cases import cases
from export.certificate import certify, read_config
from export.formats import FORMATS
from export.metadata import metadata_of, vocabulary_size
from export.padding import available_cpus
from export.parity import Advance, Reference, Replaced, check, measure
from export.reviews import LabelledSet
from export.torch_engine import torch_engine
from models.bundle import Bundle, load
from models.files import write_whole

_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime-gpu", "onnxruntime")


@dataclass(frozen=True)
class Checkpoint:
    """A bundle as it was loaded from `folder`, and the config.json that names those weights.

    A training run may replace the folder at any time. What is certified is what was loaded, so
    that nobody reads the folder's config.json again but to see whether it is still this one.
    """

    folder: Path
    bundle: Bundle
    config: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Errors as `models.bundle.load`'s; a `ValueError` too where it is replaced meanwhile."""
        config = read_config(folder)
        bundle = load(folder)
        if read_config(folder) != config:
            raise ValueError(f"{folder}: was replaced while it was read; try again")
        return cls(folder, bundle, config)

    def require_unchanged(self, filename: str) -> None:
        """`Replaced` where the folder now holds another bundle."""
        try:
            same = read_config(self.folder) == self.config
        except (FileNotFoundError, ValueError):  # between the two renames of a save
            same = False
        if not same:
            raise Replaced(
                f"{filename}: {self.folder} was replaced while the artefact was proved; "
                "export again"
            )


def reference_of(
    checkpoint: Checkpoint, reviews: LabelledSet, advance: Advance = lambda: None
) -> Reference:
    """The checkpoint's own answers, in float32, on all cases and reviews."""
    engine = torch_engine(checkpoint.bundle.model.float(), "cpu", None)
    batches = cases(vocabulary_size(checkpoint.config))
    return Reference.of(engine, batches, reviews.rows, reviews.labels, reviews.source, advance)


class Exporter:
    """Makes the artefacts of one bundle; the float32 graph, which int8 starts from, once."""

    def __init__(self, checkpoint: Checkpoint, opset: int | None = None) -> None:
        self.checkpoint = checkpoint
        self.bundle = checkpoint.bundle
        self.opset = opset
        self.metadata = metadata_of(checkpoint.config)

    @cached_property
    def graph(self) -> Any:
        """The classifier as an ONNX graph in float32."""
        return self._graph(torch.float32)

    def make(self, name: str) -> bytes:
        """The artefact of the format `name`. Imports only what that format needs."""
        if name == "torchscript":
            from export.torchscript import export_torchscript

            return export_torchscript(self.bundle, self.metadata)
        if name == "pt2":
            from export.pt2 import export_pt2

            return export_pt2(self.bundle, self.metadata)
        if name == "aoti":
            from export.aoti import export_aoti

            return export_aoti(self.bundle, self.metadata)
        if name == "onnx-fp16":
            graph = self._graph(torch.float16)
        elif name == "onnx-int8":
            from export.quantize import to_int8

            graph = to_int8(self.graph)
        else:
            graph = self.graph
        return bytes(graph.SerializeToString())

    def _graph(self, dtype: torch.dtype) -> Any:
        from export.onnx import OPSET, export_onnx

        return export_onnx(self.bundle, self.metadata, self.opset or OPSET, dtype)


def write_artefact(
    exporter: Exporter, name: str, reference: Reference, advance: Advance = lambda: None
) -> dict[str, Any]:
    """Exports to the format `name`, into the bundle's folder; returns the certificate's entry.
    Until the proof holds, nothing in the folder changes.

    Raises:
        ParityError: the artefact does not answer as the checkpoint does, or the folder holds
            another one by now.
        NotExportable: none can be made.
    """
    checkpoint, filename = exporter.checkpoint, FORMATS[name].filename
    folder = checkpoint.folder
    checkpoint.require_unchanged(filename)  # no minutes of proof for what will not be written
    content = exporter.make(name)
    entry = prove(checkpoint, name, content, reference, advance)
    write_whole(folder / filename, content)
    certify(folder, filename, entry)
    return entry


def prove(
    checkpoint: Checkpoint,
    name: str,
    content: bytes,
    reference: Reference,
    advance: Advance,
    device: str = "cpu",
) -> dict[str, Any]:
    """The certificate's entry for an artefact of the format `name`, or a `ParityError`: of the way
    of running it (`ways`) in which the fewest labels are the checkpoint's."""
    kind, found = FORMATS[name], []
    for way in ways(name, checkpoint.config, device):
        engine = open_way(way, name, content, checkpoint.config, device)
        found.append(measure(reference, engine, kind.filename, advance))
        check(found[-1], kind.gate, kind.filename)
    findings = min(found, key=lambda each: (each.on_reviews.agreement, -each.worst.worst))
    checkpoint.require_unchanged(kind.filename)
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights_sha256": checkpoint.config["weights_sha256"],
        "tokenizer_sha256": checkpoint.config["tokenizer_sha256"],
        "passed": True,
        "gate": asdict(kind.gate),
        **findings.entry(),
        "bytes": len(content),
        "versions": _versions(),
    }


@dataclass(frozen=True)
class Way:
    """A way in which an artefact is run: as it is, or in the parts that `open_backend` makes of a
    batch with so many threads (None: its default)."""

    in_parts: bool
    threads: int | None = None


def ways(name: str, config: dict[str, Any], device: str = "cpu") -> list[Way]:
    """Those in which an artefact of the format `name` is proved.

    As it is, since others run the file alone, and where padding is skipped also in parts, since so
    it is served. In int8 the parts decide the scales, and threads decide the parts: there both
    `open_backend`'s default and the parts of one thread, which archives have.
    """
    found = [Way(in_parts=False)]
    if device == "cpu" and skips_padding(backend_of(name), config):
        found.append(Way(in_parts=True))
        if FORMATS[name].gate.max_abs_difference is None and available_cpus() > 1:
            found.append(Way(in_parts=True, threads=1))
    return found


def open_way(way: Way, name: str, content: bytes, config: dict[str, Any], device: str) -> Engine:
    """The engine that runs an artefact of the format `name` in this way, from its bytes."""
    kind, filename = backend_of(name), FORMATS[name].filename
    if way.in_parts:
        return open_content(kind, content, filename, config, device, way.threads)
    assert kind.from_bytes is not None
    return kind.from_bytes(content, filename, device, None)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # one of the two distributions of ONNX Runtime
            continue
    return found
