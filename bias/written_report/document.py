"""The whole report, from its parts."""

from bias.written_report.audit_tables import bulleted, drawn
from bias.written_report.classifier_part import classifier_part, headlines
from bias.written_report.fill_mask_part import fill_mask_part
from bias.written_report.inputs import CLASSIFIERS, COMMANDS, Inputs
from bias.written_report.mitigation_part import mitigation_part
from bias.written_report.production_part import production_part
from bias.written_report.production_part import short_answers as decisions
from bias.written_report.results_part import results_part
from bias.written_report.results_part import short_answers as answers
from bias.written_report.wikipedia_part import wikipedia_part

BIAS_SHOWN = 4
"""Headline figures of the audits in the opening; all of them stand in their section."""
INTRODUCTION = (
    "The questions that came with the models, answered from what was measured here. "
    "`python -m bias.written_report --docs docs` writes this page; every figure in it comes from "
    "the files in the [last section](#where-the-figures-come-from), none is typed by hand, and "
    "facts from elsewhere carry their source. What stands under *Expected* is what design and "
    "literature suggest, and no result."
)


def document(inputs: Inputs) -> str:
    """Markdown; links are relative to the documentation folder."""
    parts = ["# Report", INTRODUCTION, "## In short", bulleted(_short(inputs))]
    parts += results_part(inputs)
    parts += [*fill_mask_part(inputs), *mitigation_part(inputs)]
    parts += classifier_part(inputs)
    parts += wikipedia_part(inputs)
    parts += production_part(inputs)
    parts += ["## Where the figures come from", _origins(inputs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _short(inputs: Inputs) -> list[str]:
    bias = [line for _, audit in inputs.audits(CLASSIFIERS)[:1]
            for line in headlines(audit)[:BIAS_SHOWN]]  # fmt: skip
    return [*answers(inputs), *(f"**Who is named.** {line}." for line in bias), *decisions(inputs)]


def _origins(inputs: Inputs) -> str:
    rows = [
        [", ".join(f"[{n}]({n})" for n in inputs.names(kind)) or f"{kind} (missing)",
         f"`{command}`"]
        for kind, command in COMMANDS.items()
    ]  # fmt: skip
    return drawn(["files", "made by"], rows, first_right=2)
