"""Synthetic run folders with properties known beforehand, to the schema of a real one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.typing import NDArray

TESTS = {"amazon_polarity": 0.0, "amazon_domains": -0.01, "imdb": -0.04}
"""Test sets and how far below its own accuracy a run does on each."""


def right_answers(accuracy: float, rows: int, seed: int) -> NDArray[np.bool_]:
    """(rows,) with exactly round(accuracy · rows) right; low rows are hard for every seed."""
    rng = np.random.default_rng(seed)
    ease = np.arange(rows) / rows + rng.normal(0, 0.06, rows)
    right = np.zeros(rows, dtype=bool)
    right[np.argsort(ease)[rows - round(accuracy * rows) :]] = True
    return right


@dataclass
class FakeRun:
    """What a test wants to vary; the rest is filled in plausibly."""

    experiment: str = "1-gru"
    number: int | None = 1
    variant: str = "recommended"
    title: str = "Bidirectional GRU"
    architecture: str = "gru-encoder"
    arguments: dict[str, Any] = field(default_factory=dict)
    accuracy: float = 0.90
    seconds: float = 120.0
    memory: int = 900 * 2**20
    device: str = "cpu"
    total: int = 8_600_000
    reviews: int = 20_000
    sources: tuple[str, ...] = ("data/amazon_polarity", "data/amazon_domains")
    tests: dict[str, float] = field(default_factory=lambda: dict(TESTS))
    rows: int = 2000
    batch: int = 64
    epochs: int = 3
    rate: float = 1e-3
    seed: int = 0
    overfits: bool = False
    underfits: bool = False
    spikes: bool = False
    finished: bool = True
    unlabelled: tuple[str, ...] = ()
    answers: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Right answers of a test set, where a test needs to know each."""

    def write(self, folder: Path) -> Path:
        """Write the run folder and return it."""
        folder.mkdir(parents=True)
        self._write_config(folder)
        validations = self._write_history(folder)
        if self.finished:
            right = {name: self._answers(name, gap) for name, gap in self.tests.items()}
            (folder / "predictions").mkdir()
            for name, answers in right.items():
                write_predictions(folder / "predictions" / f"{name}.parquet", answers)
            result = self._result(validations, right)
            (folder / "result.json").write_text(json.dumps(result, indent=1))
        return folder

    def _answers(self, name: str, gap: float) -> NDArray[np.bool_]:
        if name in self.answers:
            return self.answers[name]
        seed = sum(map(ord, self.experiment + name)) + self.seed
        return right_answers(self.accuracy + gap, self.rows, seed)

    def _write_config(self, folder: Path) -> None:
        config = {
            "experiment": self.experiment,
            "title": self.title,
            "variant": self.variant,
            "number": self.number,
            "model": {"architecture": self.architecture, "arguments": self.arguments},
            "data": {"sources": list(self.sources), "tests": ["data/imdb"]},
            "train": {"batch_size": self.batch},
            "distill": {"unlabelled": list(self.unlabelled)},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    def _write_history(self, folder: Path) -> list[dict[str, Any]]:
        if self.architecture == "tfidf":
            line = {"kind": "validation", "step": 1, "epoch": 1.0, "reviews": self.reviews,
                    "loss": 0.25, "accuracy": self.accuracy, "seconds": self.seconds}  # fmt: skip
            (folder / "history.jsonl").write_text(json.dumps(line) + "\n")
            return [line]
        rng = np.random.default_rng(len(self.experiment) + self.seed)
        steps = self.epochs * self.reviews // self.batch
        every = max(1, steps // (4 * self.epochs))
        lines, validations, since = [], [], []
        for step in range(5, steps + 1, 5):
            share = step / steps
            loss = float(self._train_loss(share) + rng.normal(0, 0.01))
            if self.spikes and step == 5 * int(steps * 0.6 / 5):
                loss *= 4
            since.append(loss)
            where = {"step": step, "epoch": share * self.epochs, "reviews": step * self.batch}
            lines.append(
                {"kind": "train", **where, "loss": loss, "learning_rate": self.rate,
                 "seconds": self.seconds * share, "reviews_per_second": 500.0,
                 "tokens_per_second": 5e4, "memory_bytes": self.memory}
            )  # fmt: skip
            if step % every < 5 or step > steps - 5:
                validations.append(self._validation(where, share, float(np.mean(since))))
                lines.append(validations[-1])
                since = []
        if not self.finished:
            lines = lines[: len(lines) // 2]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "history.jsonl").write_text(text)
        return validations

    def _train_loss(self, share: float) -> float:
        if self.underfits:
            return 0.69 - 0.02 * share
        floor = 0.03 if self.overfits else 0.9 * (1 - self.accuracy)
        return floor + (0.69 - floor) * float(np.exp(-5 * share))

    def _validation(self, where: dict[str, Any], share: float, train: float) -> dict[str, Any]:
        loss = 2.2 * (1 - self.accuracy) + 0.4 * float(np.exp(-7 * share))
        if self.overfits:
            loss += 0.25 * max(0.0, share - 0.4)
        accuracy = self.accuracy - 0.3 * float(np.exp(-8 * share)) * (self.accuracy - 0.5)
        train_accuracy = 0.55 if self.underfits else min(0.99, self.accuracy + 0.03 * share)
        return {"kind": "validation", **where, "loss": loss, "accuracy": accuracy,
                "seconds": self.seconds * 0.05, "train_loss": train,
                "train_accuracy": train_accuracy}  # fmt: skip

    def _result(
        self, validations: list[dict[str, Any]], right: dict[str, NDArray[np.bool_]]
    ) -> dict[str, Any]:
        best = max(validations, key=lambda line: float(line["accuracy"]))
        tfidf = self.architecture == "tfidf"
        what = "allocated by torch on the accelerator"
        return {
            "schema_version": 1,
            "experiment": self.experiment,
            "number": self.number,
            "variant": self.variant,
            "title": self.title,
            "architecture": self.architecture,
            "arguments": self.arguments,
            "parameters": {"total": self.total, "trainable": self.total, "embedding": 0},
            "best": {key: best[key] for key in ("step", "epoch", "accuracy", "loss")},
            "validation": metrics(best["accuracy"], 1000),
            "tests": {name: metrics(float(a.mean()), len(a)) for name, a in right.items()},
            "data": {"train_reviews": self.reviews, "validation_reviews": 1000,
                     "sources": list(self.sources), "text": "title+content", "report": {}},
            "time": {"train_seconds": self.seconds, "evaluation_seconds": self.seconds * 0.05,
                     "data_seconds": 3.0, "test_seconds": 7.5, "total_seconds": self.seconds * 1.2},
            "throughput": {"reviews_per_second": self.epochs * self.reviews / self.seconds,
                           "tokens_per_second": 5e4},
            "memory": {"device": self.device, "steady_bytes": self.memory,
                       "peak_bytes": int(self.memory * 1.2),
                       "what": what if self.device == "cuda" else "resident set of the process"},
            "training": {"epochs": float(self.epochs), "steps": validations[-1]["step"],
                         "batch_size": self.batch, "learning_rate": None if tfidf else self.rate,
                         "max_length": 256, "padding": "longest", "mixed_precision": "no",
                         "seed": self.seed, "stopped": "finished"},
            "machine": {"device": "a machine", "processes": 1, "threads": 2, "torch": "2.13.0"},
        }  # fmt: skip


def metrics(accuracy: float, rows: int) -> dict[str, Any]:
    """Intervals by the normal approximation: their method is not what is tested here."""
    margin = 1.96 * (accuracy * (1 - accuracy) / rows) ** 0.5

    def around(value: float) -> dict[str, float]:
        return {"value": value, "low": max(0.0, value - margin), "high": value + margin}

    return {"n": rows, "accuracy": around(accuracy), "loss": around(2.3 * (1 - accuracy)),
            "f1": around(accuracy + 0.001), "calibration_error": around(0.03)}  # fmt: skip


def write_predictions(path: Path, right: NDArray[np.bool_]) -> None:
    """Labels alternate; logits are ±1 on the side that makes each answer right or wrong."""
    labels = np.arange(len(right)) % 2
    positive = np.where((labels == 1) == right, 1.0, -1.0).astype(np.float32)
    pq.write_table(
        pa.table({"label": labels.astype(np.int8), "negative": -positive, "positive": positive}),
        path,
    )


def all_runs() -> list[FakeRun]:
    """The six experiments in both variants, the custom GRU and both baselines."""
    scratch = [
        ("1-gru", 1, "Bidirectional GRU", "gru-encoder", 0.912, 180.0),
        ("2-gru-attention", 2, "GRU, soft attention", "gru-encoder-decoder", 0.915, 330.0),
        ("3-transformer", 3, "Transformer, 2 layers, pre-norm", "transformer", 0.897, 150.0),
        ("4-transformer-deep", 4, "Transformer, 4 layers", "transformer", 0.899, 270.0),
        ("5-transformer-postnorm", 5, "Transformer, post-norm", "transformer", 0.893, 148.0),
    ]
    runs = [FakeRun(experiment=name, number=number, title=title, architecture=architecture,
                    accuracy=accuracy, seconds=seconds, overfits=number == 4, spikes=number == 5)
            for name, number, title, architecture, accuracy, seconds in scratch]  # fmt: skip
    for name, frozen, accuracy, seconds in (
        ("6-bert-finetuned", False, 0.938, 4000.0),
        ("6-bert-frozen", True, 0.86, 1500.0),
    ):
        arguments = {"name_or_path": "data/minilm", "frozen": frozen}
        runs.append(FakeRun(experiment=name, number=6, title="BERT", architecture="bert",
                            arguments=arguments, accuracy=accuracy, seconds=seconds, epochs=1,
                            batch=32, memory=2500 * 2**20, total=22_700_000))  # fmt: skip
    references = [
        FakeRun(experiment=f"{run.experiment}-reference", number=run.number, variant="reference",
                title=run.title, architecture=run.architecture, arguments=run.arguments,
                accuracy=0.53 + 0.02 * (run.number or 0), seconds=run.seconds * 0.5, epochs=1,
                batch=512, rate=1e-5, underfits=True)
        for run in runs
    ]  # fmt: skip
    others = [
        FakeRun(experiment="custom-gru", number=None, variant="custom", title="Custom GRU",
                architecture="custom-gru", accuracy=0.911, seconds=600.0),
        FakeRun(experiment="baseline-tfidf", number=None, variant="baseline", title="TF-IDF",
                architecture="tfidf", accuracy=0.914, seconds=25.0, epochs=1, total=600_000),
        FakeRun(experiment="baseline-fasttext", number=None, variant="baseline",
                title="fastText-style", architecture="ngram-bag", accuracy=0.909, seconds=40.0),
    ]  # fmt: skip
    return [*others, *references, *runs]


Write = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """`write_run("name", accuracy=0.9, ...)`: a run folder of that name under `tmp_path`."""

    def write(name: str, **properties: Any) -> Path:
        return FakeRun(**properties).write(tmp_path / name)

    return write


@pytest.fixture(scope="session")
def every_run(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of all seventeen runs, in an order that is not the table's; not to be written to."""
    root = tmp_path_factory.mktemp("runs")
    return [run.write(root / run.experiment) for run in all_runs()]
