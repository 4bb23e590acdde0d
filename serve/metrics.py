"""What an archive's worker counts, sent to TorchServe's Prometheus endpoint once a second.

TorchServe reads a metric as a line of the worker's standard output, so that a line a request would
cost more than many a model; here a thread writes sums.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from serve.classifier import Scores
from serve.responses import Identity, Response

PERIOD = 1.0  # seconds between two reports
BATCH_SIZES = (1, 2, 4, 8, 16, 32)

MODEL = ("ModelName", "ModelVersion")
# name -> its dimensions after those of the model; all are counters
COUNTERS: dict[str, tuple[str, ...]] = {
    "classifier_requests": ("Outcome",),
    "classifier_errors": ("Code",),
    "classifier_texts": ("Truncated",),
    "classifier_tokens": (),
    "classifier_batches": ("UpTo",),
    "classifier_model_microseconds": (),
    "classifier_positive_scores": ("UpTo",),
}


class Tally:
    """Sums by metric and dimensions. `cache` is TorchServe's `context.metrics`."""

    def __init__(self, cache: Any, identity: Identity) -> None:
        self._sums: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()
        self._model = [identity.model, identity.version]
        self._metrics = {name: _metric(cache, name, COUNTERS[name]) for name in COUNTERS}
        reporter = threading.Thread(
            target=self._report, args=(PERIOD,), name="metrics", daemon=True
        )
        reporter.start()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Adds the time that the block takes to the model's."""
        start = time.perf_counter()
        yield
        elapsed = round((time.perf_counter() - start) * 1e6)
        with self._lock:
            self._sums["classifier_model_microseconds",] += elapsed

    def add(self, responses: Sequence[Response], scores: Scores) -> None:
        """Counts one batch of requests."""
        found: Counter[tuple[str, ...]] = Counter()
        for each in responses:
            found["classifier_requests", str(each.status)] += 1
            for code in each.problems:
                found["classifier_errors", code] += 1
        found["classifier_batches", _up_to(len(responses))] += 1
        found["classifier_tokens",] += int(scores.tokens.sum())
        cut = int(scores.truncated.sum())
        found["classifier_texts", "true"] += cut
        found["classifier_texts", "false"] += len(scores.tokens) - cut
        tenths = np.ceil(scores.probabilities[:, -1] * 10).clip(1, 10).astype(np.int64)
        for tenth, count in enumerate(np.bincount(tenths, minlength=11).tolist()):
            if count:
                found["classifier_positive_scores", f"{tenth / 10:.1f}"] = count
        with self._lock:
            self._sums.update(found)

    def flush(self) -> None:
        """Reports what was counted since the last report."""
        with self._lock:
            sums, self._sums = self._sums, Counter()
        for (name, *dimensions), value in sums.items():
            if value:
                self._metrics[name].add_or_update(value, [*self._model, *dimensions])

    def _report(self, period: float) -> None:
        while True:
            time.sleep(period)
            self.flush()


def metrics_yaml() -> dict[str, Any]:
    """The counters as TorchServe's metrics configuration wants them."""
    return {
        "counter": [
            {"name": name, "unit": "count", "dimensions": [*MODEL, *dimensions]}
            for name, dimensions in COUNTERS.items()
        ]
    }


def _metric(cache: Any, name: str, dimensions: tuple[str, ...]) -> Any:
    if any(name in kind for kind in cache.cache.values()):  # by the server's configuration
        return cache.get_metric(name)
    return cache.add_metric_to_cache(
        metric_name=name, unit="count", dimension_names=[*MODEL, *dimensions]
    )


def _up_to(size: int) -> str:
    return next((str(limit) for limit in BATCH_SIZES if size <= limit), "more")
