"""What can be shipped: a candidate on a backend, with every figure that a threshold may ask for.

The checkpoint's accuracy and calibration hold for backends of the same arithmetic, which their
certificates prove. A coarser one (float16, int8) changes the share of labels that its certificate
measured, and its accuracy is bounded by that; its calibration, and its accuracy in other domains,
were not measured, and neither is its bias, unless it was audited itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bias.dossier.candidates import Candidate
from bias.dossier.commands import audit_command, benchmark_command
from bias.dossier.evidence import Certified, Evidence, Missing
from bias.dossier.metrics import METRICS
from bias.section import Estimate
from export.backends import BACKENDS, is_exact
from export.statistics import wilson
from models.bundle import WEIGHTS
from training.results.questions import IN_DOMAIN, OUT_OF_DOMAIN, SEEN

Figure = Estimate | Missing
NO_BACKEND = "no backend"
_CHECKPOINT = "eager"
_BIAS = ("flip_rate", "group_gap", "equalized_odds_difference")
_NOISE = {"flip_rate": "control_flip_rate"}


@dataclass(frozen=True)
class Option:
    """`figures` has every name of METRICS. `shift` is what the backend gained in accuracy over the
    checkpoint when it was proved, `changed` bounds the share of labels that it gives otherwise."""

    candidate: Candidate
    backend: str
    figures: dict[str, Figure]
    shift: float = 0.0
    changed: float = 0.0

    @property
    def name(self) -> str:
        """For tables and sentences."""
        if self.backend == NO_BACKEND:
            return self.candidate.name
        return f"{self.candidate.name} on {self.backend}"

    def value(self, metric: str) -> float:
        """The figure's value; NaN where it is missing."""
        figure = self.figures[metric]
        return figure.value if isinstance(figure, Estimate) else math.nan


def options_of(candidate: Candidate) -> list[Option]:
    """One for each backend that may run, the checkpoint itself first; a run without a bundle has
    one, which cannot be shipped by this toolkit and can only be compared with."""
    if all(each.weights is None for each in candidate.evidence):
        return [_option(candidate, NO_BACKEND, None)]
    proved: dict[str, Certified | None] = {_CHECKPOINT: None}
    certificates = candidate.evidence[0].certificates
    proved |= {b: c for b, c in certificates.items() if isinstance(c, Certified)}
    if isinstance(measured := _measured(candidate)[0], dict):
        # those that run the checkpoint itself; an artefact needs a certificate of its own
        proved |= {b: None for b in _latencies(measured) if BACKENDS[b].format is None}
    return [_option(candidate, backend, proof) for backend, proof in proved.items()]


def _option(candidate: Candidate, backend: str, proof: Certified | None) -> Option:
    shift = changed = 0.0
    if proof is not None and not proof.exact:
        shift = proof.accuracy - proof.checkpoint_accuracy
        changed = wilson(proof.changed, proof.reviews)[1]
    figures: dict[str, Figure] = {
        "artefact_mb": _size(candidate, proof),
        **_quality(candidate, proof is None or proof.exact, shift, changed),
        **_speed(candidate, backend),
        **_bias(candidate, backend),
    }
    assert figures.keys() == METRICS.keys()
    return Option(candidate, backend, figures, shift, changed)


def _quality(candidate: Candidate, same: bool, shift: float, changed: float) -> dict[str, Figure]:
    inside = [test for test in candidate.tests if candidate.is_in_domain(test)]
    outside = [test for test in candidate.tests if candidate.domain(test) == OUT_OF_DOMAIN]
    found = {
        "accuracy": _worst(candidate, inside, "accuracy", IN_DOMAIN),
        "out_of_domain_accuracy": _worst(candidate, outside, "accuracy", OUT_OF_DOMAIN),
        "calibration_error": _worst(candidate, inside, "calibration_error", IN_DOMAIN),
    }
    if same:
        return found
    accuracy = found["accuracy"]
    if isinstance(accuracy, Estimate):
        found["accuracy"] = replace(
            accuracy,
            value=accuracy.value + shift,
            low=max(0.0, accuracy.low - changed),
            high=min(1.0, accuracy.high + changed),
            meaning=f"the checkpoint's, widened by the labels that it may change (≤ {changed:.2%})",
        )
    for name in ("out_of_domain_accuracy", "calibration_error"):
        if isinstance(found[name], Estimate):
            found[name] = Missing(
                "checkpoint only",
                "measured on the checkpoint only, and this backend's arithmetic is coarser",
            )
    return found


def _worst(candidate: Candidate, tests: list[str], metric: str, where: str) -> Figure:
    """Over several test sets, the one whose doubtful end is worst."""
    if not tests and where == OUT_OF_DOMAIN:
        seen = [test for test in candidate.tests if candidate.domain(test) == SEEN]
        what, hint = f"it has no test set {where}", "train the run with --test SOURCE"
        if seen:
            return Missing(SEEN, f"{what}: texts of {', '.join(seen)} were seen without labels; "
                           f"{hint}, of another source")  # fmt: skip
        return Missing("not tested", f"{what}; {hint}")
    if not tests:
        return Missing("not tested", f"it has no test set {where}")
    kind = METRICS["accuracy" if metric == "accuracy" else "calibration_error"]
    figures = [candidate.figure(test, metric) for test in tests]
    worst = (min if kind.high else max)(figures, key=kind.doubtful)
    return worst if where == IN_DOMAIN else replace(worst, name="out_of_domain_accuracy")


