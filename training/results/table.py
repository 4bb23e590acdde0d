"""The tables: of all runs, of their quality, and of the comparisons."""

from collections.abc import Container, Sequence

from rich.table import Table

from training.results.comparisons import Comparison
from training.results.findings import groups_of
from training.results.questions import IN_DOMAIN, SEEN, domain, seen_without_labels
from training.results.runs import Run
from training.results.wording import (
    duration,
    learning_rate,
    number,
    p_value,
    parameters,
    percent,
    percent_interval,
    plain_interval,
    points,
    size,
)

CAPTION = (
    "Sorted by experiment number, then variant; models without a number next, baselines last. "
    "**Settings**: epochs, batch (reviews an optimiser step), learning rate, padding (`longest`: "
    "to the longest review of the batch; `max`: to the length limit), mixed precision, seed. "
    "**Parameters**: all of them, and in brackets those that learn where they are fewer. "
    "**Best validation**: highest accuracy on the validation split over all validations, and the "
    "iteration (optimiser step) that reached it, which is the checkpoint that was kept; bold: the "
    "best among runs that learned from the same data. **Test** columns: accuracy of that "
    "checkpoint with its 95% interval (Wilson); out of domain: no training review comes from "
    "there; °: the run learned from texts of that source without their labels, which is neither in "
    "domain nor out of it. **Training**: wall-clock time of the optimiser steps alone. "
    "**Evaluation**: that of all validations during training, and of the best checkpoint's tests. "
    "**Memory**: steady state, the median over the later half of training, allocated on the "
    "accelerator, or of the whole process (marked *process*) on CPU. **Reviews/s**: training "
    "throughput, evaluation not counted."
)
QUALITY_CAPTION = (
    "The same checkpoints, each value with its 95% interval: F1 of the positive class, "
    "cross-entropy loss in nats, and expected calibration error (Guo et al. 2017): the mean gap "
    "between a prediction's confidence and how often such predictions are right; lower is better "
    "for the last two."
)
COMPARISON_CAPTION = (
    "**Difference**: accuracy of the second less that of the first on the same test rows, in "
    "percentage points, with its 95% paired bootstrap interval. **Only first / only second**: rows "
    "that one alone got right; unpaired: one of the two kept no predictions, and the interval is "
    "Newcombe's for independent samples and p Fisher's, which find less than paired ones. "
    "**p**: McNemar's exact test, as it is, Holm-corrected over the "
    "comparisons that answer the same question, and over all of this page. **Detectable**: the "
    "smallest true difference, in points, that this test set would have shown in 80% of cases by a "
    "single uncorrected test at the same 95%. **Shown**: what follows where the interval leaves "
    "out 0 and the p corrected over its question is below 0.05; where only the first holds, a hint."
)
VERDICTS = {
    "better": "second better",
    "worse": "first better",
    "hint": "hint only",
    "none": "no difference",
}


def best_labels(runs: Sequence[Run]) -> set[str]:
    """Runs with the best validation accuracy of those that learned from the same data."""
    labels = set()
    for group in groups_of(runs):
        top = max(run.facts["best"]["accuracy"] for run in group)
        labels |= {run.label for run in group if run.facts["best"]["accuracy"] == top}
    return labels


def test_names(runs: Sequence[Run]) -> list[str]:
    """Test sets in the order in which runs name them."""
    names = [test for run in runs if run.finished for test in run.facts["tests"]]
    return list(dict.fromkeys(names))


def run_table(runs: Sequence[Run]) -> str:
    """Markdown; unfinished runs have a row of dashes that says so."""
    tests, best = test_names(runs), best_labels(runs)
    header = ["experiment", "model", "settings", "parameters", "best validation (iteration)",
              *(f"test: {_with_domain(test, runs)}" for test in tests),
              "training", "evaluation", "memory", "reviews/s"]  # fmt: skip
    rows = [_row(run, tests, run.label in best) for run in runs]
    return markdown(header, rows, first_right=3)


def _row(run: Run, tests: Sequence[str], best: bool) -> list[str]:
    told = run.variant in ("reference", "distilled")
    name = f"`{run.label}`" + (f" ({run.variant})" if told else "")
    if not run.finished:
        return [name, run.title, "unfinished", *["–"] * (len(tests) + 6)]
    facts = run.facts
    reached = f"{percent(facts['best']['accuracy'])} ({number(facts['best']['step'])})"
    total, learning = facts["parameters"]["total"], facts["parameters"]["trainable"]
    held = size(facts["memory"]["steady_bytes"])
    process = " *process*" if "resident" in facts["memory"]["what"] else ""
    return [
        name,
        model_name(run),
        settings(run),
        parameters(total) + (f" ({parameters(learning)})" if learning < total else ""),
        f"**{reached}**" if best else reached,
        *(_tested(run, test) for test in tests),
        duration(facts["time"]["train_seconds"]),
        _evaluation(facts["time"]),
        held + process,
        number(facts["throughput"]["reviews_per_second"]),
    ]  # fmt: skip


