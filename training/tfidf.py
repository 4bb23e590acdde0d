"""The baseline a user would take instead: scikit-learn's TF-IDF and logistic regression.

It sees the very reviews that the other experiments see, as text, and writes the same kind of run
folder, without a bundle: it is there to be compared with.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from training.data import ReviewData, TokenTable, load_data
from training.evaluation import write_predictions
from training.folder import alone, begin_run, check_run, write_result
from training.history import History
from training.measure import MemoryMeter, device_name
from training.metrics import Metrics, evaluate_logits
from training.progress import Progress
from training.result import common
from training.settings import Config

_ARGUMENTS = {"max_ngram": 2, "min_count": 2, "inverse_regularisation": 4.0}


@alone
def run_tfidf(config: Config, output: Path, restart: bool = False) -> dict[str, Any]:
    """Fit, test and write `result.json`, which is returned. It takes no steps, so none resume.

    Raises:
        ValueError: an unknown argument, or a folder of another run.
    """
    began = time.perf_counter()
    unknown = config.model.arguments.keys() - _ARGUMENTS.keys()
    if unknown:
        name, known = sorted(unknown)[0], ", ".join(_ARGUMENTS)
        raise ValueError(f"model.arguments.{name}: tfidf takes {known}")
    progress = Progress()
    if done := check_run(config, output, restart):
        progress.say(f"already finished: {output / 'result.json'} (--restart trains it again)")
        return done
    data = load_data(config.data, progress)
    begin_run(config, output, restart)
    data_seconds = time.perf_counter() - began
    memory = MemoryMeter(torch.device("cpu"))
    arguments = _ARGUMENTS | config.model.arguments
    model = _pipeline(arguments, config.train.seed)
    fit_began, fit_cpu_began = time.perf_counter(), time.process_time()
    with progress.task("fit TF-IDF and logistic regression", len(data.train)) as task:
        model.fit(list(data.train.texts()), data.train.labels)
        task.advance(len(data.train))
    train_time = {
        "train_seconds": time.perf_counter() - fit_began,
        "train_cpu_seconds": time.process_time() - fit_cpu_began,
        "evaluation_seconds": 0.0,
    }
    held = memory.sample()
    tests_began = time.perf_counter()
    measured = _measure(model, data, output, progress)
    test_seconds = time.perf_counter() - tests_began
    result = _result(config, data, model, arguments, measured, train_time,
                     memory.describe([held], memory.peak(held)))  # fmt: skip
    result["time"] |= {
        "data_seconds": data_seconds,
        "test_seconds": test_seconds,
        "total_seconds": time.perf_counter() - began,
    }
    _write_history(output, result, len(data.train))
    write_result(output, result)
    return result


def _pipeline(arguments: dict[str, Any], seed: int) -> Pipeline:
    words = TfidfVectorizer(
        ngram_range=(1, arguments["max_ngram"]),
        min_df=arguments["min_count"],
        sublinear_tf=True,
        dtype=np.float32,
    )
    regression = LogisticRegression(
        C=arguments["inverse_regularisation"], max_iter=1000, random_state=seed
    )
    return make_pipeline(words, regression)


def _logits(model: Pipeline, table: TokenTable) -> NDArray[np.float32]:
    """(N, 2): the decision function is the log-odds, so that zero and it are a pair of logits."""
    odds = model.decision_function(list(table.texts()))
    return np.stack([np.zeros_like(odds), odds], axis=-1).astype(np.float32)


def _measure(
    model: Pipeline, data: ReviewData, output: Path, progress: Progress
) -> dict[str, Metrics]:
    measured = {}
    for name, table in {"validation": data.validation, **data.tests}.items():
        logits = _logits(model, table)
        write_predictions(output / "predictions" / f"{name}.parquet", table.labels, logits)
        measured[name] = evaluate_logits(logits, table.labels)
        progress.say(f"{name}: {measured[name].summary()}")
    return measured


def _result(
    config: Config,
    data: ReviewData,
    model: Pipeline,
    arguments: dict[str, Any],
    measured: dict[str, Metrics],
    train_time: dict[str, float],
    memory: dict[str, Any],
) -> dict[str, Any]:
    weights = int(model[-1].coef_.size + model[-1].intercept_.size)
    validation = measured["validation"]
    return common(config, data) | {
        "architecture": "tfidf",
        "arguments": arguments,
        "parameters": {"total": weights, "trainable": weights, "embedding": 0},
        "best": {
            "step": 1,
            "epoch": 1.0,
            "accuracy": validation.accuracy.value,
            "loss": validation.loss.value,
        },
        "validation": validation.as_dict(),
        "tests": {name: m.as_dict() for name, m in measured.items() if name != "validation"},
        "time": train_time,
        "throughput": {
            "reviews_per_second": len(data.train) / train_time["train_seconds"],
            "tokens_per_second": float(data.train.lengths.sum()) / train_time["train_seconds"],
        },
        "memory": memory,
        "training": {
            "epochs": 1.0,
            "steps": 1,
            "batch_size": len(data.train),
            "learning_rate": None,
            "max_length": None,
            "padding": None,
            "mixed_precision": "no",
            "seed": config.train.seed,
            "stopped": "finished",
        },
        "machine": {
            "device": device_name(torch.device("cpu")),
            "processes": 1,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _write_history(output: Path, result: dict[str, Any], reviews: int) -> None:
    """One point, so that the baseline stands on the curves' right edge."""
    history = History(output / "history.jsonl", enabled=True)
    history.cut(0)
    best = result["best"]
    history.write({"kind": "validation", "step": 1, "epoch": 1.0, "reviews": reviews,
                   "loss": best["loss"], "accuracy": best["accuracy"],
                   "seconds": result["time"]["train_seconds"]})  # fmt: skip
