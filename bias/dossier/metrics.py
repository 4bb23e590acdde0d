"""The figures that a threshold can ask for: their names, which way is better, how they are written.

An estimate's interval decides against it: what should be high is judged by its lower end, what
should be low by its upper end. Times, memory and size were measured once and have no interval.
"""

import math
from dataclasses import dataclass

from bias.section import Estimate


@dataclass(frozen=True)
class Metric:
    """`high`: more is better. `share`: written in percent, and known to within an interval; else
    with `unit` behind it, and measured once."""

    title: str
    high: bool
    share: bool
    unit: str
    meaning: str

    def number(self, value: float) -> str:
        """A value alone: `91.23%`, `1.16 ms`."""
        if math.isnan(value):
            return "–"
        if self.share:
            return f"{100 * value:.2f}%"
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
        return f"{value:,.{digits}f}{' ' if self.unit else ''}{self.unit}"

    def text(self, figure: Estimate) -> str:
        """With its interval where it has one: `91.23% [90.10, 92.25]`."""
        if math.isnan(figure.low) or math.isnan(figure.high):
            return self.number(figure.value)
        factor = 100 if self.share else 1
        ends = f"[{factor * figure.low:.2f}, {factor * figure.high:.2f}]"
        return f"{self.number(figure.value)} {ends}"

    def limit(self, threshold: float) -> str:
        """`≥ 90%`, `≤ 20 ms`."""
        value = f"{100 * threshold:g}%" if self.share else f"{threshold:g} {self.unit}".rstrip()
        return f"{'≥' if self.high else '≤'} {value}"

    def meets(self, value: float, threshold: float) -> bool:
        """Whether a value is on the right side of the threshold."""
        return value >= threshold if self.high else value <= threshold

    def doubtful(self, figure: Estimate) -> float:
        """The end of its interval that speaks against it; of what was measured once the value, and
        of a share without an interval NaN, which meets no threshold."""
        return (figure.low if self.high else figure.high) if self.share else figure.value


METRICS = {
    "accuracy": Metric(
        "accuracy in domain", True, True, "",
        "on test reviews of the sources that it learned from; of several, the lowest"),
    "out_of_domain_accuracy": Metric(
        "accuracy out of domain", True, True, "",
        "on test reviews of sources that it never saw, with labels or without; of several, the "
        "lowest"),
    "calibration_error": Metric(
        "calibration error", False, True, "",
        "mean gap between confidence and how often it is right (ECE, 15 bins), in domain; of "
        "several tests, the highest"),
    "p50_ms": Metric(
        "latency, median", False, False, "ms",
        "one review, tokenised and answered on the CPU: median"),
    "p99_ms": Metric(
        "latency, p99", False, False, "ms",
        "one review answered on the CPU: 99th percentile, and the median time of tokenising"),
    "reviews_per_second": Metric(
        "throughput", True, False, "/s",
        "reviews of real lengths a second, tokenised one by one and answered at the best of the "
        "measured batch sizes"),
    "memory_mb": Metric(
        "memory", False, False, "MB",
        "most that a fresh process held from its start to its first answer"),
    "artefact_mb": Metric("size on disk", False, False, "MB", "the file that is shipped"),
    "flip_rate": Metric(
        "flip rate", False, True, "",
        "share of rewritten reviews whose label changes when somebody else is named"),
    "group_gap": Metric(
        "group gap", False, True, "",
        "largest difference between two groups' mean probability of positive, in points"),
    "equalized_odds_difference": Metric(
        "equalised odds difference", False, True, "",
        "largest difference between two groups' error rates on the same sentences, in points"),
}  # fmt: skip
