"""Reading run folders: `history.jsonl`, `result.json`, `config.yaml` and `predictions/`.

N reviews of a test set, K lines of a history.
"""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

SCHEMA_VERSION = 1
FAMILIES = {
    "gru-encoder": "recurrent",
    "gru-encoder-decoder": "recurrent",
    "custom-gru": "recurrent",
    "transformer": "Transformer",
    "bert": "pretrained",
    "ngram-bag": "baseline",
    "tfidf": "baseline",
}
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


@dataclass(frozen=True)
class Run:
    """One run folder. `result` is None where the run has not finished."""

    folder: Path
    label: str
    """Unique among the runs of a page: the experiment's name, with the folder where it repeats."""
    experiment: str
    title: str
    variant: str
    number: int | None
    architecture: str
    batch_size: int | None
    tests: tuple[str, ...]
    """Further test sources as the run was given them, for the command that makes another."""
    data_settings: tuple[str, ...]
    """`data.key=value` as the run was given them, for the same command."""
    train: dict[str, Column]
    """`step`, `reviews`, `loss`, each (K,)."""
    validation: dict[str, Column]
    """`step`, `reviews`, `loss`, `accuracy`, `train_loss`, `train_accuracy`, each (K,); NaN where
    the run did not say."""
    result: dict[str, Any] | None
    unlabelled: tuple[str, ...] = ()
    """Sources of texts without labels (`distill.unlabelled`), as the run was given them."""

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self.result is not None

    @property
    def facts(self) -> dict[str, Any]:
        """The result of a run that has one; asking an unfinished run is a mistake of ours."""
        assert self.result is not None, f"{self.label} is unfinished"
        return self.result

    @property
    def family(self) -> str:
        """`recurrent`, `Transformer`, `pretrained`, `baseline`, or `other`."""
        return FAMILIES.get(self.architecture, "other")

    @property
    def role(self) -> str | None:
        """The part a run plays in the questions: `1` to `5`, `6-frozen`, `tfidf` and so on."""
        if self.family == "baseline" or self.architecture == "custom-gru":
            return self.architecture
        if self.number == 6:
            frozen = (self.result or {}).get("arguments", {}).get("frozen", False)
            return "6-frozen" if frozen else "6-finetuned"
        return None if self.number is None else str(self.number)


_OF_A_RUN = ("history.jsonl", "result.json")
_OF_A_REPORT = ("results.json", "dossier.json")


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Read all folders, give each run a label of its own, and sort them as the table wants them.

    Raises:
        ValueError: a folder that is no run, is given twice, or holds a damaged file; one line.
    """
    resolved = [folder.resolve() for folder in folders]
    for position, folder in enumerate(resolved):
        if folder in resolved[:position]:
            raise ValueError(f"{folders[position]} is given twice")
    runs = [read_run(folder) for folder in folders]
    names = [run.experiment for run in runs]
    labelled = [
        run
        if names.count(run.experiment) == 1
        else replace(run, label=f"{run.experiment} in {_short(run.folder, folders)}")
        for run in runs
    ]
    return sorted(labelled, key=table_order)


def table_order(run: Run) -> tuple[Any, ...]:
    """By number, then variant; runs without a number after them; baselines last."""
    block = 2 if run.variant == "baseline" else int(run.number is None)
    variants = ("recommended", "distilled", "reference")
    variant = variants.index(run.variant) if run.variant in variants else len(variants)
    return block, run.number or 0, variant, run.experiment, run.label


def without_reports(folders: Sequence[Path]) -> list[Path]:
    """The folders but those of reports about runs and of masked language models, which `runs/*`
    names too; each is said.

    Raises:
        ValueError: nothing is left.
    """
    kept = []
    for folder in folders:
        names = {name for name in (*_OF_A_RUN, *_OF_A_REPORT) if (folder / name).is_file()}
        if names and names.isdisjoint(_OF_A_RUN):
            print(f"{folder}: a report, no run: left out", file=sys.stderr)
        elif _is_masked(folder):
            print(f"{folder}: a masked language model, no classifier: left out", file=sys.stderr)
        else:
            kept.append(folder)
    if not kept:
        raise ValueError("no run of a classifier was given; give folders such as runs/1-gru")
    return kept


def _is_masked(folder: Path) -> bool:
    """Whether `--task mlm` trained or trains there."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return False  # whatever it is, reading it as a run will say
    return isinstance(config, dict) and "model" not in config and "mask_probability" in str(config)


