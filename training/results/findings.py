"""What the runs say, in sentences. Every figure in a sentence stands in its evidence."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.results.behaviour import baseline_bar, sentence, signs
from training.results.comparisons import Comparison, compare
from training.results.questions import data_key, in_domain, seen_without_labels
from training.results.runs import Run
from training.results.statistics import CONFIDENCE
from training.results.wording import (
    duration,
    listed,
    number,
    percent,
    points,
    size,
)


@dataclass(frozen=True)
class Finding:
    """A sentence or a few, under a heading, and the figures they were made from."""

    topic: str
    text: str
    evidence: dict[str, Any]


TOPICS = {
    "speed": "Which to use for wall-clock time",
    "generalisation": "Which to use for generalisation",
    "memory": "Memory",
    "behaviour": "Over- and underfitting, instability",
}


def groups_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Finished runs that learned from the same data, the largest group first."""
    grouped: dict[Any, list[Run]] = defaultdict(list)
    for run in runs:
        if run.finished:
            grouped[data_key(run)].append(run)
    return sorted(grouped.values(), key=len, reverse=True)


def overview(runs: Sequence[Run]) -> list[Finding]:
    """Time, generalisation and memory of each group, then how each run behaved."""
    groups = groups_of(runs)
    found: list[Finding] = []
    for group in groups:
        found += [*speed(group), *generalisation(group), *memory(group)]
    return found + behaviour(runs, groups)


def speed(group: Sequence[Run]) -> list[Finding]:
    """The fastest on each machine, and those that no other run beats in both time and accuracy."""
    machines: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for run in group:
        machine = run.facts["machine"]
        machines[machine["device"], machine["processes"]].append(run)
    found = []
    for (device, processes), runs in machines.items():
        by_time = sorted(runs, key=lambda run: _seconds(run))
        # fastest first: whoever is better than all before it is worth its longer training
        front: list[Run] = []
        for run in by_time:
            if not front or _best(run) > _best(front[-1]):
                front.append(run)
        first, last = by_time[0], by_time[-1]
        where = f"On {device}, {processes} process{'es' if processes > 1 else ''}"
        text = f"{where}: `{first.label}` trained in {duration(_seconds(first))}"
        if len(runs) > 1:
            text += f", fastest, and `{last.label}` slowest, in {duration(_seconds(last))}. "
            steps = (f"`{r.label}` ({duration(_seconds(r))}, {percent(_best(r))})" for r in front)
            text += f"No other run is both faster and better on validation than: {'; '.join(steps)}"
        evidence: dict[str, Any] = {"device": device, "processes": processes}
        evidence["runs"] = {
            run.label: {"train_seconds": _seconds(run), "best_accuracy": _best(run)}
            for run in by_time
        }
        evidence |= {"fastest": first.label, "slowest": last.label}
        evidence["not_beaten_in_both"] = [run.label for run in front]
        found.append(Finding("speed", f"{text}.", evidence))
    return found


def generalisation(group: Sequence[Run]) -> list[Finding]:
    """The best on each test set, who cannot be told from it, and what leaving the domain costs."""
    tests = sorted({(not in_domain(r, t), t) for r in group for t in r.facts["tests"]})
    found = [_best_on(group, test, _where(group, test) if out else "In domain")
             for out, test in tests]  # fmt: skip
    inside = [test for out, test in tests if not out]
    outside = [test for out, test in tests if out]
    if inside:
        found += [drop for test in outside if (drop := _domain_drop(group, inside, test))]
    return found


def _best_on(group: Sequence[Run], test: str, domain: str) -> Finding:
    having = [run for run in group if test in run.facts["tests"]]
    best = max(having, key=lambda run: _accuracy(run, test))
    stated = best.facts["tests"][test]
    accuracy = stated["accuracy"]
    text = (f"{domain}, on `{test}` ({number(stated['n'])} reviews): "
            f"`{best.label}` {'is best with' if len(having) > 1 else 'reached'} "
            f"{percent(accuracy['value'])} (95% interval {percent(accuracy['low'])} to "
            f"{percent(accuracy['high'])})")  # fmt: skip
    against, apart = {}, []
    for run in having:
        outcome = compare("best", run, best, test) if run is not best else ""
        if isinstance(outcome, Comparison):
            against[run.label] = {
                "difference": outcome.difference, "low": outcome.low, "high": outcome.high
            }  # fmt: skip
        elif run is not best:
            apart.append(run.label)
    alike = [label for label, its in against.items() if its["low"] <= 0]
    if alike:
        text += f"; on the same rows it cannot be told from {listed(alike)}"
    elif against:
        every = "every other run on the same rows" if apart else "every other run"
        text += f"; the interval of its lead over {every} is above 0"
    if apart:
        text += f"; not compared, since its rows are others: {listed(apart)}"
    evidence = {"test": test, "n": stated["n"], "confidence": CONFIDENCE, "best": best.label,
                "accuracy": accuracy, "against": against, "not_told_apart": alike,
                "seen_without_labels": _seen(group, test)}  # fmt: skip
    return Finding("generalisation", f"{text}.{_seen_sentence(group, test)}", evidence)


