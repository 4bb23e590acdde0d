"""What each setting is worth: runs that differ from one of them, on the same test rows.

`python -m training.results.ablation BASE RUN... --output DIR`. A setting pays where leaving it out
makes the accuracy fall by more than chance explains.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from models.command import command
from models.files import written_together
from training.config import differences, parse
from training.results.comparisons import Comparison, compare
from training.results.runs import Run, read_runs
from training.results.statistics import holm
from training.results.style import COLOURS, GREY, plain
from training.results.wording import duration, p_value, percent, points
from training.settings import Config

FILES = ("ablation.png", "ablation.json", "ablation.md")
_CAPTION = (
    "Accuracy of each run less that of the base, in percentage points, on the same test rows: 95% "
    "paired bootstrap interval. Left of the line the change costs accuracy."
)


@dataclass(frozen=True)
class Ablation:
    """A run, what its configuration has otherwise than the base's, and what came of it."""

    run: Run
    changed: list[str]
    """`key: base -> run`."""
    comparisons: list[Comparison]
    """One a test set; `left` is the base."""


def ablate(base: Run, others: Sequence[Run]) -> list[Ablation]:
    """Each run against the base, p-values Holm-corrected over all of them.

    Raises:
        ValueError: a run that is unfinished, has no configuration, does not differ from the base,
            or was not tested on the same rows; one line.
    """
    made = []
    for run in (base, *others):
        if not run.finished:
            raise ValueError(f"{run.folder}: unfinished; the same command resumes it")
    for run in others:
        changed = differences(_config(base), _config(run))
        if not changed:
            raise ValueError(f"{run.folder}: its configuration is that of the base, {base.folder}")
        found = [compare("ablation", base, run, test) for test in base.facts["tests"]
                 if test in run.facts["tests"]]  # fmt: skip
        refused = [outcome for outcome in found if isinstance(outcome, str)]
        if refused or not found:
            raise ValueError(f"{run.folder}: {refused[0] if refused else 'no test set in common'}")
        made.append(Ablation(run, changed, [c for c in found if isinstance(c, Comparison)]))
    corrected = iter(holm([c.p for ablation in made for c in ablation.comparisons]))
    return [
        replace(a, comparisons=[replace(c, p_holm=next(corrected)) for c in a.comparisons])
        for a in made
    ]


def write(base: Run, ablations: Sequence[Ablation], output: Path) -> list[Path]:
    """Picture, JSON and Markdown."""
    with written_together(output) as folder:
        _draw(ablations, folder / FILES[0])
        content = json.dumps(_as_json(base, ablations), indent=1, allow_nan=False)
        (folder / FILES[1]).write_text(content + "\n", encoding="utf-8")
        (folder / FILES[2]).write_text(_as_markdown(base, ablations), encoding="utf-8")
    return [output / name for name in FILES]


def _config(run: Run) -> Config:
    path = run.folder / "config.yaml"
    try:
        config = parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise ValueError(f"{path}: not the configuration of a run: {error}") from None
    # a run's name is no setting
    return replace(config, experiment="", title="", variant="custom")


def _as_json(base: Run, ablations: Sequence[Ablation]) -> dict[str, object]:
    return {
        "schema_version": 1,
        "base": base.folder.name,
        "experiment": base.experiment,
        "tests": {name: test["accuracy"] for name, test in base.facts["tests"].items()},
        "train_seconds": base.facts["time"]["train_seconds"],
        "train_cpu_seconds": base.facts["time"].get("train_cpu_seconds"),
        "ablations": [
            {
                "run": a.run.folder.name,
                "changed": a.changed,
                "train_seconds": a.run.facts["time"]["train_seconds"],
                "train_cpu_seconds": a.run.facts["time"].get("train_cpu_seconds"),
                "comparisons": [asdict(c) | {"verdict": c.verdict} for c in a.comparisons],
            }
            for a in ablations
        ],
    }


