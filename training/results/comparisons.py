"""Two runs on the same test rows, and what came of it; and which pairs there were not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.results.questions import (
    EXPERIMENTS,
    QUESTIONS,
    SETTINGS,
    Difference,
    command,
    comparable,
    differing_settings,
    in_domain,
    pairs_of,
    settings_pairs,
    unnamed_pairs,
)
from training.results.run_files import one_line
from training.results.runs import Run
from training.results.statistics import (
    CONFIDENCE,
    detectable_difference,
    difference_interval,
    holm,
    mcnemar,
    unpaired_detectable,
    unpaired_interval,
    unpaired_p,
)


@dataclass(frozen=True)
class Comparison:
    """Two runs on one test set. Shares, not percent."""

    question: str
    left: str
    right: str
    test: str
    in_domain: bool
    n: int
    left_accuracy: float
    right_accuracy: float
    difference: float
    low: float
    high: float
    only_left: int | None
    """Rows that it alone got right; None, as `only_right`, where a run kept no predictions and the
    comparison goes by the two accuracies."""
    only_right: int | None
    p: float
    p_holm: float
    """Corrected over the comparisons that answer the same question: what the verdict goes by."""
    p_holm_page: float
    """Corrected over all comparisons of the page."""
    detectable: float
    also_differs: list[Difference] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """`better`, `worse` (the right one), `hint` before correction only, or `none`."""
        if self.low <= 0 <= self.high:
            return "none"
        if self.p_holm >= 1 - CONFIDENCE:
            return "hint"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Missing:
    """A comparison that was not made, why, and the commands that would make it."""

    question: str
    left: str
    right: str
    why: str
    absent: tuple[str, ...] = ()
    """Experiments without a finished run."""
    commands: tuple[str, ...] = ()


def read_predictions(run: Run, test: str) -> tuple[NDArray[np.int8], NDArray[np.float64]] | None:
    """Labels (N,) and logits (N, 2) of a finished run; None where it kept no predictions.

    Raises:
        ValueError: a damaged file, or one whose accuracy is not that of the run's result.
    """
    path = run.folder / "predictions" / f"{test}.parquet"
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path, columns=["label", "negative", "positive"])
        columns = [table.column(name).to_numpy() for name in ("label", "negative", "positive")]
    except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors derive from these
        raise ValueError(f"{path}: not readable as predictions: {one_line(error)}") from None
    labels, negative, positive = columns
    correct = (positive > negative) == (labels == 1)
    stated = run.facts["tests"][test] if test != "validation" else run.facts["validation"]
    # one review's worth of room: a tie may fall either way
    if len(labels) != stated["n"] or (
        abs(correct.mean() - stated["accuracy"]["value"]) > 1.5 / len(labels)
    ):
        raise ValueError(
            f"{path}: {len(labels)} rows with accuracy {correct.mean():.4f}, but result.json says "
            f"{stated['n']} with {stated['accuracy']['value']:.4f}; train the run again"
        )
    return labels.astype(np.int8), np.stack([negative, positive], axis=1).astype(np.float64)


def read_answers(run: Run, test: str) -> tuple[NDArray[np.int8], NDArray[np.bool_]] | None:
    """Labels and whether the run was right, both (N,); None where it kept no predictions.

    Raises:
        ValueError: as `read_predictions`.
    """
    read = read_predictions(run, test)
    if read is None:
        return None
    labels, logits = read
    return labels, (logits[:, 1] > logits[:, 0]) == (labels == 1)


def compare_all(runs: Sequence[Run]) -> tuple[list[Comparison], list[Missing]]:
    """Every question's comparisons, corrected for their number, and what could not be made.

    The family of a correction is a question: what is said of attention should not hang on how
    many other runs the page was given. The correction over the whole page stands beside it.

    Raises:
        ValueError: predictions that do not belong to their run.
    """
    finished = [run for run in runs if run.finished]
    made: list[Comparison] = []
    missing: list[Missing] = []
    for question in QUESTIONS:
        for left_role, right_role in question.pairs:
            pairs = list(pairs_of(finished, left_role, right_role))
            for left, right in pairs:
                _compare_pair(question.key, left, right, made, missing)
            if not pairs:
                missing += _missing(question.key, left_role, right_role, finished)
    for left, right in settings_pairs(finished):
        _compare_pair(SETTINGS.key, left, right, made, missing)
    for left, right in unnamed_pairs(finished):
        _compare_pair("baselines", left, right, made, missing)
    return _corrected(made), missing


def _corrected(made: Sequence[Comparison]) -> list[Comparison]:
    page = holm([comparison.p for comparison in made])
    question = [0.0] * len(made)
    for key in {comparison.question for comparison in made}:
        members = [index for index, c in enumerate(made) if c.question == key]
        for index, p in zip(members, holm([made[i].p for i in members]), strict=True):
            question[index] = p
    return [
        replace(c, p_holm=own, p_holm_page=whole)
        for c, own, whole in zip(made, question, page, strict=True)
    ]


@dataclass(frozen=True)
class _Outcome:
    """What a test of two runs' right answers gives: as `Comparison` names it."""

    right_answers: tuple[int, int]
    """Of the left run and of the right one."""
    interval: tuple[float, float]
    p: float
    detectable: float
    only: tuple[int | None, int | None] = (None, None)


