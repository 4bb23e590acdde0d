"""The proof that an export answers as its checkpoint does.

The checkpoint, eager and in float32, is the reference; the artefact runs on the engine that will
serve it. `python -m export.parity BUNDLE` repeats the proof of a bundle's artefacts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.cases import Case, review_cases
from export.formats import Gate
from export.statistics import wilson_interval

Engine = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
Advance = Callable[[], None]

# Two logits closer than float32's rounding of their sums have no order, so that either label is
# the checkpoint's.
TIE = 2e-6


class ParityError(ValueError):
    """An export that does not answer as its checkpoint does: which input differs by how much."""


class Replaced(ParityError):
    """The bundle was replaced while its artefact was proved: nothing is known of the new one's."""


@dataclass
class Differences:
    """What has been seen of |Δlogit| and of the labels, over all inputs so far."""

    worst: float = 0.0
    worst_input: str = ""
    total: float = 0.0
    logits: int = 0
    rows: int = 0
    disagreeing: int = 0
    disagreement: str = ""

    def add(self, case: Case, expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        """Takes in one case: logits (B, C) of the checkpoint and of the export."""
        difference = np.abs(found.astype(np.float64) - expected)  # (B, C)
        if not difference.max() <= self.worst:
            row = int(difference.max(axis=1).argmax())
            self.worst, self.worst_input = float(difference.max()), f"{case.name}, row {row}"
        self.total += float(difference.sum())
        self.logits += difference.size
        chosen = np.take_along_axis(expected, found.argmax(axis=1)[:, None], 1)[:, 0]
        differs = expected.max(axis=1) - chosen > TIE
        self.rows += len(expected)
        self.disagreeing += int(differs.sum())
        if differs.any() and not self.disagreement:
            row = int(differs.argmax())
            self.disagreement = (
                f"{case.name}, row {row}: logits {_rounded(found[row])}, "
                f"the checkpoint's {_rounded(expected[row])}"
            )

    @property
    def mean(self) -> float:
        """The mean |Δlogit|."""
        return self.total / max(1, self.logits)

    @property
    def agreement(self) -> float:
        """The share of rows whose label is the checkpoint's."""
        return 1 - self.disagreeing / max(1, self.rows)


@dataclass
class Reference:
    """The checkpoint's logits: on the cases, and on labelled reviews in batches of 32."""

    cases: list[Case]
    case_logits: list[NDArray[np.float32]]
    reviews: list[Case]
    review_logits: list[NDArray[np.float32]]
    labels: NDArray[np.int64]
    source: str

    @classmethod
    def of(
        cls,
        engine: Engine,
        cases: list[Case],
        rows: list[list[int]],
        labels: NDArray[np.int64],
        source: str,
        advance: Advance = lambda: None,
    ) -> "Reference":
        """Runs the checkpoint's `engine` on all of them; `advance` is called after each batch.

        Raises:
            ParityError: the checkpoint's own logits are not finite: nothing can be like them.
        """
        reviews = list(review_cases(rows))
        case_logits = [_run(engine, case, advance) for case in cases]
        review_logits = [_run(engine, case, advance) for case in reviews]
        return cls(cases, case_logits, reviews, review_logits, labels, source)

    @property
    def batches(self) -> int:
        return len(self.cases) + len(self.reviews)


@dataclass
class Findings:
    """What was measured of one artefact. Accuracies are shares of the labelled reviews."""

    on_cases: Differences = field(default_factory=Differences)
    on_reviews: Differences = field(default_factory=Differences)
    spread: float = 1.0  # the standard deviation of the checkpoint's logits on the cases
    accuracy: float = 0.0
    accuracy_interval: tuple[float, float] = (0.0, 1.0)
    checkpoint_accuracy: float = 0.0
    source: str = ""

    @property
    def worst(self) -> Differences:
        """Where the largest difference was."""
        return max(self.on_cases, self.on_reviews, key=lambda each: each.worst)

    def entry(self) -> dict[str, Any]:
        """As a certificate holds it."""
        both = (self.on_cases, self.on_reviews)
        return {
            "max_abs_difference": self.worst.worst,
            "worst_input": self.worst.worst_input,
            "mean_abs_difference": sum(d.total for d in both) / sum(d.logits for d in both),
            "label_agreement": self.on_reviews.agreement,
            "label_agreement_on_cases": self.on_cases.agreement,
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.accuracy_interval),
            "checkpoint_accuracy": self.checkpoint_accuracy,
            "reviews": self.on_reviews.rows,
            "reviews_source": self.source,
            "case_rows": self.on_cases.rows,
        }


