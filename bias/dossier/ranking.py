"""Which candidates can be ranked at all, by what, and whether a difference is more than chance.

N rows of the yardstick, S seeds.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bias.dossier.candidates import Candidate
from bias.dossier.options import Option
from bias.section import CONFIDENCE, Estimate

FRONT = ("p50_ms", "flip_rate")
"""What the front trades against accuracy on the yardstick."""


@dataclass(frozen=True)
class Yardstick:
    """The rows that the most candidates were tested on in domain: all rankings are on them."""

    test: str
    rows: str
    members: frozenset[str]
    """Names of the candidates that have them."""


def find_yardstick(candidates: Sequence[Candidate]) -> Yardstick | None:
    """None where no candidate has a test in domain; of ties the first named."""
    keys = [(test, each.rows_key(test), each.name) for each in candidates for test in each.tests
            if each.is_in_domain(test)]  # fmt: skip
    if not keys:
        return None
    (test, rows), _ = Counter((test, rows) for test, rows, _ in keys).most_common(1)[0]
    return Yardstick(test, rows, frozenset(name for _, r, name in keys if r == rows))


def ranked_accuracy(option: Option, yardstick: Yardstick) -> Estimate:
    """Accuracy on the yardstick's rows; of a coarser backend, moved by what it gained or lost when
    it was proved, and widened by the labels that it may change."""
    figure = option.candidate.figure(yardstick.test, "accuracy")
    return replace(figure, value=figure.value + option.shift,
                   low=max(0.0, figure.low - option.changed),
                   high=min(1.0, figure.high + option.changed))  # fmt: skip


def correctness(candidate: Candidate, test: str) -> NDArray[np.float64] | None:
    """(N,): the share of seeds that are right on each row; None without predictions."""
    answers = candidate.answers.get(test)
    if not answers or len(answers) != len(candidate.runs):
        return None
    return np.mean([each.correct for each in answers], axis=0)


def accuracy_difference(left: Option, right: Option, yardstick: Yardstick) -> Estimate | None:
    """The right one's accuracy less the left one's, with a 95% interval; None if not to be had.

    Rows are paired; the variance of the mean over the rows and, where a side has S ≥ 2 seeds, that
    of its mean over the seeds are added. Labels that a coarser backend may change widen it.
    """
    test, sides = yardstick.test, (left.candidate, right.candidate)
    if left.candidate is right.candidate:
        width = left.changed + right.changed
        return Estimate("difference", 0.0, -width, width, 0, "the same checkpoint")
    rows = [correctness(each, test) for each in sides]
    if rows[0] is None or rows[1] is None or not {c.name for c in sides} <= yardstick.members:
        return None
    difference = rows[1] - rows[0]
    variance = float(difference.var(ddof=1)) / len(difference) if len(difference) > 1 else math.inf
    for each in sides:
        if len(each.runs) > 1:
            values = [a.correct.mean() for a in each.answers[test]]
            variance += float(np.var(values, ddof=1)) / len(values)
    half = float(norm.ppf(0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    half += left.changed + right.changed
    mean = float(difference.mean())
    return Estimate("difference", mean, mean - half, mean + half, len(difference),
                    f"reviews of {test}")  # fmt: skip


def pareto_front(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of P points (P, K), all to be small, no other is at least as good as in everything
    and better in something."""
    on_front = np.ones(len(points), dtype=bool)
    for i, point in enumerate(points):
        no_worse = (points <= point).all(axis=1)
        better = (points < point).any(axis=1)
        on_front[i] = not (no_worse & better).any()
    return on_front


def front_of(options: Sequence[Option], yardstick: Yardstick | None) -> dict[str, bool]:
    """Option's name -> whether it is on the front; left out are those without all three figures,
    or not tested on the yardstick."""
    if yardstick is None:
        return {}
    whole = [
        option for option in options
        if option.candidate.name in yardstick.members
        and all(not math.isnan(option.value(metric)) for metric in FRONT)
    ]  # fmt: skip
    if not whole:
        return {}
    points = np.array([
        [-ranked_accuracy(o, yardstick).value, *(o.value(metric) for metric in FRONT)]
        for o in whole
    ])  # fmt: skip
    return {o.name: bool(on) for o, on in zip(whole, pareto_front(points), strict=True)}
