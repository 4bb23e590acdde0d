"""Run folders, as the pages about them see them.

N reviews of a test set, K lines of a history.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from training.results.run_files import (
    Column,
    columns,
    data_settings,
    read_config,
    read_history,
    read_result,
    unlabelled,
)

FAMILIES = {
    "gru-encoder": "recurrent",
    "gru-encoder-decoder": "recurrent",
    "custom-gru": "recurrent",
    "transformer": "Transformer",
    "bert": "pretrained",
    "ngram-bag": "baseline",
    "tfidf": "baseline",
}


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
    result = read_result(result_file) if result_file.is_file() else None
    config = read_config(folder / "config.yaml")
    train, validation = read_history(history) if history.is_file() else columns([], [])
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
        data_settings=tuple(data_settings(folder / "environment.json")),
        train=train,
        validation=validation,
        result=result,
        unlabelled=unlabelled(config),
    )


def _short(folder: Path, folders: Sequence[Path]) -> str:
    """The folder's own name, or its whole path where another folder ends in the same."""
    same = [other for other in folders if other.resolve().name == folder.resolve().name]
    return folder.resolve().name if len(same) == 1 else str(folder)
