"""Texts -> probabilities, from whatever answers: a bundle's backend, or an endpoint over HTTP.

N texts. Importing this imports neither torch nor TorchServe.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serve.classifier import TextClassifier

DEFAULT_BACKEND = "onnx"


class Predictor(Protocol):
    """What the audit and the benchmarks ask. `labels[i]` names column i."""

    @property
    def labels(self) -> list[str]:
        """The names of the two columns."""

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (N, 2) of any number of texts, in their order."""


def open_predictor(
    target: str | Path,
    *,
    backend: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    batch_size: int = 32,
) -> Predictor:
    """A predictor over a bundle's folder.

    Args:
        target: a bundle's folder.
        backend: one of `export.backends.BACKENDS`; None is "onnx".
        threads: of the engine; None lets the engine choose.
        device: "cpu", "cuda" or "tensorrt".
        batch_size: texts computed at a time, at most.

    Raises:
        FileNotFoundError, ValueError: no bundle, or an artefact that is missing or does not fit.
    """
    from export.backends import open_backend

    folder = Path(target)
    config = read_config(folder)
    engine = open_backend(folder, backend or DEFAULT_BACKEND, threads=threads, device=device)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return TextClassifier(
        tokenizer, engine, config["labels"], config["max_length"], batch_size=batch_size
    )


def read_config(folder: Path) -> dict:
    """The `config.json` of a bundle."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no config.json in it; give a bundle's folder, such as the best/ of a "
            "training run"
        )
    config: dict = json.loads(path.read_text(encoding="utf-8"))
    return config