def _cells(ablation: Ablation, tests: Sequence[str]) -> list[str]:
    by_test = {c.test: c for c in ablation.comparisons}
    cells = []
    for test in tests:
        c = by_test.get(test)
        cells.append("–" if c is None else f"{points(c.difference)} ({points(c.low)} to "
                     f"{points(c.high)}), p {p_value(c.p_holm)}")  # fmt: skip
    return [*cells, _cost(ablation.run)]


def _cost(run: Run) -> str:
    time = run.facts["time"]
    return duration(time.get("train_cpu_seconds") or time["train_seconds"])


def _as_markdown(base: Run, ablations: Sequence[Ablation]) -> str:
    tests = list(base.facts["tests"])
    first = [f"{percent(base.facts['tests'][t]['accuracy']['value'])}" for t in tests]
    rows = [["run", "what differs from the base", *tests, "training, processor"],
            ["---", "---", *["---:"] * (len(tests) + 1)],
            [f"`{base.folder.name}`", "the base", *first, _cost(base)]]  # fmt: skip
    rows += [
        [f"`{a.run.folder.name}`", "; ".join(f"`{c}`" for c in a.changed), *_cells(a, tests)]
        for a in ablations
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "# What each setting is worth\n\n"
        "Written by `python -m training.results.ablation`; every figure is computed from the run "
        f"folders and stands in [ablation.json]({FILES[1]}).\n\n"
        f"![Ablation]({FILES[0]})\n\n*{_CAPTION}*\n\n{table}\n\n"
        "*Table.* The base's accuracy; of the others the difference from it in percentage points, "
        "on the same test rows, with its 95% paired bootstrap interval and McNemar's exact p, "
        "Holm-corrected over all comparisons of the table. The intervals cover the choice of test "
        "rows, not that of the seed.\n"
    )


def _draw(ablations: Sequence[Ablation], path: Path) -> None:
    tests = list(dict.fromkeys(c.test for a in ablations for c in a.comparisons))
    height = 1.1 + 0.42 * len(ablations)
    figure = Figure(figsize=(3.2 + 3 * len(tests), height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tests), sharey=True, squeeze=False)[0]
    names = [a.run.folder.name for a in ablations]
    for panel, test in zip(panels, tests, strict=True):
        plain(panel, test)
        panel.axvline(0, color=GREY, linewidth=1, linestyle=":")
        for place, ablation in enumerate(ablations):
            for c in (c for c in ablation.comparisons if c.test == test):
                colour = GREY if c.verdict in ("none", "hint") else COLOURS[c.difference < 0]
                panel.errorbar(100 * c.difference, place, color=colour, marker="o", capsize=2.5,
                               xerr=[[100 * (c.difference - c.low)],
                                     [100 * (c.high - c.difference)]])  # fmt: skip
        panel.set_xlabel("points of accuracy", fontsize=9)
        panel.set_yticks(range(len(names)), names, fontsize=9)
        panel.set_ylim(len(names) - 0.4, -0.6)
    figure.savefig(path)


@command
def main(arguments: list[str] | None = None) -> int:
    """Read, compare, write, print; a user's mistake gives one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m training.results.ablation",
        description="Compare runs with one that has all settings, to see what each is worth.",
        epilog="example:\n  python -m training.results.ablation runs/all runs/no-distillation "
        "runs/no-embeddings --output docs/ablation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", type=Path, metavar="BASE", help="the run to compare with")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="runs that differ")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    given = parser.parse_args(arguments)
    runs = {run.folder: run for run in read_runs([given.base, *given.runs])}
    base = runs[given.base]
    ablations = ablate(base, [runs[folder] for folder in given.runs])
    paths = write(base, ablations, given.output)
    console = Console(width=None if sys.stdout.isatty() else 200)
    tests = list(base.facts["tests"])
    table = Table("run", "differs in", *tests, "training, processor")
    for a in ablations:
        table.add_row(a.run.folder.name, "\n".join(a.changed), *_cells(a, tests))
    console.print(table)
    for path in paths:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
