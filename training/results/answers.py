"""Answers to the questions of pairs of runs, in words that claim no more than was shown."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from training.results.comparisons import Comparison
from training.results.findings import Finding
from training.results.runs import Run
from training.results.statistics import POWER
from training.results.wording import listed, number, p_value, parameters, percent, points


def answers(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[Finding]:
    """What follows from the comparisons, question by question."""
    variants = {run.label: run.variant for run in runs}
    return [
        *pair_findings(runs, comparisons),
        *anchored(comparisons, "pretraining", variants),
        *expected_of_bert(runs, comparisons),
        *better_than_baselines(comparisons),
        *anchored(comparisons, "baselines", variants),
        *pairs(comparisons, "settings"),
    ]


_CLOCKS = {"processor": "the processor's time", "wall": "as long"}


def pair_findings(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[Finding]:
    """The questions of one pair of models each, and what the change costs."""
    by_label = {run.label: run for run in runs}
    found = []
    for question in ("attention", "depth", "norm", "custom"):
        for finding in pairs(comparisons, question):
            left, right = (by_label[finding.evidence[side]] for side in ("left", "right"))
            cost = _cost(left, right)
            text = (f"`{right.label}` has "
                    f"{parameters(cost['right_parameters'])} parameters "
                    f"against {parameters(cost['left_parameters'])} and took "
                    f"{cost['time_ratio']:.2f} times "
                    f"{_CLOCKS[cost['clock']]} to train")  # fmt: skip
            text += "." if cost["same_machine"] else ", on another machine."
            head, *parts = finding.text.split("\n")
            text = "\n".join([f"{head} {text}", *parts])
            found.append(Finding(question, text, finding.evidence | {"cost": cost}))
    return found


def pairs(comparisons: Sequence[Comparison], question: str) -> list[Finding]:
    """One finding a pair of runs: what follows on each test set."""
    grouped: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        if comparison.question == question:
            grouped[comparison.left, comparison.right].append(comparison)
    found = []
    for (left, right), made in grouped.items():
        # a list within the list: one line a test set
        parts = "".join(f"\n  - {what_follows(comparison)}" for comparison in made)
        text = f"`{right}` against `{left}`."
        if differs := made[0].also_differs:
            what = "What differs" if question == "settings" else "Besides the model, what differs"
            text += f" {what}: {', '.join(map(str, differs))}."
        text += parts
        evidence = {"left": left, "right": right, "power": POWER,
                    "comparisons": [asdict(comparison) for comparison in made]}  # fmt: skip
        found.append(Finding(question, text, evidence))
    return found


def what_follows(c: Comparison) -> str:
    """One comparison in words that claim no more than it shows."""
    figures = (f"{points(c.difference)} points, {points(c.low)} to {points(c.high)}, corrected p "
               f"{p_value(c.p_holm)}")  # fmt: skip
    if c.verdict == "none":
        return (f"on `{c.test}` no difference shown ({figures}); a true one of "
                f"{100 * c.detectable:.2f} points would have shown in 80% of cases")  # fmt: skip
    if c.verdict == "hint":
        way = "ahead" if c.difference > 0 else "behind"
        return (f"on `{c.test}` {way} ({figures}), but not after correction for the number of "
                "comparisons: a hint, not evidence")  # fmt: skip
    return f"on `{c.test}` {c.verdict} ({figures})"


def anchored(
    comparisons: Sequence[Comparison], question: str, variants: dict[str, str]
) -> list[Finding]:
    """One model against many: for each test set, who is shown better, who worse, who neither.

    The one is the left run of `baselines` (ours against it) and the right run of `pretraining`.
    Runs of the reference's settings come last, apart from the others.
    """
    left_is_anchor = question == "baselines"
    grouped: dict[tuple[bool, str, str], list[Comparison]] = defaultdict(list)
    for c in comparisons:
        if c.question == question:
            reference = variants[c.right] == "reference"
            grouped[reference, c.left if left_is_anchor else c.right, c.test].append(c)
    found = []
    for (_, anchor, test), made in sorted(grouped.items(), key=lambda item: item[0][0]):
        accuracy = made[0].left_accuracy if left_is_anchor else made[0].right_accuracy
        subject = (f"Against `{anchor}`, on `{test}` ({percent(accuracy)})" if left_is_anchor
                   else f"`{anchor}` on `{test}` ({percent(accuracy)})")  # fmt: skip
        phrases = [
            f"{phrase} {_with_differences(chosen, left_is_anchor)}"
            for verdict, phrase in _phrases(left_is_anchor)
            if (chosen := [c for c in made if c.verdict == verdict])
        ]
        evidence = {"anchor": anchor, "test": test, "accuracy": accuracy,
                    "comparisons": [asdict(c) for c in made]}  # fmt: skip
        found.append(Finding(question, f"{subject}: {'; '.join(phrases)}.", evidence))
    return found


def _phrases(left_is_anchor: bool) -> tuple[tuple[str, str], ...]:
    if left_is_anchor:
        return (("better", "shown better:"), ("worse", "shown worse:"),
                ("hint", "a hint of a difference, not evidence:"),
                ("none", "no difference shown:"))  # fmt: skip
    return (("better", "shown better than"), ("worse", "shown worse than"),
            ("hint", "a hint of a difference, not evidence, against"),
            ("none", "no difference shown against"))  # fmt: skip


def _with_differences(made: Iterable[Comparison], left_is_anchor: bool) -> str:
    return ", ".join(
        f"`{c.right if left_is_anchor else c.left}` ({points(c.difference)})" for c in made
    )


def expected_of_bert(runs: Sequence[Run], comparisons: Sequence[Comparison]) -> list[Finding]:
    """Whether fine-tuning beats what starts from nothing, and the frozen backbone."""
    roles = {run.label: run.role for run in runs}
    made = [c for c in comparisons if c.question == "pretraining"]
    tuned = [c for c in made if roles[c.right] == "6-finetuned"]
    frozen = [c for c in made if roles[c.right] == "6-frozen"]
    found = []
    for chosen, expectation in (
        (tuned, "One would expect a fine-tuned encoder to pass models that learn the language from "
                "these reviews alone, and the same encoder frozen"),
        (frozen, "Of a frozen encoder one would expect less: its features were made for another "
                 "task, and only a linear head learns. Whether it still passes models trained "
                 "from nothing"),
    ):  # fmt: skip
        if chosen:
            counts = {kind: sum(c.verdict == kind for c in chosen) for kind in ("better", "worse")}
            text = (f"{expectation}: of {len(chosen)} comparisons {counts['better']} show it, "
                    f"{counts['worse']} show the contrary, and the rest show neither.")  # fmt: skip
            found.append(Finding("pretraining", text, {"comparisons": len(chosen), **counts}))
    return found


def better_than_baselines(comparisons: Sequence[Comparison]) -> list[Finding]:
    """The runs that are shown better than every baseline on every test set."""
    grouped: dict[str, list[Comparison]] = defaultdict(list)
    for c in comparisons:
        if c.question == "baselines":
            grouped[c.right].append(c)
    if not grouped:
        return []
    passed = [label for label, made in grouped.items() if all(c.verdict == "better" for c in made)]
    against = sorted({c.left for made in grouped.values() for c in made})
    who = listed(passed) if passed else "none"
    text = (f"Models of ours ({number(len(grouped))}) that are shown better than {listed(against)} "
            f"on every test set: {who}.")  # fmt: skip
    evidence = {"models": len(grouped), "shown_better": passed, "baselines": against}
    return [Finding("baselines", text, evidence)]


def _cost(left: Run, right: Run) -> dict[str, Any]:
    # What else ran on the machine is in a CPU's wall clock, not in the processor's own account.
    on_cpu = all(run.facts["memory"]["device"] == "cpu" and "train_cpu_seconds" in run.facts["time"]
                 for run in (left, right))  # fmt: skip
    key = "train_cpu_seconds" if on_cpu else "train_seconds"
    seconds = [run.facts["time"][key] for run in (left, right)]
    return {
        "left_parameters": left.facts["parameters"]["total"],
        "right_parameters": right.facts["parameters"]["total"],
        "time_ratio": seconds[1] / max(1e-9, seconds[0]),
        "clock": "processor" if on_cpu else "wall",
        "same_machine": left.facts["machine"]["device"] == right.facts["machine"]["device"],
    }
