"""Candidates: runs of one configuration, whatever their seeds, and how they did on their tests.

N reviews of a test set, S seeds.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from bias.dossier.evidence import Certified, Evidence, Missing, gather
from bias.section import Estimate
from bias.seeds import over_seeds
from training.config import completed
from training.metrics import BINS
from training.results.comparisons import read_predictions
from training.results.questions import IN_DOMAIN, domain, source_name
from training.results.runs import Run, read_runs

# What a second seed may have of its own without being another candidate: none of it changes the
# model, or it is the seed itself.
_FREE = {"data": ("cache_dir",),
         "train": ("seed", "evaluation_batch_size", "loader_workers", "log_every", "save_every",
                   "tracker")}  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What one run answered on one test set: labels (N,), logits (N, 2)."""

    labels: NDArray[np.int8]
    logits: NDArray[np.float64]

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """(N,): the probability of the chosen label."""
        margin = np.abs(self.logits[:, 1] - self.logits[:, 0])
        return np.asarray(1 / (1 + np.exp(-margin)))

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N,)"""
        return np.asarray((self.logits[:, 1] > self.logits[:, 0]) == (self.labels == 1))


@dataclass(frozen=True)
class Candidate:
    """Finished runs that differ in nothing but the seed; the first is to be shipped (`shipped`).
    `answers[test][s]` are those of run s, where it kept them."""

    name: str
    runs: tuple[Run, ...]
    evidence: tuple[Evidence, ...]
    answers: dict[str, list[Answers]]

    @property
    def shipped(self) -> Run:
        """The run whose bundle one would deploy: of those that were audited, and of these of those
        that were exported, the best on validation; never chosen by a test."""
        return self.runs[0]

    @property
    def audited(self) -> list[int]:
        """Seeds of the runs whose bias was measured."""
        return [each.run.facts["training"]["seed"] for each in self.evidence
                if not isinstance(each.audits, Missing)]  # fmt: skip

    def alone(self, evidence: Evidence) -> "Candidate":
        """One of its runs as a candidate of its own, without the others' figures: what may be said
        of that run's bundle. Its answers are left out, which options are not made of."""
        return Candidate(self.name, (evidence.run,), (evidence,), {})

    @property
    def tests(self) -> list[str]:
        """Test sets that every run of it has."""
        return [t for t in self.runs[0].facts["tests"]
                if all(t in run.facts["tests"] for run in self.runs)]  # fmt: skip

    @property
    def teacher(self) -> str | None:
        """The bundle that it was distilled from, where it was."""
        distill = _config(self.shipped).get("distill")
        return distill.get("teacher") if isinstance(distill, dict) else None

    def is_in_domain(self, test: str) -> bool:
        """Whether a test set comes from a source that it learned from."""
        return self.domain(test) == IN_DOMAIN

    def domain(self, test: str) -> str:
        """`in domain`, `seen without labels` or `out of domain`."""
        return domain(self.shipped, test)

    @property
    def sources(self) -> str:
        """What it learned from, and apart from that the sources whose labels it did not see."""
        labelled = ", ".join(map(source_name, self.shipped.facts["data"]["sources"]))
        bare = ", ".join(map(source_name, self.shipped.unlabelled))
        return f"{labelled}; without labels: {bare}" if bare else labelled

    def rows_key(self, test: str) -> str:
        """Names the rows of a test set: by their labels where predictions are kept, else by
        their number."""
        if answers := self.answers.get(test):
            digest = hashlib.sha256(answers[0].labels.tobytes()).hexdigest()[:16]
            return f"{test}, labels {digest}"
        return f"{test}, {self.shipped.facts['tests'][test]['n']} rows"

    def figure(self, test: str, metric: str) -> Estimate:
        """Mean over seeds of a metric of `result.json`, and an interval for rows and seeds.

        One run's own interval covers the choice of test rows; Student's over S ≥ 2 runs covers
        that of the seed. On each side the wider one counts.
        """
        return self.mean_figure((test,), metric)

    def mean_figure(self, tests: Sequence[str], metric: str) -> Estimate:
        """The same of the mean over K test sets, each of which counts alike. Their rows are drawn
        independently, so that the margins of their own intervals add by their squares on each side
        (Zou and Donner 2008, https://doi.org/10.1002/sim.3095)."""
        facts = [[run.facts["tests"][test] for test in tests] for run in self.runs]
        found = np.array([[[t[metric][k] for k in ("value", "low", "high")] for t in each]
                          for each in facts])  # (S, K, 3)  # fmt: skip
        values, lows, highs = found.mean(axis=0).T  # (K,) each
        value = float(values.mean())
        low = value - float(np.linalg.norm(values - lows)) / len(tests)
        high = value + float(np.linalg.norm(highs - values)) / len(tests)
        of = f"reviews of {', '.join(tests)}"
        if len(self.runs) > 1:
            seeds = over_seeds(metric, [float(run) for run in found[:, :, 0].mean(axis=1)])
            low, high = max(0.0, min(low, seeds.low)), min(1.0, max(high, seeds.high))
            of += f", mean of {len(self.runs)} seeds"
        n = sum(int(self.shipped.facts["tests"][test]["n"]) for test in tests)
        return Estimate(metric, value, low, high, n, of)


