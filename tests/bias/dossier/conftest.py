"""Run folders with properties known beforehand, in the schemas of the real programs."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from bias.report import Audit, as_json
from bias.section import Estimate, Section
from export.certificate import certify
from export.formats import FORMATS
from training.evaluation import write_predictions
from training.metrics import evaluate_logits

MakeRun = Callable[..., Path]


def logits_of(
    accuracy: float, rows: int, seed: int
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Alternating labels (N,), and logits (N, 2) of which exactly round(accuracy · N) are right."""
    random = np.random.default_rng(seed)
    labels = (np.arange(rows) % 2).astype(np.int8)
    right = np.zeros(rows, dtype=bool)
    right[random.permutation(rows)[: round(accuracy * rows)]] = True
    margin = random.uniform(0.1, 6, rows)
    positive = np.where((labels == 1) == right, margin, -margin) / 2
    return labels, np.stack([-positive, positive], axis=1)


def _result(name: str, architecture: str, seed: int, measured: dict[str, Any],
            validation: float) -> dict[str, Any]:  # fmt: skip
    return {
        "schema_version": 1, "experiment": name, "number": None, "variant": "custom",
        "title": f"Model {name}", "architecture": architecture, "arguments": {},
        "parameters": {"total": 1000, "trainable": 1000, "embedding": 0},
        "best": {"step": 10, "epoch": 1.0, "accuracy": validation, "loss": 0.3},
        "validation": next(iter(measured.values())), "tests": measured,
        "data": {"train_reviews": 5000, "validation_reviews": 100, "sources": ["shop"],
                 "text": "title+content",
                 "report": {"parts": [{"source": "shop", "part": "train"}]}},
        "time": {"train_seconds": 1800.0, "train_cpu_seconds": 3000.0, "evaluation_seconds": 60.0,
                 "data_seconds": 10.0, "test_seconds": 30.0, "total_seconds": 1900.0},
        "throughput": {"reviews_per_second": 100.0, "tokens_per_second": 1000.0},
        "memory": {"device": "cpu", "steady_bytes": 2**28, "peak_bytes": 2**29,
                   "what": "resident set of the process"},
        "training": {"epochs": 1.0, "steps": 10, "batch_size": 32, "learning_rate": 1e-3,
                     "max_length": 128, "padding": "longest", "mixed_precision": "no",
                     "seed": seed, "stopped": "finished"},
        "machine": {"device": "a processor", "processes": 1, "threads": 1, "torch": "2"},
    }  # fmt: skip


def _benchmark(weights: str, p50: dict[str, float], megabytes: dict[str, float]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "bundle": {"architecture": "gru-encoder", "max_length": 128, "weights_sha256": weights},
        "machine": {"processor": "a processor", "cpus": 2},
        "length": 128, "rounds": 10, "tokenising_ms": 0.25,
        "threads": {n: {
            "latency_ms": {b: {"p50": t * f, "p90": 1.5 * t * f, "p99": 2 * t * f}
                           for b, t in p50.items()},
            "reviews_per_second": {"8": {b: 1000 / t for b, t in p50.items()},
                                   "32": {b: 2000 / t for b, t in p50.items()}},
        } for n, f in (("1", 1.0), ("2", 0.6))},
        "cold_start": {b: {"seconds": 1.0, "peak_bytes": 3e8} for b in p50},
        "artefact_bytes": {b: megabytes.get(b, 10.0) * 1e6 for b in p50},
    }  # fmt: skip


def _audit(weights: str, audits: dict[str, dict[str, tuple[float, float, float]]]) -> Any:
    """By the audit's own writer, so that its schema is the real one."""
    targets, sections = [], []
    for backend, figures in audits.items():
        name = f"run@{backend}"
        targets.append({"name": name, "kind": "bundle", "given": f"run/best@{backend}",
                        "description": f"gru-encoder on {backend}, seed 0, weights {weights[:12]}",
                        "seconds": 1.0})  # fmt: skip
        made = [Estimate(metric, *ends, 500, "pairs") for metric, ends in figures.items()]
        control = Estimate("control_flip_rate", 0.01, 0.0, 0.02, 200, "pairs of reviews")
        sections.append(Section("counterfactual", "Who is named", name, ("A finding.",),
                                (*made, control), ()))  # fmt: skip
    return as_json(Audit(targets, {"reviews": "shop", "most_reviews": 300}, sections))


