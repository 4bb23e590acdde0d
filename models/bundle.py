"""A trained model as a folder that says what it is: written whole or not at all, verified on load.

config.json         schema version, architecture and its arguments, labels, maximum length,
                    the other files' hashes, where it came from
model.safetensors   the weights; no pickle anywhere
tokenizer.json      the tokenizer they were trained with
metrics.json        what was measured
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from models.classifier import Classifier
from models.config_digest import KEY, check_config, config_digest
from models.registry import ARCHITECTURES, build

SCHEMA_VERSION = 1
CONFIG, WEIGHTS, TOKENIZER, METRICS = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "metrics.json",
)
# What config.json holds, and as what.
FIELDS: dict[str, type] = {
    "architecture": str,
    "arguments": dict,
    "labels": list,
    "max_length": int,
    "tokenizer_sha256": str,
    "weights_sha256": str,
    "provenance": dict,
}


@dataclass
class Bundle:
    """A classifier with all that is needed to use it. `labels[i]` names logit i."""

    model: Classifier
    tokenizer: Tokenizer
    architecture: str
    arguments: dict[str, Any]
    labels: list[str]
    max_length: int
    provenance: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def save(bundle: Bundle, folder: str | Path) -> None:
    """Writes `bundle` to `folder`, replacing a bundle that is there, files beside it included.

    An interruption leaves the previous bundle. `ValueError` where `folder` holds something else.
    """
    target = Path(folder)
    _restore_interrupted(target)
    if target.exists() and not (target / CONFIG).is_file() and _is_occupied(target):
        raise ValueError(
            f"bundle folder: {target} exists and is no bundle (no {CONFIG} in it), so it is not "
            "replaced; give another folder, or empty this one"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.writing-*"):  # a killed save's
        shutil.rmtree(stale)
    new = Path(tempfile.mkdtemp(prefix=f".{target.name}.writing-", dir=target.parent))
    try:
        _write(bundle, new)
        verify(new)  # what cannot be loaded must not replace what can
        _replace(target, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def load(folder: str | Path) -> Bundle:
    """The bundle in `folder`, its model on the CPU in evaluation mode.

    Leaves torch's random state as it was. `FileNotFoundError` for a missing folder or file,
    `ValueError` for one that does not fit: each names what was found and what was wanted.
    """
    target = Path(folder)
    config = verify(target)
    weights = load_file(target / WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # building draws weights, which are then overwritten
        model = build(config["architecture"], **config["arguments"])
    model.to(_dtype_of(weights)).load_state_dict(weights)
    return Bundle(
        model=model.eval(),
        tokenizer=Tokenizer.from_file(str(target / TOKENIZER)),
        architecture=config["architecture"],
        arguments=config["arguments"],
        labels=config["labels"],
        max_length=config["max_length"],
        provenance=config["provenance"],
        metrics=_read_json(target / METRICS),
    )


def verify(folder: str | Path) -> dict[str, Any]:
    """Checks version, files, hashes and shapes of the bundle in `folder`; returns its config.

    Errors as `load`'s.
    """
    target = Path(folder)
    _restore_interrupted(target)
    for name in (CONFIG, WEIGHTS, TOKENIZER, METRICS):
        if not (target / name).is_file():
            raise FileNotFoundError(
                f"{target}: no {name} in it; a bundle is a folder with {CONFIG}, {WEIGHTS}, "
                f"{TOKENIZER} and {METRICS}, such as the best/ of a training run"
            )
    config = _read_config(target)
    for name, key in ((WEIGHTS, "weights_sha256"), (TOKENIZER, "tokenizer_sha256")):
        found = sha256(target / name)
        if found != config[key]:
            raise ValueError(
                f"{target / name}: its SHA-256 is {found}, {CONFIG} wants {config[key]}; the file "
                "is damaged or of another model; restore or train it again"
            )
    _check_shapes(target, config)
    _check_tokenizer(target, config)
    _read_json(target / METRICS)
    check_config(target / CONFIG, config)  # last: what is wrong with it has been named by now
    return config


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """As safetensors. `OSError` where the disk does not take it, as of any other file."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        raise OSError(f"{path}: cannot be written: {error}") from None


