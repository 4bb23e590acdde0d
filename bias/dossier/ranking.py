"""Which candidates can be ranked at all, by what, and which may stand in for the best.

N rows of a test set, K test sets, S seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from bias.dossier.candidates import Candidate
from bias.dossier.options import Option
from bias.section import CONFIDENCE, Estimate

FRONT = ("p50_ms", "flip_rate")
"""What the front trades against accuracy on the yardstick."""
MARGIN = 0.005
"""Half a point of accuracy: one review in two hundred, which a faster model may cost."""


@dataclass(frozen=True)
class Yardstick:
    """The in-domain tests, by their rows, that the most candidates share: rankings are by the mean
    over them."""

    tests: tuple[str, ...]
    """K of them, by name."""
    members: frozenset[str]
    """Names of the candidates that have them all."""

    @property
    def title(self) -> str:
        """`shop`, or `the mean of films and shop`."""
        if len(self.tests) == 1:
            return self.tests[0]
        return f"the mean of {', '.join(self.tests[:-1])} and {self.tests[-1]}"


def find_yardstick(candidates: Sequence[Candidate]) -> Yardstick | None:
    """None where no candidate has a test in domain. Of several groups of candidates that share
    tests the largest counts, then the one with more tests, then with more rows, then the first by
    the names of its tests and members: never the first that was given."""
    having: dict[str, set[str]] = {}  # the rows' key -> candidates
    tests: dict[str, tuple[str, int]] = {}  # the rows' key -> name and number
    for each in candidates:
        for test in _inside(each):
            key = each.rows_key(test)
            having.setdefault(key, set()).add(each.name)
            tests[key] = test, each.shipped.facts["tests"][test]["n"]
    if not having:
        return None
    groups = {frozenset(names) for names in having.values()}
    shared = {group: sorted(key for key, names in having.items() if group <= names)
              for group in groups}  # fmt: skip
    best = min(groups, key=lambda group: (
        -len(group), -len(shared[group]), -sum(tests[key][1] for key in shared[group]),
        shared[group], sorted(group)))  # fmt: skip
    return Yardstick(tuple(sorted(tests[key][0] for key in shared[best])), best)


def shared_tests(left: Candidate, right: Candidate) -> list[str]:
    """In-domain tests that both were asked, row for row."""
    return [t for t in _inside(left)
            if t in _inside(right) and left.rows_key(t) == right.rows_key(t)]  # fmt: skip


def _inside(candidate: Candidate) -> list[str]:
    return [test for test in candidate.tests if candidate.is_in_domain(test)]


def ranked_accuracy(option: Option, yardstick: Yardstick) -> Estimate:
    """Mean accuracy over the yardstick's tests; of a coarser backend, less what it lost when it was
    proved, and widened by the labels that it may change. What it gained there is chance, and would
    put it before its own checkpoint: it does not count."""
    figure = option.candidate.mean_figure(yardstick.tests, "accuracy")
    return replace(figure, value=figure.value + min(0.0, option.shift),
                   low=max(0.0, figure.low - option.changed),
                   high=min(1.0, figure.high + option.changed))  # fmt: skip


def correctness(candidate: Candidate, test: str) -> NDArray[np.float64] | None:
    """(N,): the share of seeds that are right on each row; None without predictions."""
    answers = candidate.answers.get(test)
    if not answers or len(answers) != len(candidate.runs):
        return None
    return np.mean([each.correct for each in answers], axis=0)


def stands_in(best: Option, other: Option) -> bool:
    """Whether `other` is shown to lose no more than MARGIN to `best`: on each of their shared tests
    in domain the lower end of the difference's interval is at least -MARGIN.

    All tests have to show it, an intersection-union test (Berger 1982): the chance that one which
    loses more than the margin anywhere is let through is at most that of a single test, 2.5%, and
    nothing is to be corrected for their number. Each model that is held against the best has that
    chance of its own.
    """
    tests = shared_tests(best.candidate, other.candidate)
    found = [accuracy_difference(best, other, test) for test in tests]
    return bool(found) and all(each is not None and each.low >= -MARGIN for each in found)


def accuracy_difference(left: Option, right: Option, test: str) -> Estimate | None:
    """The right one's accuracy on a test less the left one's, with a 95% interval; None where
    predictions are not kept. The rows have to be the same (`shared_tests`).

    Rows are paired; the variance of the mean over the rows and, where a side has S ≥ 2 seeds, that
    of its mean over the seeds are added, and Student's t has the degrees of freedom that Welch
    (1947) and Satterthwaite (1946) give such a sum. Labels that a coarser backend may change widen
    it.
    """
    width = left.changed + right.changed
    moved = min(0.0, right.shift) - min(0.0, left.shift)
    if left.candidate is right.candidate:
        return Estimate("difference", moved, -width, width, 0, "the same checkpoint")
    rows = [correctness(each.candidate, test) for each in (left, right)]
    if rows[0] is None or rows[1] is None:
        return None
    difference = rows[1] - rows[0]
    parts = [_of_mean(difference)]
    for side in (left.candidate, right.candidate):
        if len(side.runs) > 1:
            parts.append(_of_mean(np.array([a.correct.mean() for a in side.answers[test]])))
    half = _half_width(parts) + width
    mean = float(difference.mean())
    return Estimate("difference", mean + moved, mean - half, mean + half, len(difference),
                    f"reviews of {test}")  # fmt: skip


def _of_mean(values: NDArray[np.float64]) -> tuple[float, int]:
    """The variance of a mean, estimated from its sample, and its degrees of freedom."""
    count = len(values)
    return (float(values.var(ddof=1)) / count if count > 1 else math.inf), count - 1


def _half_width(parts: Sequence[tuple[float, int]]) -> float:
    """Of a 95% interval, from independent variances and the degrees of freedom of each."""
    variance = sum(part for part, _ in parts)
    if variance == 0 or math.isinf(variance):
        return variance
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(student.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(variance)


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
