"""The files of a run folder, read and checked: `history.jsonl`, `result.json`, `config.yaml` and
`environment.json`.

K lines of a history.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

SCHEMA_VERSION = 1
_TRAIN = ("step", "reviews", "loss")
_VALIDATION = ("step", "reviews", "loss", "accuracy")
_OPTIONAL = ("train_loss", "train_accuracy")
_INTERVALS = ("accuracy", "loss", "f1", "calibration_error")
_TEXTS = ("experiment", "variant", "title", "architecture", "memory.device", "memory.what",
          "training.stopped", "machine.device")  # fmt: skip
_NUMBERS = (
    "parameters.total", "parameters.trainable", "best.step", "best.epoch", "best.accuracy",
    "data.train_reviews", "data.validation_reviews", "time.train_seconds",
    "time.evaluation_seconds", "throughput.reviews_per_second", "throughput.tokens_per_second",
    "memory.steady_bytes", "memory.peak_bytes", "training.epochs", "training.steps",
    "training.batch_size", "training.seed", "machine.processes",
)  # fmt: skip

Column = NDArray[np.float64]


def _read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Line numbers and objects.

    Raises:
        ValueError: names file and line of the first that is not a JSON object.
    """
    lines = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = json.loads(raw)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: not JSON: {one_line(error)}") from None
            if not isinstance(line, dict):
                raise ValueError(f"{path}, line {number}: expected a JSON object, got {line!r}")
            lines.append((number, line))
    return lines


def read_history(path: Path) -> tuple[dict[str, Column], dict[str, Column]]:
    """The columns (K,) of the training's lines, and of the validations'.

    Raises:
        ValueError: names file, line and key of what is damaged.
    """
    train: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    for number, line in _read_jsonl(path):
        kind = line.get("kind")
        if kind not in ("train", "validation"):
            raise ValueError(f'{path}, line {number}: "kind" is {kind!r}, expected "train" or '
                             '"validation"')  # fmt: skip
        for key in _TRAIN if kind == "train" else _VALIDATION:
            if not _is_number(line.get(key)):
                raise ValueError(f'{path}, line {number}: "{key}" is {line.get(key)!r}, '
                                 "expected a number")  # fmt: skip
        (train if kind == "train" else validation).append(line)
    return columns(train, validation)


def columns(
    train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> tuple[dict[str, Column], dict[str, Column]]:
    """As `read_history`, of lines already read."""

    def column(lines: list[dict[str, Any]], key: str) -> Column:
        values = [line.get(key) for line in lines]
        return np.array([v if _is_number(v) else math.nan for v in values], dtype=np.float64)

    return (
        {key: column(train, key) for key in _TRAIN},
        {key: column(validation, key) for key in (*_VALIDATION, *_OPTIONAL)},
    )


def read_result(path: Path) -> dict[str, Any]:
    """`result.json`, with every field that the page reads checked once, here."""
    try:
        result = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {one_line(error)}") from None
    if not isinstance(result, dict) or result.get("schema_version") != SCHEMA_VERSION:
        found = result.get("schema_version") if isinstance(result, dict) else result
        raise ValueError(f"{path}: schema_version is {found!r}, expected {SCHEMA_VERSION}; train "
                         "the run again")  # fmt: skip
    wanted = [(key, "a number") for key in _NUMBERS] + [(key, "text") for key in _TEXTS]
    tests = result.get("tests")
    if not isinstance(tests, dict):
        raise ValueError(f'{path}: "tests" is {tests!r}, expected one entry a test set')
    for name in ("validation", *(f"tests.{test}" for test in tests)):
        wanted += [(f"{name}.n", "a number")]
        for metric in _INTERVALS:
            wanted += [(f"{name}.{metric}.{end}", "a number") for end in ("value", "low", "high")]
    for key, kind in wanted:
        value = _lookup(result, key)
        if not (_is_number(value) if kind == "a number" else isinstance(value, str)):
            raise ValueError(f'{path}: "{key}" is {value!r}, expected {kind}')
    return result


def read_config(path: Path) -> dict[str, Any]:
    """An unfinished run says in its configuration what it is; a run without one is still read."""
    if not path.is_file():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {one_line(error)}") from None
    return config if isinstance(config, dict) else {}


def unlabelled(config: dict[str, Any]) -> tuple[str, ...]:
    """The texts without labels that a run's configuration names."""
    distill = config.get("distill")
    given = distill.get("unlabelled") if isinstance(distill, dict) else None
    return tuple(map(str, given)) if isinstance(given, list) else ()


def data_settings(path: Path) -> list[str]:
    """What followed `--set` on the run's command line, as far as it concerns the data."""
    if not path.is_file():
        return []
    try:
        words = json.loads(path.read_bytes()).get("command", [])
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not the JSON of a run: {one_line(error)}") from None
    flag, found = "", []
    for word in map(str, words):
        flag = word if word.startswith("--") else flag
        if flag == "--set" and word.startswith("data."):
            found.append(word)
    return found


def _lookup(tree: dict[str, Any], key: str) -> Any:
    """`best.step` of a nested dictionary; a test's name may itself hold dots."""
    if key.startswith("tests."):
        name, *rest = key.removeprefix("tests.").rsplit(".", 2 if not key.endswith(".n") else 1)
        branch: Any = tree["tests"].get(name)
    else:
        branch, rest = tree, key.split(".")
    for part in rest:
        branch = branch.get(part) if isinstance(branch, dict) else None
    return branch


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_line(error: Exception) -> str:
    """An error's text without its line breaks."""
    return " ".join(str(error).split())
