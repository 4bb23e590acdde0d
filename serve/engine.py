"""The artefact in an archive -> logits, by export's own engines, which travel with it."""

from pathlib import Path

from export.padding import skip_padding
from serve.classifier import Backend


def open_artefact(path: Path, threads: int = 1, skips_padding: bool = False) -> Backend:
    """The backend for a `.onnx` or a `.ts` file, on the CPU with `threads` threads.

    `skips_padding`: run a ragged batch as smaller ones of like length.

    Raises:
        ValueError: a file of another kind.
    """
    # Only the package of the artefact's engine is imported: torch costs seconds and memory.
    if path.suffix == ".onnx":
        from export.onnx_engine import onnx_engine as opener
    elif path.suffix == ".ts":
        from export.torch_engine import torchscript as opener
    else:
        raise ValueError(f"artefact {path.name}: not served; give a .onnx or a .ts file")
    engine: Backend = opener(path.read_bytes(), path.name, "cpu", threads)
    return skip_padding(engine) if skips_padding else engine
