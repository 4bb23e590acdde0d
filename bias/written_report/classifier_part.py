"""What the classifiers make of who is named: the headline of the audits of bundles."""

from bias.written_report.audit_tables import Json, bulleted, estimate
from bias.written_report.inputs import CLASSIFIERS, Inputs, absent

WHY = (
    "What a language model expects says little about what a classifier built on it does "
    "(Goldfarb-Tarrant et al. 2021), so that this is the part to decide by: the same review with "
    "somebody else named, asked again, against swaps that mean nothing."
)


def headlines(audit: Json) -> list[str]:
    """The large figures of each target, each with its interval, n and noise."""
    lines = []
    for section in audit["sections"]:
        for each in section["headline"]:
            noise = "" if each["noise"] is None else f", noise {each['noise']:.3f}"
            where = section["target"] or "together"
            lines.append(f"`{where}`, {each['meaning']}: {estimate(each)}, n = {each['n']:,} "
                         f"{each['of']}{noise}")  # fmt: skip
    return lines


def classifier_part(inputs: Inputs) -> list[str]:
    """Targets, findings and headline figures."""
    parts = ["## What the classifiers make of who is named", WHY]
    audits = inputs.audits(CLASSIFIERS)
    for name, audit in audits:
        parts.append(bulleted([f"`{t['name']}`: {t['description']}" for t in audit["targets"]]))
        for section in audit["sections"]:
            if section["findings"]:
                title = section["title"] + (f" ({section['target']})" if section["target"] else "")
                parts += [f"**{title}**", bulleted(section["findings"])]
        parts += ["**The figures**", bulleted(headlines(audit))]
        page = name.removesuffix("json") + "md"
        if inputs.has(page):
            parts.append(f"Every group, every test, and the limits: [{page}]({page}).")
    return parts if audits else [*parts, absent(CLASSIFIERS)]