def read_run(folder: Path) -> Run:
    """Read one run folder, finished or not.

    Raises:
        ValueError: not a run, or a damaged file, named with its line or key.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give run folders, such as runs/1-gru")
    history, result_file = folder / "history.jsonl", folder / "result.json"
    if not history.is_file() and not result_file.is_file():
        inside = [entry for entry in folder.iterdir() if (entry / "history.jsonl").is_file()]
        hint = f"; it holds run folders: give {folder}/*" if inside else ""
        raise ValueError(f"{folder}: not a run, it has neither history.jsonl nor result.json{hint}")
    result = _read_result(result_file) if result_file.is_file() else None
    config = _read_config(folder / "config.yaml")
    train, validation = _read_history(history) if history.is_file() else _columns([], [])
    facts = result or config
    training = facts.get("training") or facts.get("train") or {}
    model = facts.get("model") or facts
    return Run(
        folder=folder,
        label=facts.get("experiment") or folder.name,
        experiment=facts.get("experiment") or folder.name,
        title=facts.get("title") or folder.name,
        variant=facts.get("variant") or "custom",
        number=facts.get("number"),
        architecture=model.get("architecture") or "",
        batch_size=training.get("batch_size"),
        tests=tuple((config.get("data") or {}).get("tests") or ()),
        data_settings=tuple(_data_settings(folder / "environment.json")),
        train=train,
        validation=validation,
        result=result,
        unlabelled=_unlabelled(config),
    )


def read_jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
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


def _read_history(path: Path) -> tuple[dict[str, Column], dict[str, Column]]:
    train: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    for number, line in read_jsonl(path):
        kind = line.get("kind")
        if kind not in ("train", "validation"):
            raise ValueError(f'{path}, line {number}: "kind" is {kind!r}, expected "train" or '
                             '"validation"')  # fmt: skip
        for key in _TRAIN if kind == "train" else _VALIDATION:
            if not _is_number(line.get(key)):
                raise ValueError(f'{path}, line {number}: "{key}" is {line.get(key)!r}, '
                                 "expected a number")  # fmt: skip
        (train if kind == "train" else validation).append(line)
    return _columns(train, validation)


def _columns(
    train: list[dict[str, Any]], validation: list[dict[str, Any]]
) -> tuple[dict[str, Column], dict[str, Column]]:
    def column(lines: list[dict[str, Any]], key: str) -> Column:
        values = [line.get(key) for line in lines]
        return np.array([v if _is_number(v) else math.nan for v in values], dtype=np.float64)

    return (
        {key: column(train, key) for key in _TRAIN},
        {key: column(validation, key) for key in (*_VALIDATION, *_OPTIONAL)},
    )


def _read_result(path: Path) -> dict[str, Any]:
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


def _read_config(path: Path) -> dict[str, Any]:
    """An unfinished run says in its configuration what it is; a run without one is still read."""
    if not path.is_file():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML: {one_line(error)}") from None
    return config if isinstance(config, dict) else {}


def _unlabelled(config: dict[str, Any]) -> tuple[str, ...]:
    distill = config.get("distill")
    given = distill.get("unlabelled") if isinstance(distill, dict) else None
    return tuple(map(str, given)) if isinstance(given, list) else ()


def _data_settings(path: Path) -> list[str]:
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


def _short(folder: Path, folders: Sequence[Path]) -> str:
    """The folder's own name, or its whole path where another folder ends in the same."""
    same = [other for other in folders if other.resolve().name == folder.resolve().name]
    return folder.resolve().name if len(same) == 1 else str(folder)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_line(error: Exception) -> str:
    """An error's text without its line breaks."""
    return " ".join(str(error).split())
