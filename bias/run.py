"""An audit from its targets to its files."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bias import gate, identities, probes, report
from bias.answers import Answers
from bias.comparison import Contender, comparison_section
from bias.counterfactual import Scored, comparisons, score
from bias.counterfactual_section import counterfactual_section
from bias.errors_section import as_written_section, errors_section
from bias.probes import Probes
from bias.section import Section
from bias.seeds import same_but_seed, seeds_section
from bias.targets import ENDPOINT, LANGUAGE_MODEL, Target, parse
from training.progress import Progress


def run(
    given: Sequence[str],
    output: Path,
    *,
    reviews: str,
    text: str,
    most: int,
    identities_file: Path | None,
    fail_over: Sequence[str],
    threads: int | None,
    token_file: str | None,
    seed: int,
    vocabulary: Path | None = None,
    benchmark_data: Path | None = None,
) -> tuple[report.Audit, Path]:
    """Ask every target, compare, write; the audit and the page's path.

    Raises:
        ValueError, FileNotFoundError: a user's mistake, in one line.
        serve.client.ClientError: an endpoint that stopped answering; its answers so far are kept.
    """
    thresholds = gate.parse(fail_over)
    axes = identities.load(identities_file)
    if output.is_file():
        raise ValueError(f"--output {output}: is a file; give a folder")
    progress = Progress()
    targets = parse(given, progress.say)
    classifiers = [target for target in targets if target.kind != LANGUAGE_MODEL]
    models = [target.given for target in targets if target.kind == LANGUAGE_MODEL]
    settings: dict[str, Any] = {"fail_over": thresholds}
    sections: list[Section] = []
    seconds: dict[str, float] = {}
    if classifiers:
        asked = probes.make(axes, reviews, text, most, seed)
        scored: list[Scored] = []
        for target in classifiers:
            answers, took = _ask(target, asked, output, threads, token_file, progress)
            seconds[target.name] = round(took, 1)
            scored.append(score(asked.pairs, answers.of))
            sections += _sections(target, scored[-1], asked, answers)
        sections = [*_together(classifiers, scored), *sections]
        settings |= {
            "reviews": reviews, "split": asked.split, "reviews_read": asked.reviews_read,
            "text": text, "most_reviews": most, "seed": seed,
            "identities": None if identities_file is None else str(identities_file),
        }  # fmt: skip
    if models:
        sections += _language_models(models, vocabulary, benchmark_data, progress)
    described = [
        {"name": target.name, "kind": target.kind, "given": target.given,
         "description": target.description, "artefact_sha256": target.artefact_sha256,
         "seconds": seconds.get(target.name)}
        for target in targets
    ]  # fmt: skip
    audit = report.Audit(described, settings, sections, gate.check(thresholds, sections))
    return audit, report.write(audit, output)


def _language_models(
    models: list[str], vocabulary: Path | None, benchmark_data: Path | None, progress: Progress
) -> list[Section]:
    """What masked language models expect; the classifiers need no transformers."""
    from bias.masked_lm_audit import analyse_masked_lm

    return analyse_masked_lm(
        models, vocabulary=vocabulary, benchmark_data=benchmark_data, on_line=progress.say
    )


def _ask(
    target: Target, asked: Probes, output: Path, threads: int | None, token_file: str | None,
    progress: Progress,
) -> tuple[Answers, float]:  # fmt: skip
    """The target's answers, from an earlier start where there are any, and the seconds it took.

    A bundle's answers are kept under its weights, and stand; behind a URL may be another model by
    now, or none, so that an endpoint is asked some texts again even where all are answered.
    """
    answers = Answers(output / "answers" / target.key)
    texts = asked.texts
    missing = len(answers.missing(texts))
    started = time.perf_counter()
    if missing or target.kind == ENDPOINT:
        predictor = target.open(threads, token_file)
        with progress.task(f"asking {target.name}", len(texts), len(texts) - missing) as task:
            answers.ask(predictor, texts, task.advance)
    return answers, time.perf_counter() - started


def _sections(target: Target, scored: Scored, asked: Probes, answers: Answers) -> list[Section]:
    facts = {"reviews_taken": asked.rewritten.taken, "reviews_left": asked.rewritten.left,
             "texts": len(asked.texts)}  # fmt: skip
    sections = [
        counterfactual_section(target.name, scored, facts),
        errors_section(target.name, scored),
    ]
    groups = {group for group, _ in asked.written}
    if len(groups) > 1:
        counts = {name: sum(group == name for group, _ in asked.written) for name in groups}
        written = asked.as_written(answers.of)
        sections.append(as_written_section(target.name, written, {"reviews": counts}))
    return sections


def _together(targets: Sequence[Target], scored: Sequence[Scored]) -> list[Section]:
    """What only several targets can show."""
    if len(targets) < 2:
        return []
    contenders = [
        Contender(target.name, answers, target.kind == ENDPOINT, target.is_coarse)
        for target, answers in zip(targets, scored, strict=True)
    ]
    sections = [comparison_section(contenders)]
    for group in same_but_seed([target.training for target in targets]):
        seeds = [_seed(targets[i].training) for i in group]
        names = [targets[i].name for i in group]
        sections.append(seeds_section(names, seeds, [comparisons(scored[i]) for i in group]))
    return sections


def _seed(training: dict[str, Any] | None) -> int:
    assert training is not None
    return int(training["train"]["seed"])
