"""The decision: a section a context, and the rules by which it came about."""

from bias.dossier.contexts import USES
from bias.dossier.decision import (
    FAIL,
    NOT_SHOWN,
    PASS,
    RULES,
    Judgement,
    Recommendation,
    Verdict,
    best_judgement,
)
from bias.dossier.metrics import METRICS
from bias.dossier.options import NO_BACKEND
from bias.section import Cell, Section, Table

# Told apart by form, not by colour.
SIGNS = {PASS: "✓", FAIL: "✗", NOT_SHOWN: "?"}
EVERY_BACKEND = "Every backend"
LIMITS = (
    "Thresholds are policy: ours are argued in the table, and another set is given with --contexts "
    "FILE.",
    "What was audited is English and the groups that the audit names; what it does not name is not "
    "shown to be safe.",
    "Times are those of the machine that is named, not of yours: measure there before you rely on "
    "them.",
    "Tests are as old as their reviews: accuracy has to be watched where the model is used.",
    "A group gap is not counted as no gap where it lies within its noise: the model does treat "
    "those words differently, for whatever reason.",
)


def decision_section(recommendation: Recommendation) -> Section:
    """One context: the argument, the thresholds, who passes and what fails whom."""
    context = recommendation.context
    judgements = recommendation.judgements
    names = list(dict.fromkeys(each.option.candidate.name for each in judgements))
    nearest = [best_judgement(judgements, name) for name in names]
    titles = tuple(threshold.text for threshold in context.thresholds)
    columns = ("candidate", "backend", "outcome", *titles)
    thresholds = tuple(
        (METRICS[t.metric].title, METRICS[t.metric].limit(t.limit), t.why)
        for t in context.thresholds
    )
    findings = (
        f"What is decided: {context.decides}.",
        f"May a biased model be used? {_sentence(USES[context.use])} {context.argument}",
        f"Recommended: {chosen_name(recommendation)}. {recommendation.why}",
    )
    return Section(
        name=f"context_{context.name}",
        title=context.title,
        findings=findings,
        tables=(
            Table("Thresholds", ("figure", "threshold", "why"), thresholds),
            Table("Candidates, each on the backend that comes nearest", columns,
                  tuple(_row(each) for each in nearest),
                  "✓ passes; ✗ fails; ? not shown, which is no pass. Too wide: the interval "
                  "crosses the threshold, and more test rows, seeds or audited reviews narrow it."),
            Table(EVERY_BACKEND, columns, tuple(_row(each) for each in judgements)),
        ),
    )  # fmt: skip


def chosen_name(recommendation: Recommendation) -> str:
    """The option's name, or that there is none."""
    return "no model" if recommendation.chosen is None else recommendation.chosen.name


def outcome(judgement: Judgement) -> str:
    """`passes`, or what is failed and what is not shown."""
    if judgement.passes:
        return "passes"
    if judgement.option.backend == NO_BACKEND and judgement.count(PASS) == len(judgement.verdicts):
        return "cannot be shipped: no bundle"
    counts = ((judgement.count(FAIL), "failed"), (judgement.count(NOT_SHOWN), "not shown"))
    parts = [f"{count} {word}" for count, word in counts if count]
    return ", ".join(parts)


def method_section() -> Section:
    """By which rules, and what the page cannot say."""
    return Section("rules", "How the recommendation comes about", findings=RULES, limits=LIMITS)


def _row(judgement: Judgement) -> tuple[Cell, ...]:
    return (judgement.option.candidate.name, judgement.option.backend, outcome(judgement),
            *(verdict_cell(verdict) for verdict in judgement.verdicts))  # fmt: skip


def verdict_cell(verdict: Verdict) -> str:
    """`✓ 91.2% [90.1, 92.2]`."""
    return f"{SIGNS[verdict.outcome]} {verdict.text}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