def audited_sentence(candidate: Candidate) -> str:
    """Of how many of its seeds bias was measured; nothing of a single run, whose figures say it."""
    seeds, audited = len(candidate.runs), candidate.audited
    if seeds == 1:
        return ""
    which = f" (seed {', '.join(map(str, audited))})" if 0 < len(audited) < seeds else ""
    rest = "" if len(audited) == seeds else "; what the others' is, is not known"
    return (f"{candidate.name}: bias was measured of {len(audited)} of its {seeds} seeds{which}"
            f"{rest if audited else ''}.")  # fmt: skip


@dataclass(frozen=True)
class Bin:
    """Answers of one range of confidence. Means are NaN where it has none."""

    confidence: float
    accuracy: float
    count: int


def reliability(answers: Sequence[Answers]) -> list[Bin]:
    """The bins that the calibration error is made of, over all runs' answers together."""
    confidence = np.concatenate([a.confidence for a in answers])
    correct = np.concatenate([a.correct for a in answers])
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, values, minlength=BINS) for values in (confidence, correct)]
    return [
        Bin(float(c / n), float(a / n), int(n)) if n else Bin(math.nan, math.nan, 0)
        for c, a, n in zip(*sums, counts, strict=True)
    ]


def read_candidates(folders: Sequence[Path]) -> list[Candidate]:
    """All folders as candidates, in the order of the table of results.

    Raises:
        ValueError: no run, an unfinished one, or a damaged file; one line.
    """
    runs = read_runs(folders)
    for run in runs:
        if not run.finished:
            raise ValueError(
                f"{run.folder}: unfinished, it has no result.json; the command that began it goes "
                "on with it, or leave it out"
            )
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = _configuration(run)
        # the same seed twice is no second draw, and so another candidate
        while any(run.facts["training"]["seed"] == r.facts["training"]["seed"]
                  for r in groups.get(key, ())):  # fmt: skip
            key += " again"
        groups.setdefault(key, []).append(run)
    experiments = [group[0].experiment for group in groups.values()]
    return [
        _candidate(group, experiments.count(group[0].experiment) == 1) for group in groups.values()
    ]


def _candidate(group: list[Run], alone: bool) -> Candidate:
    gathered = sorted((gather(run) for run in group), key=_shipping_order)
    ordered = [evidence.run for evidence in gathered]
    name = ordered[0].experiment if alone else group[0].label
    answers: dict[str, list[Answers]] = {}
    for test in ordered[0].facts["tests"]:
        read = [read_predictions(run, test) for run in ordered if test in run.facts["tests"]]
        kept = [Answers(*each) for each in read if each is not None]
        if any(not np.array_equal(each.labels, kept[0].labels) for each in kept[1:]):
            raise ValueError(f"{name}: its runs were tested on different rows of {test}: their "
                             "labels differ; give the runs one by one")  # fmt: skip
        if kept:
            answers[test] = kept
    return Candidate(name, tuple(ordered), tuple(gathered), answers)


def _shipping_order(evidence: Evidence) -> tuple[bool, bool, float]:
    """What was audited first, then what has an artefact with proof, then by validation: a bundle
    whose bias is not known is not shipped where another seed's is."""
    proved = any(isinstance(each, Certified) for each in evidence.certificates.values())
    return (isinstance(evidence.audits, Missing), not proved,
            -evidence.run.facts["best"]["accuracy"])  # fmt: skip


def _config(run: Run) -> dict[str, Any]:
    """The run's own `config.yaml`, which `read_runs` found to be YAML; empty without one."""
    path = run.folder / "config.yaml"
    read = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return read if isinstance(read, dict) else {}


def _configuration(run: Run) -> str:
    """What makes two runs the same candidate."""
    config = _config(run)
    if not isinstance(config.get("train"), dict) or "data" not in config:
        config = {k: run.facts.get(k) for k in ("experiment", "arguments", "data", "training")}
        config["train"] = config.pop("training")
        config["data"] = {k: v for k, v in (config["data"] or {}).items() if k != "report"}
    else:
        config = completed(config)
    plain = {
        part: {k: v for k, v in value.items() if k not in _FREE.get(part, ())}
        if isinstance(value, dict) else value
        for part, value in config.items()
    }  # fmt: skip
    return json.dumps(plain, sort_keys=True, default=str)