def empty_model(config: dict[str, Any]) -> Classifier:
    """The model of a bundle's config, without storage: its shapes and its number of parameters."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build(config["architecture"], **config["arguments"])


def _write(bundle: Bundle, folder: Path) -> None:
    # Copies: the weights of a GRU on a GPU are views of one buffer, which safetensors refuses.
    weights = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in bundle.model.state_dict().items()
    }
    write_tensors(weights, folder / WEIGHTS)  # for their owner alone, as safetensors has it
    (folder / TOKENIZER).write_text(bundle.tokenizer.to_str(), encoding="utf-8")
    _write_json(folder / METRICS, bundle.metrics)
    portable = ARCHITECTURES[bundle.architecture].portable(bundle.model, bundle.arguments)
    config: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "architecture": bundle.architecture,
        "arguments": portable,
        "labels": bundle.labels,
        "max_length": bundle.max_length,
        "tokenizer_sha256": sha256(folder / TOKENIZER),
        "weights_sha256": sha256(folder / WEIGHTS),
        "provenance": bundle.provenance,
    }
    config[KEY] = config_digest(config)
    _write_json(folder / CONFIG, config)
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    folder.chmod(0o755)  # mkdtemp's is the owner's alone


def _replace(target: Path, new: Path) -> None:
    """Puts `new` in the place of `target`. A folder cannot be renamed onto a full one, so that the
    old one steps aside first; `_restore_interrupted` undoes an end between the two renames."""
    aside = _aside(target)
    while True:
        shutil.rmtree(aside, ignore_errors=True)
        if target.exists():
            target.rename(aside)
        try:
            new.rename(target)
            break
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # somebody who reads has put the old one back meanwhile
            _restore_interrupted(target)
            raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _restore_interrupted(target: Path) -> None:
    """A save that goes on elsewhere looks like one that was killed; it minds neither way."""
    if not target.exists() and _aside(target).exists():
        with suppress(OSError):  # it is done by now, or another reader was quicker
            _aside(target).rename(target)


def _is_occupied(target: Path) -> bool:
    return target.is_file() or any(target.iterdir())


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    config = _read_json(path)
    version = config.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version is {version!r}, this program reads {SCHEMA_VERSION}; use the "
            "program that wrote the bundle, or train it again"
        )
    for name, kind in FIELDS.items():
        if not isinstance(config.get(name), kind):
            raise ValueError(
                f"{path}: {name} is {config.get(name)!r}, wanted is a {kind.__name__}; "
                "the bundle was not written by this program"
            )
    return config


def _check_shapes(folder: Path, config: dict[str, Any]) -> None:
    """The tensors in the file are those that the architecture with its arguments has."""
    try:
        model = empty_model(config)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    wanted = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS}: not a safetensors file ({error})") from error
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{folder}: tensor {name} has shape {found.get(name, 'none (absent)')} in "
                f"{WEIGHTS}, {wanted.get(name, 'none (absent)')} by {CONFIG}'s arguments; "
                "the two do not belong together"
            )
    labels = model.head.out_features
    if len(config["labels"]) != labels:
        raise ValueError(
            f"{folder / CONFIG}: {len(config['labels'])} labels {config['labels']}, "
            f"the model has {labels} logits; give one label a logit"
        )


def _check_tokenizer(folder: Path, config: dict[str, Any]) -> None:
    """Every id that the tokenizer can give has an embedding."""
    arguments = config["arguments"]
    rows = arguments.get("vocabulary_size")
    if isinstance(arguments.get("backbone"), dict):
        rows = arguments["backbone"].get("vocab_size")
    size = Tokenizer.from_file(str(folder / TOKENIZER)).get_vocab_size()
    if rows is not None and size > rows:
        raise ValueError(
            f"{folder / TOKENIZER}: {size} tokens, the model has embeddings for {rows}; "
            "this is another model's tokenizer"
        )


def _dtype_of(weights: dict[str, torch.Tensor]) -> torch.dtype:
    floating = [tensor.dtype for tensor in weights.values() if tensor.is_floating_point()]
    return floating[0]


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # broken JSON or broken UTF-8
        raise ValueError(f"{path}: not JSON ({error}); the file is damaged") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, wanted is an object")
    return value