def compare(question: str, left: Run, right: Run, test: str) -> Comparison | str:
    """One comparison, not yet corrected, or the reason why there is none. Row by row where both
    runs kept their predictions, else by the two accuracies, on test sets of one size."""
    n, other = (run.facts["tests"][test]["n"] for run in (left, right))
    if n != other:
        return f"{test} has {n:,} rows for one and {other:,} for the other"
    answers = [read_answers(run, test) for run in (left, right)]
    if answers[0] is None or answers[1] is None:
        found = _unpaired(_right_answers(left, test), _right_answers(right, test), n)
    elif np.array_equal(answers[0][0], answers[1][0]):
        found = _paired(answers[0][1], answers[1][1])
    else:
        return f"the rows of {test} are not the same"
    a, b = found.right_answers
    return Comparison(
        question=question,
        left=left.label,
        right=right.label,
        test=test,
        in_domain=in_domain(left, test),
        n=n,
        left_accuracy=a / n,
        right_accuracy=b / n,
        difference=(b - a) / n,
        low=found.interval[0],
        high=found.interval[1],
        only_left=found.only[0],
        only_right=found.only[1],
        p=found.p,
        p_holm=found.p,
        p_holm_page=found.p,
        detectable=found.detectable,
        also_differs=differing_settings(left, right, arguments=question == SETTINGS.key),
    )


def _paired(left: NDArray[np.bool_], right: NDArray[np.bool_]) -> _Outcome:
    """By whether each was right, (N,)."""
    only, n = (int((left & ~right).sum()), int((right & ~left).sum())), len(left)
    return _Outcome(
        right_answers=(int(left.sum()), int(right.sum())),
        interval=difference_interval(*only, n),
        p=mcnemar(*only),
        detectable=detectable_difference(*only, n),
        only=only,
    )


def _right_answers(run: Run, test: str) -> int:
    stated = run.facts["tests"][test]
    return round(stated["accuracy"]["value"] * stated["n"])


def _unpaired(left: int, right: int, n: int) -> _Outcome:
    """By how many each had right."""
    return _Outcome(
        right_answers=(left, right),
        interval=unpaired_interval(left, right, n),
        p=unpaired_p(left, right, n),
        detectable=unpaired_detectable(left, right, n),
    )


def _compare_pair(
    question: str, left: Run, right: Run, made: list[Comparison], missing: list[Missing]
) -> None:
    def refuse(why: str) -> None:
        missing.append(Missing(question, left.label, right.label, why))

    if not comparable(left, right):
        refuse("trained on different data")
        return
    shared = [test for test in left.facts["tests"] if test in right.facts["tests"]]
    if not shared:
        refuse("no test set in common")
    for test in shared:
        outcome = compare(question, left, right, test)
        if isinstance(outcome, Comparison):
            made.append(outcome)
        else:
            refuse(outcome)


def _missing(question: str, left: str, right: str, runs: Sequence[Run]) -> list[Missing]:
    there = {run.role for run in runs}
    absent = [role for role in (left, right) if role not in there]
    names = EXPERIMENTS[left], EXPERIMENTS[right]
    if not absent:
        return [Missing(question, *names, "no two runs of the same variant")]
    if question == "baselines":  # a baseline answers it for the models that there are
        absent = [left] if left in absent else []
    if not absent:
        return []
    return [
        Missing(
            question,
            *names,
            why="not all of its runs are finished",
            absent=tuple(EXPERIMENTS[role] for role in absent),
            commands=tuple(command(role, runs) for role in absent),
        )
    ]
