"""The proof that an export answers as its checkpoint does.

The checkpoint, eager and in float32, is the reference; the artefact runs on the engine that will
serve it. `python -m export.parity BUNDLE` repeats the proof of every artefact of a bundle.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.cases import Case
from export.formats import Gate

Engine = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]


class ParityError(ValueError):
    """An export that does not answer as its checkpoint does: which input differs by how much."""


@dataclass
class Differences:
    """What has been seen of |Δlogit| and of the labels, over all cases so far."""

    worst: float = 0.0
    worst_case: str = ""
    total: float = 0.0
    logits: int = 0
    rows: int = 0
    agreeing: int = 0
    disagreement: str = ""
    broken: list[str] = field(default_factory=list)

    def add(self, case: Case, expected: NDArray[np.float32], found: NDArray[np.float32]) -> None:
        """Takes in one case: logits (B, C) of the checkpoint and of the export."""
        if found.shape != expected.shape or not np.isfinite(found).all():
            what = "not finite" if found.shape == expected.shape else f"of shape {found.shape}"
            self.broken.append(f"{case.name}: logits are {what}, wanted {expected.shape}")
            return
        difference = np.abs(found.astype(np.float64) - expected)  # (B, C)
        if difference.max() > self.worst:
            row = int(difference.max(axis=1).argmax())
            self.worst, self.worst_case = float(difference.max()), f"{case.name}, row {row}"
        self.total += float(difference.sum())
        self.logits += difference.size
        # On a tie either label is right: a difference within rounding is no disagreement.
        chosen = found.argmax(axis=1)
        lost = expected.max(axis=1) - np.take_along_axis(expected, chosen[:, None], 1)[:, 0]
        disagree = lost > TIE
        self.rows += len(expected)
        self.agreeing += int((~disagree).sum())
        if disagree.any() and not self.disagreement:
            row = int(disagree.argmax())
            self.disagreement = (
                f"{case.name}, row {row}: checkpoint {expected[row].tolist()}, "
                f"export {found[row].tolist()}"
            )

    @property
    def mean(self) -> float:
        return self.total / max(1, self.logits)

    @property
    def agreement(self) -> float:
        """The share of rows whose label is the checkpoint's."""
        return self.agreeing / max(1, self.rows)


TIE = 2e-6  # two logits closer than float32's rounding of their sums have no order


def compare(
    reference: Engine,
    candidate: Engine,
    cases: Iterable[Case],
    advance: Callable[[], None] = lambda: None,
) -> Differences:
    """Runs both over all cases; `advance` is called after each."""
    differences = Differences()
    for case in cases:
        expected = reference(case.input_ids, case.attention_mask)
        differences.add(case, expected, candidate(case.input_ids, case.attention_mask))
        advance()
    return differences


def check(differences: Differences, gate: Gate, what: str) -> dict[str, Any]:
    """The findings as a certificate's entry holds them.

    Raises:
        ParityError: the gate is not passed; names the input and the difference.
    """
    if differences.broken:
        raise ParityError(f"{what}: {differences.broken[0]}")
    limit = gate.max_abs_difference
    if limit is not None and differences.worst > limit:
        raise ParityError(
            f"{what}: a logit differs from the checkpoint's by {differences.worst:.3g}, allowed "
            f"is {limit:g} ({differences.worst_case})"
        )
    if differences.agreement < gate.label_agreement:
        raise ParityError(
            f"{what}: {differences.agreement:.4%} of {differences.rows} labels are the "
            f"checkpoint's, wanted are {gate.label_agreement:.4%} ({differences.disagreement})"
        )
    return {
        "max_abs_difference": differences.worst,
        "worst_case": differences.worst_case,
        "mean_abs_difference": differences.mean,
        "label_agreement": differences.agreement,
        "rows": differences.rows,
    }