def _seen(group: Sequence[Run], test: str) -> list[str]:
    return [run.label for run in group
            if test in run.facts["tests"] and seen_without_labels(run, test)]  # fmt: skip


def _where(group: Sequence[Run], test: str) -> str:
    """Of a test from whose source nobody has a label."""
    having = [run for run in group if test in run.facts["tests"]]
    return "Seen without labels" if len(_seen(group, test)) == len(having) else "Out of domain"


def _seen_sentence(group: Sequence[Run], test: str) -> str:
    """Whose result is not out of domain, where others' is."""
    seen = _seen(group, test)
    if not seen or _where(group, test) != "Out of domain":
        return ""
    return (f" Not out of domain for {listed(seen)}, which learned from texts of that source "
            "without their labels.")  # fmt: skip


def _domain_drop(group: Sequence[Run], inside: list[str], test: str) -> Finding | None:
    """Accuracy in domain, averaged over the sets, less accuracy out of it."""
    having = [r for r in group if all(name in r.facts["tests"] for name in (*inside, test))]
    within = {r.label: sum(_accuracy(r, name) for name in inside) / len(inside) for r in having}
    # whoever learned nothing has nothing to lose: half of what the best learned is asked
    bar = 0.5 + (max(within.values(), default=0.5) - 0.5) / 2
    drops = {r.label: within[r.label] - _accuracy(r, test) for r in having
             if within[r.label] >= bar}  # fmt: skip
    if len(set(drops.values())) < 2:
        return None
    least, most = min(drops, key=lambda k: drops[k]), max(drops, key=lambda k: drops[k])
    text = (f"From {listed(inside)} to `{test}`, `{least}` loses least ({points(-drops[least])} "
            f"points) and `{most}` most ({points(-drops[most])} points), of the runs above "
            f"{percent(bar)} in domain.{_seen_sentence(group, test)}")  # fmt: skip
    evidence = {"test": test, "drops": drops, "bar": bar, "seen_without_labels": _seen(group, test)}
    return Finding("generalisation", text, evidence)


def memory(group: Sequence[Run]) -> list[Finding]:
    """Least and most of each kind of memory; the two kinds are never compared."""
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in group:
        kinds[run.facts["memory"]["what"]].append(run)
    found = []
    for what, runs in kinds.items():
        steady = {run.label: run.facts["memory"]["steady_bytes"] for run in runs}
        least, most = min(steady, key=lambda k: steady[k]), max(steady, key=lambda k: steady[k])
        text = f"Steady state, {what}: `{least}` held {size(steady[least])}"
        evidence = {"what": what, "steady_bytes": steady}
        if len(runs) > 1:
            ratio = steady[most] / max(1, steady[least])
            evidence["ratio"] = ratio
            text += (f", the least, and `{most}` {size(steady[most])}, the most, "
                     f"{ratio:.1f} times as much")  # fmt: skip
        if "resident" in what:
            text += "; this includes the interpreter, its libraries and the data"
        found.append(Finding("memory", f"{text}.", evidence))
    return found


def behaviour(runs: Sequence[Run], groups: Sequence[Sequence[Run]]) -> list[Finding]:
    """Every run's signs with their evidence, then the runs without any."""
    bars = {run.label: baseline_bar(group) for group in groups for run in group}
    found, quiet = [], []
    for run in runs:
        # one point shows no course: the TF-IDF baseline has nothing to look at
        if len(run.train["loss"]) == 0:
            continue
        own = signs(run, bars.get(run.label))
        found += [Finding("behaviour", sentence(sign), asdict(sign)) for sign in own]
        quiet += [] if own else [run.label]
    if quiet:
        text = f"No sign of overfitting, underfitting or instability in {listed(quiet)}."
        found.append(Finding("behaviour", text, {"runs": quiet}))
    return found


def _seconds(run: Run) -> float:
    return float(run.facts["time"]["train_seconds"])


def _best(run: Run) -> float:
    return float(run.facts["best"]["accuracy"])


def _accuracy(run: Run, test: str) -> float:
    return float(run.facts["tests"][test]["accuracy"]["value"])
