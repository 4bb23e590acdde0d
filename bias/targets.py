"""What an audit can be made of, by what the user wrote.

runs/1-gru/best              a bundle, on ONNX where it has been exported, else eager
runs/1-gru/best@onnx-int8    a bundle on a backend of `export.backends.BACKENDS`
http://127.0.0.1:8080/...    a running endpoint
bert-base-uncased            a masked language model: a folder, a name on the hub, or stored logits
                             (.parquet)
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bias.shared_words import sharing_words
from export.backends import artefact_sha256, is_exact
from serve.predictor import DEFAULT_BACKEND, Predictor, open_predictor
from training.config import completed

BUNDLE, ENDPOINT, LANGUAGE_MODEL = "bundle", "endpoint", "language model"
_SEPARATOR = "@"
# as the hub has them: owner/name, or a name alone; not a path that was mistyped
_HUB_NAME = re.compile(r"(?![./])[\w.-]+(?:/[\w.-]+)?")


@dataclass(frozen=True)
class Target:
    """One thing to audit. `config` is a bundle's, None for others."""

    given: str
    kind: str
    name: str
    backend: str | None = None
    config: dict[str, Any] | None = None

    @property
    def description(self) -> str:
        """For the head of the report."""
        if self.config is None:
            return self.kind
        trained = self.config["provenance"].get("config", {}).get("train", {})
        seed = f", seed {trained['seed']}" if "seed" in trained else ""
        return (
            f"{self.config['architecture']} on {self.backend}{seed}, weights "
            f"{self.config['weights_sha256'][:12]}"
        )

    @property
    def training(self) -> dict[str, Any] | None:
        """The configuration that it was trained with, where known, and its backend."""
        if self.config is None or "config" not in self.config["provenance"]:
            return None
        return {**completed(self.config["provenance"]["config"]), "backend": self.backend}

    @property
    def key(self) -> str:
        """The folder of its answers: of one model on one engine, or of one URL."""
        identity = [self.kind, self.given]
        if self.config is not None:
            artefacts = Path(self.folder) / "parity.json"
            proof = artefacts.read_bytes() if artefacts.is_file() else b""
            identity = [self.config["weights_sha256"], self.config["tokenizer_sha256"],
                        str(self.backend), hashlib.sha256(proof).hexdigest()]  # fmt: skip
        return hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]

    @property
    def folder(self) -> str:
        """Of a bundle: the path without its backend."""
        return _split(self.given)[0]

    @property
    def artefact_sha256(self) -> str | None:
        """Of what a bundle's backend runs, by its certificate; None where that is no artefact."""
        return None if self.backend is None else artefact_sha256(Path(self.folder), self.backend)

    @property
    def is_coarse(self) -> bool:
        """Whether it is known to answer less exactly than the checkpoint, as int8 does."""
        return self.backend is not None and not is_exact(self.backend)

    def open(self, threads: int | None, token_file: str | None) -> Predictor:
        """The predictor. Errors as `serve.predictor.open_predictor`'s."""
        if self.kind == ENDPOINT:
            return open_predictor(self.given, token_file=token_file)
        opened = open_predictor(self.folder, backend=self.backend, threads=threads)
        return sharing_words(opened, self.folder)


def parse(given: Sequence[str], say: Callable[[str], None]) -> list[Target]:
    """Targets in the order given; `say` is told what falls back to another backend.

    Raises:
        ValueError, FileNotFoundError: one line that names the target.
    """
    targets: list[Target] = []
    for text in given:
        if any(target.given == text for target in targets):
            raise ValueError(f"TARGET {text}: given twice; give each once")
        targets.append(_parse(text, say))
    names = [target.name for target in targets]
    return [
        target if names.count(target.name) == 1
        else Target(target.given, target.kind, target.given, target.backend, target.config)
        for target in targets
    ]  # fmt: skip


def _parse(text: str, say: Callable[[str], None]) -> Target:
    if text.startswith(("http://", "https://")):
        return Target(text, ENDPOINT, text)
    folder, backend = _split(text)
    config = _bundle_config(Path(folder))
    if config is None:
        if backend is None and is_masked_lm(folder):
            return Target(text, LANGUAGE_MODEL, text)
        raise FileNotFoundError(
            f"TARGET {text}: no bundle there (a folder with config.json, such as the best/ of a "
            "training run), no masked language model and no http:// or https:// URL"
        )
    if backend is None:
        backend = DEFAULT_BACKEND
        if not (Path(folder) / "model.onnx").is_file():
            backend = "eager"
            say(f"{text}: not exported to ONNX; auditing the checkpoint itself (eager)")
    path = Path(folder).resolve()
    short = path.parent.name if path.name == "best" else path.name
    return Target(text, BUNDLE, f"{short}{_SEPARATOR}{backend}", backend, config)


def _split(text: str) -> tuple[str, str | None]:
    folder, separator, backend = text.rpartition(_SEPARATOR)
    if not separator or Path(text).exists():
        return text, None
    return folder, backend


def _bundle_config(folder: Path) -> dict[str, Any] | None:
    """The config of a bundle; None where the folder is something else."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"TARGET {folder}: {path} is not JSON ({error})") from None
    return config if isinstance(config, dict) and "weights_sha256" in config else None


def is_masked_lm(given: str) -> bool:
    """A folder of transformers', a file of stored logits, or what can be a name on the hub."""
    path = Path(given)
    if given.endswith(".parquet"):
        return path.is_file()
    if path.exists():
        return (path / "config.json").is_file()
    return bool(_HUB_NAME.fullmatch(given))
