"""What predicted the rows of a file: a small file beside it, which whoever goes on must agree with.

`OUT.origin.json` is written whole before the first row, and stays when all are there: the same
command then finds nothing to do, another one is refused, and a reader sees where scores come from.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from export.backends import BACKENDS
from export.certificate import read_certificate, read_config
from export.formats import FORMATS
from models.files import write_whole
from serve.predictor import DEFAULT_BACKEND

SCHEMA_VERSION = 1
UNCOMPARED = ("bundle",)  # a bundle may be moved; its path is there to be read


def bundle_origin(folder: Path, backend: str | None) -> dict[str, Any]:
    """What of a bundle, once `open_predictor` has opened it, decides its predictions.

    Raises:
        FileNotFoundError, ValueError: no bundle, or one without the backend's certificate.
    """
    name = backend or DEFAULT_BACKEND
    config, format_name = read_config(folder), BACKENDS[name].format
    if format_name is None:  # the checkpoint itself
        artefact = config["weights_sha256"]
    else:
        artefact = read_certificate(folder)[FORMATS[format_name].filename]["sha256"]
    return {
        "bundle": str(folder),
        "backend": name,
        "artefact_sha256": artefact,
        "tokenizer_sha256": config["tokenizer_sha256"],
        "max_length": config["max_length"],
        "labels": config["labels"],
    }


def endpoint_origin(url: str, identity: Mapping[str, str]) -> dict[str, Any]:
    """An endpoint is known by its URL and what it calls itself: its `model` and `version`."""
    return {"url": url, **identity}


def origin_path(target: Path) -> Path:
    """Beside the file itself, also where `target` is a link to it."""
    real = target.resolve()
    return real.with_name(f"{real.name}.origin.json")


def write_origin(target: Path, origin: Mapping[str, Any]) -> None:
    """Says of `target`, before its first row, what predicts its rows."""
    content = {"schema_version": SCHEMA_VERSION, **origin}
    write_whole(origin_path(target), json.dumps(content, indent=2) + "\n")


def check_origin(target: Path, origin: Mapping[str, Any]) -> None:
    """Raises `ValueError` where the rows in `target` are not by `origin`, or by nobody knows what;
    names what differs."""
    beside = origin_path(target)
    advice = "give OUT another name, or remove it"
    if not beside.exists():
        raise ValueError(
            f"{target}: is there already, and no {beside.name} beside it says what predicted its "
            f"rows; {advice}"
        )
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.pop("schema_version", None) != SCHEMA_VERSION:
        raise ValueError(f"{beside}: damaged, or of another version; {advice}")
    names = [name for name in {**found, **origin} if found.get(name) != origin.get(name)]
    if set(names) - set(UNCOMPARED):
        if "url" in names and "bundle" in names:
            names = ["url", "bundle"]  # one of each: the rest goes without saying
        raise ValueError(
            f"{target}: its rows are by {_said(found, names)}, this run is by "
            f"{_said(origin, names)}; repeat what they are by, or {advice}"
        )


def _said(origin: Mapping[str, Any], names: Iterable[str]) -> str:
    shown = [f"{name} {origin[name]}" for name in names if name in origin]
    return ", ".join(shown)
