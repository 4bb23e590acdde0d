"""`--fail-over flip_rate=0.02`: what a continuous integration stops at."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bias.section import Estimate, Section


@dataclass(frozen=True)
class Verdict:
    """One estimate of one target against its threshold. Differences count by their size."""

    name: str
    threshold: float
    target: str
    value: float
    low: float
    high: float
    n: int
    passed: bool

    def text(self) -> str:
        """One line."""
        how = "passed" if self.passed else "FAILED"
        over = "not over" if self.passed else "over"
        return (
            f"{how}: {self.name} of {self.target or 'the comparison'} is {self.value:.4f} "
            f"[{self.low:.4f}, {self.high:.4f}] (n = {self.n:,}), {over} {self.threshold:g}"
        )


def parse(given: Sequence[str]) -> dict[str, float]:
    """`NAME=THRESHOLD` each.

    Raises:
        ValueError: one line that names what is wrong.
    """
    thresholds = {}
    for text in given:
        name, equals, number = text.partition("=")
        try:
            threshold = float(number)
        except ValueError:
            threshold = -1.0
        if not name or not equals or not 0 <= threshold < float("inf"):
            raise ValueError(
                f"--fail-over {text}: give NAME=THRESHOLD with a number from 0, such as "
                "flip_rate=0.02"
            )
        thresholds[name] = threshold
    return thresholds


def check(thresholds: dict[str, float], sections: Iterable[Section]) -> list[Verdict]:
    """Every estimate of each name against its threshold.

    Raises:
        ValueError: no section has an estimate of that name.
    """
    found: list[tuple[str, Estimate]] = []
    for section in sections:
        unique = {estimate.name: estimate for estimate in (*section.headline, *section.estimates)}
        found += [(section.target, estimate) for estimate in unique.values()]
    verdicts = []
    for name, threshold in thresholds.items():
        matching = [(target, estimate) for target, estimate in found if estimate.name == name]
        if not matching:
            names = sorted({estimate.name for _, estimate in found})
            close = difflib.get_close_matches(name, names, n=3) or names[:12]
            raise ValueError(
                f"--fail-over {name}={threshold:g}: this audit has no {name}; it has "
                f"{', '.join(close) or 'no estimates'}"
            )
        verdicts += [
            Verdict(name, threshold, target, estimate.value, estimate.low, estimate.high,
                    estimate.n, abs(estimate.value) <= threshold)
            for target, estimate in matching
        ]  # fmt: skip
    return verdicts
