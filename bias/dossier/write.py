"""The dossier's files: all made first, then put in place.

JSON, by `schema_version`: `candidates`, `options` (every figure, or why it is missing and
what makes it), `yardstick`, `contexts` (thresholds, every verdict, the recommendation), `failures`,
`sections`. A field may be added under the same version, never removed or given another meaning.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bias.dossier import charts
from bias.dossier.candidates import Candidate, reliability
from bias.dossier.card import card_names, model_card
from bias.dossier.contexts import Context
from bias.dossier.decision import RULES, Recommendation, recommend
from bias.dossier.decision_sections import decision_section, method_section
from bias.dossier.evidence import Missing
from bias.dossier.failures import Failures
from bias.dossier.options import Option, options_of
from bias.dossier.page import (
    FRONT_PICTURE,
    RELIABILITY_PICTURE,
    front_sentence,
    html_page,
    markdown,
)
from bias.dossier.ranking import Yardstick, find_yardstick, front_of
from bias.dossier.sections import (
    bias_section,
    candidates_section,
    cost_section,
    failures_section,
    missing_section,
    proof_section,
    quality_section,
    speed_section,
    total_seconds,
)
from bias.report import plain
from bias.section import Section
from models.files import write_whole, written_together

SCHEMA_VERSION = 1
HTML_NAME, MARKDOWN_NAME, JSON_NAME, CARDS = "dossier.html", "dossier.md", "dossier.json", "cards"


@dataclass(frozen=True)
class Dossier:
    """All that is written, before it is."""

    candidates: Sequence[Candidate]
    options: Sequence[Option]
    yardstick: Yardstick | None
    on_front: dict[str, bool]
    recommendations: Sequence[Recommendation]
    failures: dict[str, Failures]
    sections: Sequence[Section]
    price: float | None
    currency: str


def compile_dossier(
    candidates: Sequence[Candidate], contexts: Sequence[Context], failures: dict[str, Failures],
    price: float | None = None, currency: str = "",
) -> Dossier:  # fmt: skip
    """Judge the candidates in every context, and set out what for."""
    options = [option for each in candidates for option in options_of(each)]
    yardstick = find_yardstick(candidates)
    recommendations = [recommend(context, options, yardstick) for context in contexts]
    sections = [
        *(decision_section(each) for each in recommendations),
        candidates_section(candidates),
        quality_section(candidates),
        speed_section(options),
        proof_section(candidates),
        bias_section(options),
        cost_section(candidates, price, currency),
        failures_section(failures),
        missing_section(options),
        method_section(),
    ]
    return Dossier(candidates, options, yardstick, front_of(options, yardstick), recommendations,
                   failures, sections, price, currency)  # fmt: skip


def write(dossier: Dossier, output: Path, cards_into_bundles: bool = False) -> list[Path]:
    """Write page, Markdown, JSON, pictures and cards; their paths, the page's first.

    Raises:
        ValueError: `output` is a file.
    """
    cards = _cards(dossier)
    for each in dossier.candidates:
        for evidence in each.evidence:
            if cards_into_bundles and evidence.recorded:
                raise ValueError(f"--cards-into-bundles: {evidence.run.folder} is a record, its "
                                 "bundle is elsewhere; without the flag, cards lie in "
                                 f"{output / CARDS}")  # fmt: skip
    with written_together(output) as folder:
        made = _files(dossier, folder)
        if not cards_into_bundles:
            for (name, _), text in cards.items():
                made.append(f"{CARDS}/{name}/README.md")
                write_whole(folder / made[-1], text)
    _remove_older(output, set(made))
    paths = [output / name for name in made]
    if cards_into_bundles:
        for (_, bundle), text in cards.items():
            write_whole(bundle / "README.md", text)
            paths.append(bundle / "README.md")
    return paths


def _remove_older(output: Path, made: set[str]) -> None:
    """Cards and pictures of an earlier dossier in this folder, which this one does not have: they
    would pass for its own."""
    for pattern in (f"{CARDS}/*/README.md", FRONT_PICTURE, RELIABILITY_PICTURE):
        for path in output.glob(pattern):
            if path.relative_to(output).as_posix() not in made:
                path.unlink()
                for folder in path.parents[: len(path.relative_to(output).parts) - 1]:
                    if not any(folder.iterdir()):
                        folder.rmdir()


def _files(dossier: Dossier, folder: Path) -> list[str]:
    pictures = {
        FRONT_PICTURE: charts.front_picture(dossier.options, dossier.on_front, dossier.yardstick),
        RELIABILITY_PICTURE: charts.reliability_picture(dossier.candidates),
    }
    drawn = {name: content for name, content in pictures.items() if content is not None}
    for name, content in drawn.items():
        (folder / name).write_bytes(content)
    front = front_sentence(dossier.on_front, dossier.yardstick, len(dossier.options))
    texts = {
        HTML_NAME: html_page(dossier.recommendations, dossier.sections, dossier.options,
                             dossier.on_front, dossier.yardstick),
        MARKDOWN_NAME: markdown(dossier.recommendations, dossier.sections, front, list(drawn)),
        JSON_NAME: json.dumps(as_json(dossier), indent=1, ensure_ascii=False, allow_nan=False)
        + "\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [*texts, *drawn]


def _cards(dossier: Dossier) -> dict[tuple[str, Path], str]:
    """(name, bundle's folder) -> card, for each run that has a bundle."""
    names = card_names([run for each in dossier.candidates for run in each.runs])
    contexts = [each.context for each in dossier.recommendations]
    cards = {}
    for candidate in dossier.candidates:
        for evidence in candidate.evidence:
            if evidence.weights is not None:
                name = names[evidence.run.folder]
                cards[name, evidence.bundle] = model_card(
                    candidate.alone(evidence), contexts, name, len(candidate.runs)
                )
    return cards


def as_json(dossier: Dossier) -> dict[str, Any]:
    """The dossier as plain JSON values; what cannot be had is null."""
    content: dict[str, Any] = plain({
        "schema_version": SCHEMA_VERSION,
        "rules": RULES,
        "price_per_hour": dossier.price,
        "currency": dossier.currency or None,
        "yardstick": dossier.yardstick and _yardstick(dossier.yardstick),
        "candidates": [_candidate(each, dossier) for each in dossier.candidates],
        "options": [
            {"name": o.name, "candidate": o.candidate.name, "backend": o.backend,
             "on_front": dossier.on_front.get(o.name),
             "figures": {m: {"missing": f.why, "command": f.command} if isinstance(f, Missing)
                         else f for m, f in o.figures.items()}}
            for o in dossier.options
        ],
        "contexts": [_context(each) for each in dossier.recommendations],
        "failures": dossier.failures,
        "sections": [
            {"name": s.name, "title": s.title, "findings": s.findings, "tables": s.tables,
             "limits": s.limits}
            for s in dossier.sections
        ],
    })  # fmt: skip
    return content


def _yardstick(yardstick: Yardstick) -> dict[str, Any]:
    """`test` is what it was under this version: the one test, and null where it is of several."""
    only = yardstick.tests[0] if len(yardstick.tests) == 1 else None
    return {"test": only, "tests": yardstick.tests, "candidates": sorted(yardstick.members)}


def _candidate(candidate: Candidate, dossier: Dossier) -> dict[str, Any]:
    seconds = [total_seconds(run.facts["time"]) for run in candidate.runs]
    return {
        "name": candidate.name,
        "runs": [run.folder.name for run in candidate.runs],
        "seeds": [run.facts["training"]["seed"] for run in candidate.runs],
        "audited_seeds": candidate.audited,
        "shipped_weights_sha256": candidate.evidence[0].weights,
        "training_seconds": seconds,
        "cost": None if dossier.price is None else sum(seconds) / 3600 * dossier.price,
        "tests": {
            test: {"in_domain": candidate.is_in_domain(test), "domain": candidate.domain(test),
                   "rows": candidate.rows_key(test),
                   "accuracy": candidate.figure(test, "accuracy"),
                   "calibration_error": candidate.figure(test, "calibration_error"),
                   "reliability": reliability(candidate.answers[test])
                   if test in candidate.answers else None}
            for test in candidate.tests
        },
    }  # fmt: skip


def _context(each: Recommendation) -> dict[str, Any]:
    return {
        "name": each.context.name,
        "title": each.context.title,
        "use": each.context.use,
        "argument": each.context.argument,
        "prefer": each.context.prefer,
        "thresholds": each.context.thresholds,
        "recommended": each.chosen and each.chosen.name,
        "why": each.why,
        "judgements": [
            {"option": j.option.name, "passes": j.passes,
             "verdicts": [{"threshold": v.threshold.metric, "outcome": v.outcome, "text": v.text,
                           "command": v.command} for v in j.verdicts]}
            for j in each.judgements
        ],
    }  # fmt: skip