def _measured(candidate: Candidate) -> tuple[dict[str, Any] | Missing, Evidence]:
    """The benchmark of the run that is shipped, else of another seed: speed is the shape's."""
    for evidence in candidate.evidence:
        if isinstance(evidence.benchmark, dict):
            return evidence.benchmark, evidence
    return candidate.evidence[0].benchmark, candidate.evidence[0]


def _latencies(measured: dict[str, Any]) -> dict[str, Any]:
    """Of backends, not of peers beside them, at the fewest threads that were measured."""
    found = measured["threads"][min(measured["threads"], key=int)]["latency_ms"]
    return {name: times for name, times in found.items() if name in BACKENDS}


def _speed(candidate: Candidate, backend: str) -> dict[str, Figure]:
    names = ("p50_ms", "p99_ms", "reviews_per_second", "memory_mb")
    measured, evidence = _measured(candidate)
    if isinstance(measured, Missing):
        return {name: measured for name in names}
    if backend not in _latencies(measured):
        again = Missing(
            "not measured",
            f"the benchmark left {backend} out, or measured an earlier export",
            benchmark_command(evidence.run),
        )
        return {name: again for name in names}
    threads = measured["threads"][min(measured["threads"], key=int)]
    times, tokenising = threads["latency_ms"][backend], measured["tokenising_ms"]
    fastest = max(speeds[backend] for speeds in threads["reviews_per_second"].values())
    values = {
        "p50_ms": times["p50"] + tokenising,
        "p99_ms": times["p99"] + tokenising,
        "reviews_per_second": 1 / (1 / fastest + tokenising / 1000),
    }
    of = f"{measured['rounds']} rounds, {measured['length']} tokens"
    started = measured["cold_start"].get(backend)
    if started is not None:
        values["memory_mb"] = started["peak_bytes"] / 1e6
    figures: dict[str, Figure] = {
        "memory_mb": Missing("not measured", "the benchmark made no cold starts",
                             benchmark_command(evidence.run))
    }  # fmt: skip
    return figures | {
        name: Estimate(name, float(value), math.nan, math.nan, int(measured["rounds"]), of)
        for name, value in values.items()
    }


def _size(candidate: Candidate, proof: Certified | None) -> Figure:
    """Of the file that the backend reads."""
    evidence = candidate.evidence[0]
    if evidence.weights is None and isinstance(evidence.benchmark, Missing):
        return evidence.benchmark  # says that there is no bundle
    filename = WEIGHTS if proof is None else proof.filename
    if filename not in evidence.sizes:
        return Missing("no bundle", f"there is no {evidence.bundle / filename}")
    size = evidence.sizes[filename] / 1e6
    return Estimate("artefact_mb", size, math.nan, math.nan, 1, "file")


def _bias(candidate: Candidate, backend: str) -> dict[str, Figure]:
    """The worst of the audited seeds: value their mean, interval from the lowest to the highest."""
    found = [audit for each in candidate.evidence if (audit := _audit(each, backend)) is not None]
    shipped = candidate.evidence[0]
    if not found:
        if isinstance(shipped.audits, Missing):
            why = shipped.audits
        else:
            why = Missing("not audited",
                          f"{backend} was not audited, and its arithmetic is not the audited one's",
                          audit_command(shipped.run, *shipped.audits, backend,
                                        settings=shipped.audit_settings))  # fmt: skip
        return {name: why for name in _BIAS}
    return {name: _pooled(name, found, shipped, len(candidate.runs)) for name in _BIAS}


def _audit(evidence: Evidence, backend: str) -> dict[str, Any] | None:
    """The audit of this backend, or of any other whose arithmetic is the same."""
    if isinstance(evidence.audits, Missing):
        return None
    same = [b for b in evidence.audits if b == backend or (is_exact(b) and is_exact(backend))]
    same.sort(key=lambda b: b != backend)
    return evidence.audits[same[0]] if same else None


def _pooled(name: str, audits: list[dict[str, Any]], shipped: Evidence, seeds: int) -> Figure:
    entries = [a["estimates"][name] for a in audits if name in a["estimates"]]
    if not entries or any(not _numbers(entry) for entry in entries):
        command = audit_command(shipped.run, settings=shipped.audit_settings)
        return Missing("not audited", f"the audit has no {name}", command)
    noise = [a["estimates"].get(_NOISE.get(name, ""), {}).get("value") for a in audits]
    noise += [entry.get("noise") for entry in entries]
    known = [float(n) for n in noise if n is not None]
    mean: Callable[[list[float]], float] = lambda values: sum(values) / len(values)  # noqa: E731
    return Estimate(
        name,
        mean([entry["value"] for entry in entries]),
        float(np.min([_end(entry, "low") for entry in entries])),  # NaN where one has none
        float(np.max([_end(entry, "high") for entry in entries])),
        min(int(entry["n"]) for entry in entries),
        str(entries[0]["of"]) + (f", {len(entries)} of {seeds} seeds" if seeds > 1 else ""),
        str(entries[0].get("meaning") or ""),
        noise=mean(known) if known else None,
    )


def _numbers(entry: dict[str, Any]) -> bool:
    return all(isinstance(entry.get(key), int | float) for key in ("value", "n"))


def _end(entry: dict[str, Any], key: str) -> float:
    """An interval's end; without one nothing is known of it, and NaN says so."""
    value = entry.get(key)
    return float(value) if isinstance(value, int | float) else math.nan
