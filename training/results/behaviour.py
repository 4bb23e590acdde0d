"""Overfitting, underfitting and instability: each with the figures that give it away.

The thresholds are conventions, stated on the page; the figures stand beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import linregress

from training.results.runs import Run
from training.results.wording import number, percent


@dataclass(frozen=True)
class Thresholds:
    """When a sign counts."""

    overfit_loss_rise: float = 0.02
    """Last validation loss over its minimum, as a share of it."""
    underfit_accuracy: float = 0.85
    """Training accuracy below which a run has not learned its own reviews, unless a baseline's
    validation accuracy sets a bar of its own."""
    falling_share: float = 0.01
    """Fall of the train loss over the last quarter of the history that counts as falling."""
    slope_p: float = 0.05
    """p-value of that fall's slope from which on it is too noisy to tell."""
    fewest_lines: int = 8
    """Of the history, for a fall to be judged: the last quarter may hold fewer."""
    spike_ratio: float = 1.5
    """A train loss over the median of those before it."""
    spike_deviations: float = 6.0
    """And its distance from that median in robust standard deviations."""
    spike_window: int = 20
    """Lines of the history in that median."""
    accuracy_drop: float = 0.02
    """Fall of the validation accuracy between two successive validations."""
    drop_errors: float = 2.0
    """And that fall in standard errors, of which a small validation split has large ones."""


THRESHOLDS = Thresholds()

ADVICE = {
    ("overfitting", "loss"): "Keep the best checkpoint, as is done here; then fewer epochs, more "
    "dropout or weight decay, or more reviews.",
    ("underfitting", "falling"): "It had not finished learning: more epochs, or a higher learning "
    "rate with warm-up.",
    (
        "underfitting",
        "flat",
    ): "Training longer alone is unlikely to help: a higher learning rate first, "
    "then more capacity or, where the backbone is frozen, fine-tuning it.",
    ("underfitting", "unclear"): "Train longer and see whether the loss still falls; where it does "
    "not, a higher learning rate, then more capacity.",
    ("instability", "not a number"): "A lower learning rate, warm-up and gradient clipping; bf16 "
    "in the place of fp16.",
    ("instability", "spike"): "A longer warm-up, a lower learning rate or a tighter gradient "
    "clipping; pre-norm in the place of post-norm.",
    ("instability", "drop"): "A lower learning rate towards the end (a decaying schedule) or a "
    "larger batch; validate more often, so that the best checkpoint is not missed.",
}


@dataclass(frozen=True)
class Sign:
    """`kind` is overfitting, underfitting or instability; `evidence` holds the figures."""

    run: str
    kind: str
    what: str
    evidence: dict[str, Any]


def signs(run: Run, bar: float | None = None) -> list[Sign]:
    """What a run's history gives away; `bar` is the training accuracy it should reach."""
    found = [overfitting(run), underfitting(run, bar), diverged(run), spike(run), drop(run)]
    return [sign for sign in found if sign is not None]


def overfitting(run: Run) -> Sign | None:
    """Validation loss past its minimum and rising while the train loss kept falling."""
    history = run.validation
    loss, train = history["loss"], history["train_loss"]
    if len(loss) < 2 or not np.isfinite(loss).all() or not np.isfinite(train).all():
        return None
    best = int(loss.argmin())
    rise = loss[-1] / loss[best] - 1
    if rise < THRESHOLDS.overfit_loss_rise or train[-1] >= train[best]:
        return None
    evidence = {
        "lowest_loss": loss[best],
        "lowest_step": int(history["step"][best]),
        "last_loss": loss[-1],
        "rise": rise,
        "train_loss_then": train[best],
        "train_loss_last": train[-1],
        "best_accuracy": history["accuracy"].max(),
        "last_accuracy": history["accuracy"][-1],
    }
    return Sign(run.label, "overfitting", "loss", _plain(evidence))


def underfitting(run: Run, bar: float | None) -> Sign | None:
    """Training accuracy still below the bar: its loss still falling, or flat where it is."""
    accuracy = run.validation["train_accuracy"]
    bar_is = (
        "the bar where no baseline sets one"
        if bar is None
        else "the weakest baseline's on validation"
    )
    bar = THRESHOLDS.underfit_accuracy if bar is None else bar
    tail = last_stretch(run)
    if not len(accuracy) or not accuracy[-1] < bar or tail is None:
        return None
    evidence = {"train_accuracy": accuracy[-1], "bar": bar, "bar_is": bar_is, **tail}
    return Sign(run.label, "underfitting", tail["course"], _plain(evidence))