BIAS = {"flip_rate": (0.01, 0.005, 0.02), "group_gap": (0.05, 0.03, 0.08),
        "equalized_odds_difference": (0.1, 0.0, 0.3)}  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run("folder", experiment="gru", accuracy=0.9, ...)`: a run folder under `tmp_path`."""

    def make(
        folder: str, *, experiment: str = "", accuracy: float = 0.92, seed: int = 0,
        tests: dict[str, float] | None = None, rows: int = 2000, validation: float = 0.9,
        bundle: bool = True, p50: dict[str, float] | None = None, audits: Any = None,
        certified: tuple[str, ...] = ("onnx",), changed: float = 0.0, rate: float = 1e-3,
        megabytes: dict[str, float] | None = None, config: dict[str, Any] | None = None,
        answers: dict[str, tuple[NDArray[np.int8], NDArray[np.float64]]] | None = None,
    ) -> Path:  # fmt: skip
        path = tmp_path / folder
        name = experiment or folder
        measured = {}
        given = {"shop": 0.0, "films": -0.02} if tests is None else tests
        for k, (test, gap) in enumerate(given.items()):
            labels, logits = (answers or {}).get(test) or logits_of(
                accuracy + gap, rows, 100 * seed + k + len(name))  # fmt: skip
            write_predictions(path / "predictions" / f"{test}.parquet", labels, logits)
            measured[test] = evaluate_logits(logits, labels).as_dict()
        architecture = "gru-encoder" if bundle else "tfidf"
        result = _result(name, architecture, seed, measured, validation)
        (path / "result.json").write_text(json.dumps(result))
        settings = {"experiment": name, "title": f"Model {name}", "variant": "custom",
                    "model": {"architecture": architecture, "arguments": {}},
                    "data": {"sources": ["shop"], "tests": ["films"]},
                    "train": {"learning_rate": rate, "seed": seed}} | (config or {})  # fmt: skip
        (path / "config.yaml").write_text(yaml.safe_dump(settings))
        if bundle:
            _write_bundle(path, folder, p50, audits, certified, changed, megabytes or {})
        return path

    def _write_bundle(
        path: Path, folder: str, p50: dict[str, float] | None, audits: Any,
        certified: tuple[str, ...], changed: float, megabytes: dict[str, float],
    ) -> None:  # fmt: skip
        content = (folder.encode() + bytes(20_000))[:20_000]
        weights = hashlib.sha256(content).hexdigest()
        best = path / "best"
        best.mkdir()
        config = {"labels": ["negative", "positive"], "max_length": 256, "tokenizer_sha256": "t",
                  "weights_sha256": weights}  # fmt: skip
        (best / "config.json").write_text(json.dumps(config))
        (best / "model.safetensors").write_bytes(content)
        for backend in certified:
            filename = FORMATS[backend].filename
            content = backend.encode() + bytes(round(1e6 * megabytes.get(backend, 0.01)))
            (best / filename).write_bytes(content)
            certify(
                best,
                filename,
                {
                    "passed": True,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "weights_sha256": weights,
                    "label_agreement": 1 - changed,
                    "reviews": 2000,
                    "accuracy": 0.9,
                    "checkpoint_accuracy": 0.9,
                    "max_abs_difference": 1e-6,
                },
            )
        if p50 is not None:
            (path / "benchmark").mkdir()
            (path / "benchmark" / "benchmark.json").write_text(
                json.dumps(_benchmark(weights, p50, megabytes)))  # fmt: skip
        if audits is not None:
            (path / "audit").mkdir()
            (path / "audit" / "audit.json").write_text(json.dumps(_audit(weights, audits)))

    return make


@pytest.fixture
def whole(make_run: MakeRun) -> MakeRun:
    """The same with benchmark and audit."""

    def make(folder: str, **properties: Any) -> Path:
        return make_run(folder, **{"p50": {"eager": 4.0, "onnx": 1.0}, "audits": {"onnx": BIAS}}
                        | properties)  # fmt: skip

    return make
