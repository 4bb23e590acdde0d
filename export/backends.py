"""One table of the engines that answer for a bundle, and one call for all of them.

    backend = open_backend("runs/1-gru/best", "onnx")
    logits = backend(input_ids, attention_mask)    # (B, T) int64 each -> (B, labels) float32

Importing this, and opening an ONNX backend, imports neither torch nor transformers.
"""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.certificate import read_artefact, read_certificate, read_config
from export.formats import FORMATS, MAX_LENGTH
from export.metadata import vocabulary_size
from export.padding import ParallelParts, available_cpus, skip_padding

DEVICES = ("cpu", "cuda", "tensorrt")

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Engine = Callable[[Ids, Ids], Logits]


@dataclass(frozen=True)
class Backend:
    """An opened engine. `labels[i]` names logit i; `max_length` is the bundle's, in tokens, which
    for the checkpoint itself may be more than artefacts are proved for."""

    name: str
    device: str
    labels: list[str]
    max_length: int
    vocabulary_size: int
    engine: Engine

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """`input_ids`, `attention_mask` (B, T) int64, 1 = real token, padding on the right ->
        logits (B, labels) float32. `ValueError` for any other shape, dtype or token id."""
        for name, array in (("input_ids", input_ids), ("attention_mask", attention_mask)):
            if array.dtype != np.int64 or array.ndim != 2:
                raise ValueError(
                    f"{name}: got {array.dtype} of shape {array.shape}; give int64 of shape (B, T)"
                )
        if input_ids.shape != attention_mask.shape:
            raise ValueError(
                f"attention_mask: its shape is {attention_mask.shape}, input_ids has "
                f"{input_ids.shape}; give one mask value a token"
            )
        batch_size, steps = input_ids.shape
        most = max(MAX_LENGTH, self.max_length)
        if batch_size < 1 or not 1 <= steps <= most:
            raise ValueError(
                f"input_ids: got shape {input_ids.shape}; allowed are at least one row of 1 to "
                f"{most} tokens"
            )
        lowest, highest = int(input_ids.min()), int(input_ids.max())
        if lowest < 0 or highest >= self.vocabulary_size:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(
                f"input_ids: got token id {wrong}; the model has ids 0 to "
                f"{self.vocabulary_size - 1}; use the bundle's own tokenizer"
            )
        return self.engine(input_ids, attention_mask)


@dataclass(frozen=True)
class BackendKind:
    """An entry of the table: on which devices it runs, and how it is opened.

    `from_folder` reads the checkpoint, `from_bytes` an artefact of `format`; one of the two is set.
    `skips_padding`: on a CPU a ragged batch is run as smaller ones of like length.
    """

    devices: tuple[str, ...]
    from_folder: Callable[[Path, str, int | None], Engine] | None = None
    from_bytes: Callable[[bytes, str, str, int | None], Engine] | None = None
    format: str | None = None
    skips_padding: bool = False


def open_backend(
    folder: str | Path, name: str, *, threads: int | None = None, device: str = "cpu"
) -> Backend:
    """The bundle in `folder` behind the engine `name`. `threads` is that of the CPU, of one
    call (None: the engine's default; torch's is the whole process's).

    Raises:
        FileNotFoundError: no such folder or artefact.
        ValueError: an unknown name, a device that is not there, an artefact without proof.
    """
    if name not in BACKENDS:
        close = difflib.get_close_matches(name, BACKENDS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"backend: got {name!r}{hint}; allowed are {', '.join(BACKENDS)}")
    kind = BACKENDS[name]
    if device not in kind.devices:
        raise ValueError(
            f"device: got {device!r}; the backend {name} runs on {', '.join(kind.devices)}"
        )
    if threads is not None and threads < 1:
        raise ValueError(f"threads: got {threads}; give at least 1")
    config = read_config(folder)
    return Backend(
        name=name,
        device=device,
        labels=list(config["labels"]),
        max_length=int(config["max_length"]),
        vocabulary_size=vocabulary_size(config),
        engine=_engine(Path(folder), kind, config, device, threads),
    )


def _engine(
    folder: Path, kind: BackendKind, config: dict[str, Any], device: str, threads: int | None
) -> Engine:
    if kind.format is None:
        assert kind.from_folder is not None
        return kind.from_folder(folder, device, threads)
    filename = FORMATS[kind.format].filename
    content, _ = read_artefact(folder, filename)
    return open_content(kind, content, str(folder / filename), config, device, threads)


def open_content(
    kind: BackendKind,
    content: bytes,
    filename: str,
    config: dict[str, Any],
    device: str = "cpu",
    threads: int | None = None,
) -> Engine:
    """The engine of an artefact's content, for the bundle of this config.json, as `open_backend`
    runs it: what is proved is what answers later."""
    assert kind.from_bytes is not None
    opener = partial(kind.from_bytes, content, filename, device)
    engine = opener(threads)
    if device != "cpu" or not skips_padding(kind, config):
        return engine
    workers = threads or available_cpus()
    return (
        skip_padding(engine) if workers == 1 else ParallelParts(engine, partial(opener, 1), workers)
    )


def backend_of(format_name: str) -> BackendKind:
    """The backend that runs the artefacts of a format."""
    return next(kind for kind in BACKENDS.values() if kind.format == format_name)


def is_exact(name: str) -> bool:
    """Whether the backend's arithmetic is the checkpoint's, so that its answers are the same; of a
    name that is not in the table too."""
    kind = _format_of(name)
    return kind is None or FORMATS[kind].gate.max_abs_difference is not None


def artefact_sha256(folder: Path, name: str) -> str | None:
    """Of the artefact that the backend runs, by its certificate; None where it runs none."""
    kind = _format_of(name)
    entry = read_certificate(folder).get(FORMATS[kind].filename, {}) if kind else {}
    return entry.get("sha256")


def _format_of(name: str) -> str | None:
    return BACKENDS[name].format if name in BACKENDS else None


def skips_padding(kind: BackendKind, config: dict[str, Any]) -> bool:
    """Whether `kind` skips padding on a CPU for the bundle of this config.json."""
    return kind.skips_padding and not config["arguments"].get("reads_padding")


def _lazily(module: str, function: str) -> Callable[..., Engine]:
    """A function that imports its engine's module at its first call: torch takes seconds."""

    def opener(*arguments: Any) -> Engine:
        engine: Engine = getattr(importlib.import_module(module), function)(*arguments)
        return engine

    return opener


_TORCH, _TORCH_DEVICES = "export.torch_engine", ("cpu", "cuda")
_onnx = _lazily("export.onnx_engine", "onnx_engine")

BACKENDS: dict[str, BackendKind] = {
    "eager": BackendKind(_TORCH_DEVICES, from_folder=_lazily(_TORCH, "eager")),
    "compiled": BackendKind(_TORCH_DEVICES, from_folder=_lazily(_TORCH, "compiled")),
    "torchscript": BackendKind(
        _TORCH_DEVICES, from_bytes=_lazily(_TORCH, "torchscript"), format="torchscript"
    ),
    "pt2": BackendKind(_TORCH_DEVICES, from_bytes=_lazily(_TORCH, "pt2"), format="pt2"),
    "aoti": BackendKind(("cpu",), from_bytes=_lazily(_TORCH, "aoti"), format="aoti"),
    "onnx": BackendKind(DEVICES, from_bytes=_onnx, format="onnx", skips_padding=True),
    "onnx-fp16": BackendKind(DEVICES, from_bytes=_onnx, format="onnx-fp16"),
    "onnx-int8": BackendKind(("cpu",), from_bytes=_onnx, format="onnx-int8", skips_padding=True),
}