def last_stretch(run: Run) -> dict[str, Any] | None:
    """Straight line through the train losses of the last quarter of the history."""
    loss, reviews = run.train["loss"], run.train["reviews"]
    count = max(THRESHOLDS.fewest_lines, len(loss) // 4)
    if len(loss) < count or not np.isfinite(loss[-count:]).all():
        return None
    line = linregress(reviews[-count:], loss[-count:])
    begin, end = (line.intercept + line.slope * reviews[k] for k in (-count, -1))
    fall = (begin - end) / begin
    if fall <= THRESHOLDS.falling_share:
        course = "flat"
    else:
        course = "falling" if line.pvalue < THRESHOLDS.slope_p else "unclear"
    return {"lines": count, "loss_begin": begin, "loss_end": end, "fall": fall, "p": line.pvalue,
            "course": course}  # fmt: skip


def diverged(run: Run) -> Sign | None:
    """A loss that is no number."""
    for kind, history in (("train", run.train), ("validation", run.validation)):
        bad = ~np.isfinite(history["loss"])
        if bad.any():
            step = int(history["step"][bad.argmax()])
            return Sign(run.label, "instability", "not a number", {"of": kind, "step": step})
    return None


def spike(run: Run) -> Sign | None:
    """The largest train loss relative to the median of the lines before it."""
    loss = run.train["loss"]
    window = THRESHOLDS.spike_window
    if len(loss) <= window or not np.isfinite(loss).all():
        return None
    before = np.lib.stride_tricks.sliding_window_view(loss[:-1], window)  # (K − window, window)
    medians = np.median(before, axis=1)
    spread = 1.4826 * np.median(np.abs(before - medians[:, None]), axis=1)
    ratios = loss[window:] / medians
    at = int(ratios.argmax())
    deviations = (loss[window + at] - medians[at]) / max(float(spread[at]), 1e-12)
    if ratios[at] < THRESHOLDS.spike_ratio or deviations < THRESHOLDS.spike_deviations:
        return None
    evidence = {
        "step": int(run.train["step"][window + at]),
        "loss": loss[window + at],
        "median_before": medians[at],
        "ratio": ratios[at],
    }
    return Sign(run.label, "instability", "spike", _plain(evidence))


def drop(run: Run) -> Sign | None:
    """The largest fall of the validation accuracy from one validation to the next."""
    accuracy = run.validation["accuracy"]
    if len(accuracy) < 2:
        return None
    falls = accuracy[:-1] - accuracy[1:]
    at = int(falls.argmax())
    if falls[at] < THRESHOLDS.accuracy_drop:
        return None
    if run.finished:
        # of two independent samples: those of the same rows differ by less
        variance = 2 * accuracy[at] * (1 - accuracy[at]) / run.facts["validation"]["n"]
        if falls[at] < THRESHOLDS.drop_errors * np.sqrt(variance):
            return None
    evidence = {
        "step": int(run.validation["step"][at + 1]),
        "before": accuracy[at],
        "after": accuracy[at + 1],
        "fall": falls[at],
    }
    return Sign(run.label, "instability", "drop", _plain(evidence))


def sentence(sign: Sign) -> str:
    """The evidence in words, then what a practitioner would do."""
    e = sign.evidence
    if sign.kind == "overfitting":
        said = (f"the validation loss ended at {e['last_loss']:.4f}, {percent(e['rise'])} over its "
                f"lowest, {e['lowest_loss']:.4f} at iteration {number(e['lowest_step'])}, while "
                f"the train loss fell from {e['train_loss_then']:.4f} to "
                f"{e['train_loss_last']:.4f}; validation accuracy ended at "
                f"{percent(e['last_accuracy'])}, at best "
                f"{percent(e['best_accuracy'])}")  # fmt: skip
    elif sign.kind == "underfitting":
        course = {"falling": "still falling", "flat": "flat", "unclear": "too noisy to judge"}
        said = (f"training accuracy (with dropout on) ended at {percent(e['train_accuracy'])}, "
                f"below {percent(e['bar'])} ({e['bar_is']}), with a train loss "
                f"{course[e['course']]} over the last {e['lines']} lines of its history: "
                f"{e['loss_begin']:.4f} to {e['loss_end']:.4f} along a straight line")  # fmt: skip
    elif sign.what == "not a number":
        said = f"the {e['of']} loss is no number from iteration {number(e['step'])} on"
    elif sign.what == "spike":
        said = (f"at iteration {number(e['step'])} the train loss was {e['loss']:.4f}, "
                f"{e['ratio']:.1f} times the median of those before it, "
                f"{e['median_before']:.4f}")  # fmt: skip
    else:
        said = (f"validation accuracy fell from {percent(e['before'])} to {percent(e['after'])} "
                f"by the validation at iteration {number(e['step'])}")  # fmt: skip
    return f"**{sign.kind.capitalize()}**, `{sign.run}`: {said}. {ADVICE[sign.kind, sign.what]}"


def baseline_bar(runs: Sequence[Run]) -> float | None:
    """The weakest baseline's validation accuracy: what a bag of words learns of unseen reviews."""
    found = [r.facts["best"]["accuracy"] for r in runs if r.finished and r.family == "baseline"]
    return min(found) if found else None


def _plain(evidence: dict[str, Any]) -> dict[str, Any]:
    """numpy's scalars as Python's, for JSON."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in evidence.items()}
