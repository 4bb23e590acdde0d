"""One table of the engines that answer for a bundle, and one call for all of them.

    backend = open_backend("runs/1-gru/best", "onnx")
    logits = backend(input_ids, attention_mask)    # (B, T) int64 each -> (B, labels) float32

Importing this, and opening an ONNX backend, imports neither torch nor transformers.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.certificate import read_artefact, read_config
from export.formats import FORMATS
from export.metadata import vocabulary_size

DEVICES = ("cpu", "cuda", "tensorrt")
MAX_LENGTH = 256  # tokens: no artefact is proved beyond it

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Engine = Callable[[Ids, Ids], Logits]


@dataclass(frozen=True)
class Backend:
    """An opened engine. `labels[i]` names logit i; `max_length` is the bundle's, in tokens."""

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
        if batch_size < 1 or not 1 <= steps <= MAX_LENGTH:
            raise ValueError(
                f"input_ids: got shape {input_ids.shape}; allowed are at least one row of 1 to "
                f"{MAX_LENGTH} tokens"
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
    """An entry of the table: how to open it, on which devices, of which format's artefact (None:
    of the checkpoint itself)."""

    summary: str
    open: Callable[[Path, str, int | None], Engine]
    devices: tuple[str, ...]
    format: str | None = None


def open_backend(
    folder: str | Path, name: str, *, threads: int | None = None, device: str = "cpu"
) -> Backend:
    """The bundle in `folder` behind the engine `name`. `threads` is the number of CPU threads of one
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
        engine=kind.open(Path(folder), device, threads),
    )


def onnx_engine(content: bytes, device: str, threads: int | None, filename: str) -> Engine:
    """ONNX Runtime over the model in `content`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; what matters of the rest is asked of the session
    if threads is not None:
        options.intra_op_num_threads = threads
    wanted = _PROVIDERS[device]
    try:
        session = onnxruntime.InferenceSession(content, options, providers=wanted)
    except Exception as error:  # onnxruntime raises a dozen kinds of its own
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{filename}: ONNX Runtime does not load it ({reason})") from error
    # It falls back to the CPU with no more than a log line, and lists what it cannot load.
    if wanted[0] not in session.get_providers():
        there = [name for name, ours in _PROVIDERS.items() if ours[0] in session.get_providers()]
        raise ValueError(
            f"device: got {device!r}, whose {wanted[0]} cannot be loaded here; this machine has "
            f"{', '.join(there)}"
        )

    def run(input_ids: Ids, attention_mask: Ids) -> Logits:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: Logits = session.run(["logits"], feeds)[0]
        return logits

    return run


_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


def torch_engine(module: Any, device: str, threads: int | None) -> Engine:
    """A torch module, scripted or not, that is on `device` already."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)

    def run(input_ids: Ids, attention_mask: Ids) -> Logits:
        with torch.inference_mode():
            ids = torch.from_numpy(input_ids).to(device)
            logits = module(ids, torch.from_numpy(attention_mask).to(device))
        answer: Logits = logits.float().cpu().numpy()
        return answer

    return run


def _open_onnx(filename: str) -> Callable[[Path, str, int | None], Engine]:
    def opener(folder: Path, device: str, threads: int | None) -> Engine:
        content, _ = read_artefact(folder, filename)
        return onnx_engine(content, device, threads, str(folder / filename))

    return opener


def _open_eager(folder: Path, device: str, threads: int | None) -> Engine:
    from models.bundle import load

    _check_torch_device(device)
    return torch_engine(load(folder).model.float().to(device), device, threads)


def _open_compiled(folder: Path, device: str, threads: int | None) -> Engine:
    import torch

    from models.bundle import load

    _check_torch_device(device)
    model = torch.compile(load(folder).model.float().to(device), dynamic=True)
    return torch_engine(model, device, threads)


def _open_torchscript(folder: Path, device: str, threads: int | None) -> Engine:
    content, _ = read_artefact(folder, FORMATS["torchscript"].filename)
    from export.torchscript import load_torchscript

    _check_torch_device(device)
    return torch_engine(load_torchscript(content, device), device, threads)


def _check_torch_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: got 'cuda', which torch finds none of; this machine has cpu")


BACKENDS: dict[str, BackendKind] = {
    "eager": BackendKind("the checkpoint, by torch", _open_eager, ("cpu", "cuda")),
    "compiled": BackendKind("the checkpoint, by torch.compile", _open_compiled, ("cpu", "cuda")),
    "torchscript": BackendKind(
        "TorchScript, by torch", _open_torchscript, ("cpu", "cuda"), "torchscript"
    ),
    "onnx": BackendKind("ONNX Runtime, float32", _open_onnx("model.onnx"), DEVICES, "onnx"),
}
