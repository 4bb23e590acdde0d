"""`parity.json`: which artefacts of a bundle were proved, by what, and their SHA-256.

An artefact runs only with a certificate that fits it: the proof is of these bytes, made from these
weights. Needs neither torch nor ONNX Runtime, so that serving starts fast.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from export.formats import MAX_LENGTH
from models.config_digest import check_config
from models.files import write_whole

SCHEMA_VERSION = 1
CERTIFICATE = "parity.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
NEEDED = ("labels", "max_length", "tokenizer_sha256", "weights_sha256")  # of a config.json


def verify_artefact(folder: str | Path, filename: str) -> dict[str, Any]:
    """Checks the artefact `filename` in the bundle's `folder`; returns its certificate.

    Raises:
        FileNotFoundError: no such artefact.
        ValueError: no certificate, one that did not pass, or one of other bytes or other weights;
            a bundle whose reviews are longer than any proof.
    """
    return read_artefact(folder, filename)[1]


def read_artefact(folder: str | Path, filename: str) -> tuple[bytes, dict[str, Any]]:
    """The bytes of an artefact and its certificate, after checking that the two belong together.

    What is checked is what is returned: a file replaced in between is not run. Errors as
    `verify_artefact`'s.
    """
    target = Path(folder)
    again = f"write it with: python -m export {target}"
    try:
        content = (target / filename).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{target}: no {filename} in it; {again}") from None
    entry = read_certificate(target).get(filename)
    if not isinstance(entry, dict):
        raise ValueError(f"{target / CERTIFICATE}: does not certify {filename}; {again}")
    if entry.get("passed") is not True:
        reason = f": {entry['reason']}" if entry.get("reason") else ""
        raise ValueError(
            f"{target / filename}: its parity was not proved ({CERTIFICATE}{reason}); {again}"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != entry.get("sha256"):
        raise ValueError(
            f"{target / filename}: its SHA-256 is {found}, {CERTIFICATE} certifies "
            f"{entry.get('sha256')}; the file was changed after its proof; {again}"
        )
    config = read_config(target)
    require_provable(target, config)
    weights = config.get("weights_sha256")
    if entry.get("weights_sha256") != weights:
        raise ValueError(
            f"{target / filename}: was made from weights {entry.get('weights_sha256')}, the bundle "
            f"has {weights}; {again}"
        )
    return content, entry


def read_certificate(folder: Path) -> dict[str, Any]:
    """Artefact -> its entry; empty where nothing was certified yet."""
    path = folder / CERTIFICATE
    if not path.exists():
        return {}
    value = _read_json(path)
    version = value.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version is {version!r}, this program reads {SCHEMA_VERSION}; "
            f"write it anew with: python -m export {folder}"
        )
    if not isinstance(value.get("artefacts"), dict):
        raise ValueError(
            f"{path}: names no artefacts; write it anew with: python -m export {folder}"
        )
    artefacts: dict[str, Any] = value["artefacts"]
    return artefacts


def certify(folder: Path, filename: str, entry: dict[str, Any]) -> None:
    """Puts `entry` for the artefact `filename` into the certificate; written whole or not at all.

    Raises:
        ValueError: an entry without the artefact's hash, or for something that did not pass.
    """
    if entry.get("passed") is not True or "sha256" not in entry:
        raise ValueError(f"{filename}: only what passed, by its SHA-256, can be certified")
    try:
        artefacts = read_certificate(folder)
    except ValueError:  # damaged, or of another version: what it certified is certified no more
        artefacts = {}
    artefacts[filename] = entry
    _write(folder, artefacts)


def revoke(folder: Path, filename: str, sha256: str, reason: str) -> None:
    """Marks the entry of the artefact `filename` as not passed, with the `reason` in one line: from
    here on `read_artefact` refuses the file. What it measured when it passed stays readable. An
    entry of other bytes than those of `sha256`, which is not what was disproved, stays as it is.

    Raises:
        ValueError: a certificate that cannot be read, which certifies nothing.
    """
    artefacts = read_certificate(folder)
    entry = artefacts.get(filename)
    if isinstance(entry, dict) and entry.get("sha256") == sha256:
        artefacts[filename] = {**entry, "passed": False, "reason": reason}
        _write(folder, artefacts)


def require_provable(folder: Path, config: dict[str, Any]) -> None:
    """`ValueError` for a bundle that cuts reviews only beyond what parity covers: its artefacts
    would have to answer where nothing is proved."""
    length = config.get("max_length")
    if isinstance(length, int) and length > MAX_LENGTH:
        raise ValueError(
            f"{folder}: its max_length is {length} tokens, exports are proved up to {MAX_LENGTH}; "
            f"train it with data.max_length={MAX_LENGTH} or less, or use the checkpoint (eager)"
        )


def read_config(folder: str | Path) -> dict[str, Any]:
    """A bundle's config.json as it was saved; `models.bundle.verify` checks it against the files.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, was changed, or lacks what serving and proofs read of it.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder}: no {CONFIG} in it; a bundle is a folder such as the best/ of a training run"
        )
    config = _read_json(path)
    if missing := [name for name in NEEDED if name not in config]:
        raise ValueError(
            f"{path}: has no {', '.join(missing)}: it is no bundle's, or was changed; restore it, "
            "or train it again"
        )
    check_config(path, config)
    return config


def read_tokenizer(folder: str | Path, config: dict[str, Any]) -> bytes:
    """The bytes of a bundle's tokenizer.json, after checking that they are those of its config.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is another one.
    """
    path = Path(folder) / TOKENIZER
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no {TOKENIZER} in it; restore it")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != config.get("tokenizer_sha256"):
        raise ValueError(f"{path}: not the one that {CONFIG} names by its SHA-256; restore it")
    return content


def _write(folder: Path, artefacts: dict[str, Any]) -> None:
    text = json.dumps({"schema_version": SCHEMA_VERSION, "artefacts": artefacts}, indent=2)
    write_whole(folder / CERTIFICATE, text + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # broken JSON or broken UTF-8
        raise ValueError(f"{path}: not JSON ({error}); the file is damaged") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, wanted is an object")
    return value
