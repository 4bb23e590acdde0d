"""`results.md`, `results.json` and the pictures: made in full, then put in place."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.files import written_together
from training.results.answers import answers
from training.results.behaviour import THRESHOLDS
from training.results.comparisons import Comparison, Missing, compare_all
from training.results.concepts import ATTENTION
from training.results.curves import SMOOTHING, accuracy_and_cost, learning_curves
from training.results.findings import TOPICS, Finding, groups_of, overview
from training.results.questions import QUESTIONS, SETTINGS, in_domain, seen_without_labels
from training.results.runs import Run
from training.results.statistics import CONFIDENCE, POWER, RESAMPLES, SEED
from training.results.table import (
    CAPTION,
    COMPARISON_CAPTION,
    QUALITY_CAPTION,
    comparison_table,
    quality_table,
    run_table,
)
from training.results.wording import listed, number

FILES = ("learning_curves.png", "accuracy_and_cost.png", "results.json", "results.md")
METHOD = {
    "confidence": CONFIDENCE,
    "power": POWER,
    "resamples": RESAMPLES,
    "bootstrap_seed": SEED,
    "smallest_p_written": 0.001,
    "train_loss_smoothing": SMOOTHING,
    "thresholds": asdict(THRESHOLDS),
}


@dataclass(frozen=True)
class Page:
    """All that the page says, before it is written down."""

    runs: Sequence[Run]
    comparisons: Sequence[Comparison]
    missing: Sequence[Missing]
    findings: Sequence[Finding]
    warnings: Sequence[str]


def make_page(runs: Sequence[Run]) -> Page:
    """Compute everything from the runs.

    Raises:
        ValueError: predictions that do not belong to their run.
    """
    comparisons, missing = compare_all(runs)
    findings = [*overview(runs), *answers(runs, comparisons)]
    return Page(runs, comparisons, missing, findings, warnings_of(runs))


def warnings_of(runs: Sequence[Run]) -> list[str]:
    """What a reader must know before comparing rows of the table."""
    found = []
    groups = groups_of(runs)
    if len(groups) > 1:
        parts = [f"{listed([run.label for run in group])} on {_data(group[0])}" for group in groups]
        found.append(f"Not all runs learned from the same data, and only those that did are "
                     f"compared: {'; '.join(parts)}.")  # fmt: skip
    if unfinished := [run.label for run in runs if not run.finished]:
        found.append(f"Unfinished, drawn but not compared: {listed(unfinished)}.")
    seeds = {(run.experiment, run.facts["training"]["seed"]) for run in runs if run.finished}
    if seeds and len(seeds) == len({experiment for experiment, _ in seeds}):
        found.append("Each experiment ran with one seed. The intervals cover the choice of test "
                     "reviews, not that of the seed.")  # fmt: skip
    return found


def write_page(page: Page, output: Path) -> list[Path]:
    """Pictures, JSON and Markdown, all or none.

    Raises:
        ValueError: `output` is a file.
    """
    with written_together(output) as folder:
        captions = {FILES[0]: learning_curves(page.runs, folder / FILES[0])}
        if any(run.finished for run in page.runs):
            captions[FILES[1]] = accuracy_and_cost(page.runs, folder / FILES[1])
        content = json.dumps(as_json(page, captions), indent=1, allow_nan=False)
        (folder / FILES[2]).write_text(content + "\n", encoding="utf-8")
        (folder / FILES[3]).write_text(as_markdown(page, captions), encoding="utf-8")
        made = [name for name in FILES if (folder / name).is_file()]
    return [output / name for name in made]


def as_json(page: Page, captions: dict[str, str]) -> dict[str, Any]:
    """Everything machine-readable; what is no number in a run is null here."""
    content = {
        "schema_version": 1,
        "method": METHOD,
        "warnings": list(page.warnings),
        "runs": [_run_entry(run) for run in page.runs],
        "comparisons": [asdict(c) | {"verdict": c.verdict} for c in page.comparisons],
        "not_made": [asdict(missing) for missing in page.missing],
        "findings": [asdict(finding) for finding in page.findings],
        "captions": captions,
        "counts": {
            "runs": len(page.runs),
            "finished": sum(run.finished for run in page.runs),
            "comparisons": len(page.comparisons),
        },
    }
    return dict(_without_nan(content))


def _run_entry(run: Run) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "label": run.label,
        "folder": run.folder.name,
        "finished": run.finished,
        "experiment": run.experiment,
        "number": run.number,
        "variant": run.variant,
        "family": run.family,
    }
    if run.finished:
        entry["in_domain"] = {test: in_domain(run, test) for test in run.facts["tests"]}
        entry["seen_without_labels"] = [test for test in run.facts["tests"]
                                        if seen_without_labels(run, test)]  # fmt: skip
        entry["result"] = run.facts
    return entry


def as_markdown(page: Page, captions: dict[str, str]) -> str:
    """The page: pictures, tables, answers, and what attention is."""
    parts = ["# Results", _intro(page)]
    parts += [f"> **Note.** {warning}" for warning in page.warnings]
    parts += ["## Learning curves", _picture("Learning curves", FILES[0], captions)]
    finished = any(run.finished for run in page.runs)
    parts += ["## All runs", run_table(page.runs), f"*Table 1.* {CAPTION}"]
    if finished:
        parts += [_picture("Accuracy and cost", FILES[1], captions)]
        parts += _folded("F1, loss and calibration error, on each set", quality_table(page.runs),
                         f"*Table 2.* {QUALITY_CAPTION}")  # fmt: skip
    parts += ["## What the numbers say"]
    for topic in ("speed", "generalisation"):
        parts += _section(page, topic, TOPICS[topic])
    for question in (*QUESTIONS, SETTINGS):
        parts += _section(page, question.key, question.heading)
    for topic in ("memory", "behaviour"):
        parts += _section(page, topic, TOPICS[topic])
    parts += _comparisons(page)
    parts += _not_made(page)
    parts += ["## What attention is, and which model uses which", ATTENTION.rstrip()]
    return "\n\n".join(parts) + "\n"


def _intro(page: Page) -> str:
    finished = sum(run.finished for run in page.runs)
    return (
        f"Written by `python -m training.results` from {number(len(page.runs))} run folders, "
        f"{number(finished)} of them finished; every figure is computed from them and stands in "
        "[results.json](results.json). Where runs are compared, it is on the same test rows: "
        "difference in accuracy with a 95% paired bootstrap interval "
        f"({number(RESAMPLES)} resamples) and McNemar's exact test, Holm-corrected over the "
        "comparisons that answer the same question; there are "
        f"{number(len(page.comparisons))} in all."
    )


def _picture(title: str, name: str, captions: dict[str, str]) -> str:
    return f"![{title}]({name})\n\n*{captions[name]}*"


def _section(page: Page, topic: str, heading: str) -> list[str]:
    """A topic's findings as a list; a question without any says why."""
    sentences = [f"- {finding.text}" for finding in page.findings if finding.topic == topic]
    if not sentences:
        missing = [m for m in page.missing if m.question == topic]
        absent = list(dict.fromkeys(name for m in missing for name in m.absent))
        why = list(dict.fromkeys(m.why for m in missing if not m.absent))
        why += [f"finished runs are missing of {listed(absent)}"] if absent else []
        if not why:
            return []
        sentences = [f"Not answered: {'; '.join(why)}."]
    return [f"### {heading}", "\n".join(sentences)]


