"""What is measured of each system, in turns."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import Progress

from serve.benchmark.load import Load, drive, render
from serve.benchmark.systems import STANDARD, System
from serve.predictor import Predictor
from serve.server import ServerError

Figures = dict[str, dict[str, list[float]]]
"""System -> measure -> one figure a round."""

LONE = 200  # texts, for the predictor's time of one


@dataclass(frozen=True)
class Plan:
    """`seconds` of one measurement. `warm_up`: seconds of full load on each system before the first
    round, since Java compiles what it runs often, on the cores that answer."""

    connections: int
    rounds: int
    seconds: float
    warm_up: float


def measure(
    systems: Sequence[System], predictor: Predictor, texts: list[str], plan: Plan
) -> Figures:
    """All figures of all rounds."""
    figures: Figures = {}
    turns = len(systems) + plan.rounds * (len(systems) + 1)
    with Progress(console=Console(stderr=True), transient=True) as progress, ExitStack() as still:
        for each in systems:
            still.enter_context(each.suspended())
        task = progress.add_task("measuring", total=turns)
        for each in systems:
            _append(figures.setdefault(each.name, {}), _warm_up(each, texts, plan))
            progress.advance(task)
        for _ in range(plan.rounds):
            for each in systems:
                _append(figures.setdefault(each.name, {}), _measure_system(each, texts, plan))
                progress.advance(task)
            for name, size in (("predictor", len(texts)), ("predictor-by-batch", _batch())):
                found = _measure_predictor(predictor, texts, size)
                _append(figures.setdefault(name, {}), found)
            progress.advance(task)
    return figures


def _batch() -> int:
    return STANDARD.batch_size


def _warm_up(system: System, texts: list[str], plan: Plan) -> dict[str, float]:
    """How fast it is in its first seconds; then full load for the rest of the warm-up."""
    requests = _requests(system, texts)
    with system.awake():
        first = drive(system.port, requests, plan.connections, plan.seconds)
        rest = drive(system.port, requests, plan.connections, plan.warm_up)
    _check(system, first, rest)
    return {"cold_rate": first.rate}


def _measure_system(system: System, texts: list[str], plan: Plan) -> dict[str, float]:
    requests = _requests(system, texts)
    with system.awake():
        drive(system.port, requests, plan.connections, plan.seconds / 4)  # awake, and warm again
        before = system.cpu_seconds()
        full = drive(system.port, requests, plan.connections, plan.seconds)
        spent = {name: each - before[name] for name, each in system.cpu_seconds().items()}
        lone = drive(system.port, requests, 1, plan.seconds / 2)
        half = drive(system.port, requests, plan.connections, plan.seconds, rate=full.rate / 2)
    _check(system, full, lone, half)
    answered = len(full.latencies)
    return {
        "rate": full.rate,
        "p50_ms": full.percentile(50),
        "p99_ms": full.percentile(99),
        "lone_p50_ms": lone.percentile(50),
        "half_load_p50_ms": half.percentile(50),
        "half_load_p99_ms": half.percentile(99),
        **{f"cpu_us_{name}": 1e6 * each / answered for name, each in spent.items()},
    }


def _requests(system: System, texts: list[str]) -> list[bytes]:
    return [render(system.path, json.dumps({"text": text}).encode(), system.token)
            for text in texts]  # fmt: skip


def _check(system: System, *loads: Load) -> None:
    failures = sum(load.failures for load in loads)
    if failures:
        raise ServerError(f"{system.name}: {failures} requests were not answered with 200")


def _measure_predictor(predictor: Predictor, texts: list[str], size: int) -> dict[str, float]:
    """`size` texts a call."""
    calls = [texts[place : place + size] for place in range(0, len(texts), size)]
    before, start = time.process_time(), time.perf_counter()  # finer than psutil's 10 ms
    for call in calls:
        predictor.predict(call)
    elapsed, spent = time.perf_counter() - start, time.process_time() - before
    found = {"rate": len(texts) / elapsed, "cpu_us_workers": 1e6 * spent / len(texts)}
    if len(calls) > 1:
        return found
    lone = []
    for text in texts[:LONE]:
        start = time.perf_counter()
        predictor.predict([text])
        lone.append(time.perf_counter() - start)
    return found | {"lone_p50_ms": float(np.median(lone)) * 1000}


def _append(figures: dict[str, list[float]], found: dict[str, float]) -> None:
    for name, value in found.items():
        figures.setdefault(name, []).append(value)