def _tested(run: Run, test: str) -> str:
    if test not in run.facts["tests"]:
        return "–"
    mark = " °" if seen_without_labels(run, test) else ""
    return percent_interval(run.facts["tests"][test]["accuracy"]) + mark


def _evaluation(time: dict[str, float]) -> str:
    tests = time.get("test_seconds")
    validations = duration(time["evaluation_seconds"])
    return validations if tests is None else f"{validations}, {duration(tests)}"


def _with_domain(test: str, runs: Sequence[Run]) -> str:
    having = [run for run in runs if run.finished and test in run.facts["tests"]]
    domains = {domain(run, test) for run in having}
    if IN_DOMAIN in domains:
        return test
    if SEEN not in domains:
        return f"{test} (out of domain)"
    return f"{test} ({'°' if len(domains) == 1 else 'out of domain; °'} seen without labels)"


def model_name(run: Run) -> str:
    """The title, and the backbone's name where the title does not say it."""
    backbone = run.facts.get("arguments", {}).get("name_or_path")
    return f"{run.title} (`{str(backbone).rstrip('/').split('/')[-1]}`)" if backbone else run.title


def settings(run: Run) -> str:
    """One cell: everything about the training that is not the model."""
    training = run.facts["training"]
    if training.get("learning_rate") is None:
        return "one fit"
    parts = [
        f"{training['epochs']:g} epochs" if training["epochs"] != 1 else "1 epoch",
        f"batch {number(training['batch_size'])}",
        f"lr {learning_rate(training['learning_rate'])}",
        f"padding {training.get('padding')}",
        "float32" if training.get("mixed_precision") == "no" else training.get("mixed_precision"),
        f"seed {training['seed']}",
    ]
    if training["stopped"] != "finished":
        parts.append(training["stopped"])
    return ", ".join(str(part) for part in parts)


def quality_table(runs: Sequence[Run]) -> str:
    """F1, loss and calibration error on validation and each test set."""
    rows = []
    for run in runs:
        if run.finished:
            sets = {"validation": run.facts["validation"], **run.facts["tests"]}
            for name, metrics in sets.items():
                rows.append(
                    [
                        f"`{run.label}`",
                        name,
                        number(metrics["n"]),
                        percent_interval(metrics["f1"]),
                        plain_interval(metrics["loss"]),
                        plain_interval(metrics["calibration_error"]),
                    ]
                )
    return markdown(["experiment", "set", "reviews", "F1", "loss", "calibration error"], rows, 2)


def _only(c: Comparison) -> str:
    if c.only_left is None or c.only_right is None:
        return "unpaired"
    return f"{number(c.only_left)} / {number(c.only_right)}"


def _where(c: Comparison, seen: Container[tuple[str, str]]) -> str:
    if c.in_domain:
        return ""
    sides = ("first", c.left), ("second", c.right)
    having = [side for side, label in sides if (label, c.test) in seen]
    if not having:
        return " (out of domain)"
    who = "both" if len(having) == 2 else f"the {having[0]}"
    return f" (seen without labels by {who})"


def comparison_table(comparisons: Sequence[Comparison], runs: Sequence[Run] = ()) -> str:
    """One row a comparison; `runs`: who of the two saw a test's texts without labels."""
    seen = {(run.label, test) for run in runs if run.finished for test in run.facts["tests"]
            if seen_without_labels(run, test)}  # fmt: skip
    header = ["first", "second", "test set", "difference", "only first / only second", "p",
              "p, question", "p, page", "detectable", "shown"]  # fmt: skip
    rows = [
        [
            f"`{c.left}`",
            f"`{c.right}`",
            c.test + _where(c, seen),
            f"{points(c.difference)} ({points(c.low)} to {points(c.high)})",
            _only(c),
            p_value(c.p),
            p_value(c.p_holm),
            p_value(c.p_holm_page),
            f"{100 * c.detectable:.2f}",
            VERDICTS[c.verdict],
        ]
        for c in comparisons
    ]
    return markdown(header, rows, first_right=3)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], first_right: int) -> str:
    """A pipe table; columns from `first_right` on are set flush right."""
    rule = ["---" if column < first_right else "---:" for column in range(len(header))]
    lines = [header, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def terminal_table(runs: Sequence[Run]) -> Table:
    """The columns that fit a terminal."""
    tests, best = test_names(runs), best_labels(runs)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("experiment", overflow="fold")
    for name in ("valid.", *tests, "training", "memory", "reviews/s"):
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)
    for run in runs:
        if not run.finished:
            table.add_row(run.label, "unfinished", style="dim")
            continue
        facts = run.facts
        accuracies = [percent(facts["tests"][t]["accuracy"]["value"]) if t in facts["tests"]
                      else "–" for t in tests]  # fmt: skip
        reached = percent(facts["best"]["accuracy"])
        table.add_row(
            run.label,
            f"[bold]{reached}[/bold]" if run.label in best else reached,
            *accuracies,
            duration(facts["time"]["train_seconds"]),
            size(facts["memory"]["steady_bytes"]),
            number(facts["throughput"]["reviews_per_second"]),
        )
    return table