def _comparisons(page: Page) -> list[str]:
    if not page.comparisons:
        return []
    title = f"All comparisons one by one ({number(len(page.comparisons))})"
    return _folded(
        title, comparison_table(page.comparisons, page.runs), f"*Table 3.* {COMPARISON_CAPTION}"
    )


def _folded(title: str, *parts: str) -> list[str]:
    """A long table that a reader opens: most want the sentences."""
    return [f"<details>\n<summary>{title}</summary>", *parts, "</details>"]


def _not_made(page: Page) -> list[str]:
    """Commands first, each once; then pairs that no command mends."""
    commands = list(dict.fromkeys(c for missing in page.missing for c in missing.commands))
    refused = [f"- `{m.left}` and `{m.right}`: {m.why}." for m in page.missing if not m.commands]
    parts = []
    if commands or refused:
        parts.append("## Comparisons not made")
    if commands:
        block = "\n".join(commands)
        parts += ["These runs are missing; with them, the page answers the rest:",
                  f"```sh\n{block}\n```"]  # fmt: skip
    if refused:
        parts.append("\n".join(dict.fromkeys(refused)))
    return parts


def _data(run: Run) -> str:
    data = run.facts["data"]
    return f"{listed(list(data['sources']))} ({number(data['train_reviews'])} reviews)"


def _without_nan(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
