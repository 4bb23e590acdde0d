"""A model card a bundle, in the hub's format: https://huggingface.co/docs/hub/model-cards."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bias.dossier.candidates import Candidate
from bias.dossier.contexts import USES, Context
from bias.dossier.decision import PASS, best_judgement, judge_all
from bias.dossier.evidence import Evidence, Missing
from bias.dossier.metrics import METRICS
from bias.dossier.options import Option, options_of
from training.results.runs import Run
from training.results.wording import duration, number, parameters, percent_interval, size

_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def card_names(runs: Sequence[Run]) -> dict[Path, str]:
    """Run folder -> a name for its card: the folder's, with a number where two share one."""
    names: dict[Path, str] = {}
    for run in runs:
        plain = _PLAIN.sub("-", run.folder.resolve().name).strip("-.") or "run"
        name, count = plain, 2
        while name in names.values():
            name, count = f"{plain}-{count}", count + 1
        names[run.folder] = name
    return names


def model_card(candidate: Candidate, contexts: Sequence[Context], name: str, seeds: int) -> str:
    """The card of one run's bundle: README.md with its front matter.

    Args:
        candidate: the run alone (`Candidate.alone`), so that nothing here is another bundle's.
        seeds: how many runs of its configuration the dossier judges together.
    """
    (evidence,), run = candidate.evidence, candidate.shipped
    options = options_of(candidate)
    data = ModelCardData(
        model_name=name,
        pipeline_tag="text-classification",
        tags=["sentiment-analysis", run.facts["architecture"]],
        metrics=["accuracy", "f1"],
        eval_results=_results(candidate, run),
    )
    parts = [
        f"# {name}",
        f"{run.title}: {parameters(run.facts['parameters']['total'])} parameters, trained by the "
        "text classifier audit toolkit to tell negative from positive reviews. Labels: "
        "`negative`, `positive`.",
        *_uses(options, contexts, seeds),
        *_evaluation(candidate, run),
        *_bias(options),
        *_training(candidate.sources, run),
        *_files(evidence),
    ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _results(candidate: Candidate, run: Run) -> list[EvalResult]:
    found = []
    for test, measured in run.facts["tests"].items():
        domain = candidate.domain(test)
        for metric, title in (("accuracy", "Accuracy"), ("f1", "F1"),
                              ("calibration_error", "Expected calibration error")):  # fmt: skip
            found.append(EvalResult(
                task_type="text-classification", task_name="Text classification",
                dataset_type=test, dataset_name=f"{test} ({domain})", dataset_split="test",
                metric_type=metric, metric_name=title, metric_value=measured[metric]["value"],
            ))  # fmt: skip
    return found


def _uses(options: Sequence[Option], contexts: Sequence[Context], seeds: int) -> list[str]:
    lines = []
    for context in contexts:
        judged = best_judgement(judge_all(context, options), options[0].candidate.name)
        shown = f"{judged.count(PASS)} of {len(judged.verdicts)} thresholds shown"
        best = f", on {judged.option.backend}" if judged.passes else ""
        lacking = ", ".join(
            METRICS[t.metric].title for t in context.thresholds
            if isinstance(judged.option.figures[t.metric], Missing)
        )  # fmt: skip
        unmeasured = f"; not measured: {lacking}" if lacking else ""
        verdict = "passes" if judged.passes else "does not pass"
        lines.append(f"- **{context.title}**: {verdict} ({shown}{best}{unmeasured}); "
                     f"{USES[context.use]}.")  # fmt: skip
    together = (
        f" The dossier judges {seeds} seeds together, which may fail what one of them passes."
        if seeds > 1
        else ""
    )
    return ["## Uses", "This bundle's own figures, held against thresholds for each use, which the "
            f"dossier argues.{together}", "\n".join(lines)]  # fmt: skip


def _evaluation(candidate: Candidate, run: Run) -> list[str]:
    rows = ["| test set | domain | reviews | accuracy | F1 | calibration error |",
            "|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for test, measured in run.facts["tests"].items():
        cells = [test, candidate.domain(test), f"{measured['n']:,}"]
        cells += [percent_interval(measured[m]) for m in ("accuracy", "f1", "calibration_error")]
        rows.append(f"| {' | '.join(cells)} |")
    return ["## Evaluation", "Of this checkpoint alone, with 95% intervals.", "\n".join(rows)]


def _bias(options: Sequence[Option]) -> list[str]:
    lines = []
    for metric in ("flip_rate", "group_gap", "equalized_odds_difference"):
        for option in options:
            figure = option.figures[metric]
            if isinstance(figure, Missing):
                continue
            noise = (
                ""
                if figure.noise is None
                else f"; by swaps without meaning {METRICS[metric].number(figure.noise)}"
            )
            lines.append(
                f"- {METRICS[metric].title} on {option.backend}: "
                f"{METRICS[metric].text(figure)}{noise} "
                f"({METRICS[metric].meaning}; {figure.n:,} {figure.of})"
            )
            break
    if not lines:
        first = options[0].figures["flip_rate"]
        assert isinstance(first, Missing)
        how = f" Audit it: `{first.command}`." if first.command else ""
        return ["## Bias and limits", f"Bias was not measured: {first.why}.{how}"]
    return [
        "## Bias and limits",
        "\n".join(lines),
        "Audited are English texts and the groups that the audit names, and no others.",
    ]


def _training(sources: str, run: Run) -> list[str]:
    facts = run.facts
    time, training = facts["time"], facts["training"]
    lines = [
        f"- data: {number(facts['data']['train_reviews'])} reviews of {sources}",
        f"- epochs {training['epochs']:g}, batch {training['batch_size']}, "
        f"learning rate {training.get('learning_rate')}, seed {training['seed']}",
        f"- time: {duration(time['train_seconds'])} on {facts['machine']['device']}; "
        f"peak memory {size(facts['memory']['peak_bytes'])}",
    ]
    return ["## Training", "\n".join(lines)]


def _files(evidence: Evidence) -> list[str]:
    lines: list[Any] = ["- `model.safetensors`, `tokenizer.json`, `config.json`: the checkpoint; "
                        f"weights SHA-256 `{evidence.weights}`"]  # fmt: skip
    for backend, proof in evidence.certificates.items():
        if isinstance(proof, Missing):
            lines.append(f"- {backend}: no valid certificate")
        else:
            lines.append(
                f"- `{proof.filename}`: {1 - proof.changed:.2%} of labels the checkpoint's "
                f"over {proof.reviews:,} reviews, SHA-256 `{proof.entry['sha256']}`"
            )
    return ["## Files", "\n".join(lines)]