def measure(
    reference: Reference, candidate: Engine, what: str, advance: Advance = lambda: None
) -> Findings:
    """Runs `candidate` on all that the reference was run on.

    Raises:
        ParityError: it fails, or gives logits of another shape, or none that are finite.
    """
    findings = Findings(source=reference.source)
    findings.spread = float(np.concatenate(reference.case_logits).std())
    for case, expected in zip(reference.cases, reference.case_logits, strict=True):
        found = _checked(candidate, case, expected, what)
        findings.on_cases.add(case, expected, found)
        advance()
    labels = []
    for case, expected in zip(reference.reviews, reference.review_logits, strict=True):
        found = _checked(candidate, case, expected, what)
        findings.on_reviews.add(case, expected, found)
        labels.append(found.argmax(axis=1))
        advance()
    right = int((np.concatenate(labels) == reference.labels).sum())
    count = len(reference.labels)
    expected_labels = np.concatenate(reference.review_logits).argmax(axis=1)
    findings.accuracy = right / count
    findings.accuracy_interval = wilson_interval(right, count)
    findings.checkpoint_accuracy = float((expected_labels == reference.labels).mean())
    return findings


def check(findings: Findings, gate: Gate, what: str) -> None:
    """Holds the findings against the gate.

    Raises:
        ParityError: one line that names the input and by how much it differs.
    """
    cases, reviews, worst = findings.on_cases, findings.on_reviews, findings.worst
    # `not <=` throughout: no comparison with NaN holds, so that `>` would let it pass.
    if gate.max_abs_difference is not None and not worst.worst <= gate.max_abs_difference:
        raise ParityError(
            f"{what}: a logit differs from the checkpoint's by {worst.worst:.3g}, allowed is "
            f"{gate.max_abs_difference:g} ({worst.worst_input})"
        )
    # Cases are built to be hard; only the checkpoint's own arithmetic can agree on all of them.
    held = (reviews,) if gate.max_abs_difference is None else (cases, reviews)
    for differences in held:
        if not differences.agreement >= gate.label_agreement:
            raise ParityError(
                f"{what}: {differences.agreement:.3%} of {differences.rows} labels are the "
                f"checkpoint's, wanted are {gate.label_agreement:.1%} ({differences.disagreement})"
            )
    limit = gate.max_mean_difference
    if limit is not None and not cases.mean <= limit * findings.spread:
        raise ParityError(
            f"{what}: logits differ from the checkpoint's by {cases.mean:.3g} on average, allowed "
            f"is {limit:g} of their standard deviation {findings.spread:.3g}; the most, by "
            f"{cases.worst:.3g}, in {cases.worst_input}"
        )
    lost = 100 * (findings.checkpoint_accuracy - findings.accuracy)
    if gate.max_accuracy_loss is not None and not lost <= gate.max_accuracy_loss + 1e-9:
        one = 100 / reviews.rows
        few = f"; one review is {one:.2g} points: prove it on more" if one >= lost / 3 else ""
        raise ParityError(
            f"{what}: accuracy on {reviews.rows} reviews of {findings.source} is "
            f"{findings.accuracy:.2%}, the checkpoint's {findings.checkpoint_accuracy:.2%}: "
            f"{lost:.2f} points lost, allowed are {gate.max_accuracy_loss:g}{few} "
            f"({reviews.disagreement})"
        )


def _run(engine: Engine, case: Case, advance: Advance) -> NDArray[np.float32]:
    logits = engine(case.input_ids, case.attention_mask)
    if not np.isfinite(logits).all():
        raise ParityError(
            f"the checkpoint: its own logits are not finite ({case.name}); train it again"
        )
    advance()
    return logits


def _checked(
    candidate: Engine, case: Case, expected: NDArray[np.float32], what: str
) -> NDArray[np.float32]:
    try:
        found = candidate(case.input_ids, case.attention_mask)
    except Exception as error:  # every engine raises its own kinds
        reason = " ".join(str(error).split())[:200]
        raise ParityError(f"{what}: fails on {case.name} ({reason})") from error
    if found.shape != expected.shape:
        raise ParityError(
            f"{what}: logits have shape {found.shape}, wanted is {expected.shape} ({case.name})"
        )
    if not np.isfinite(found).all():
        raise ParityError(f"{what}: logits are not finite ({case.name})")
    return found


def _rounded(logits: NDArray[np.float32]) -> list[float]:
    return [round(float(logit), 4) for logit in logits]


if __name__ == "__main__":
    from export.reprove import main

    raise SystemExit(main())
