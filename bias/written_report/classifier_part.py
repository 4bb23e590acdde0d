"""What the classifiers make of who is named: the headline of the audits of bundles."""

from bias.written_report.audit_tables import Json, bulleted, estimate
from bias.written_report.inputs import Inputs, absent

NAME = "audit/audit.json"
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
    audit = inputs.get(NAME)
    if audit is None:
        return [*parts, absent(NAME)]
    parts.append(bulleted([f"`{t['name']}`: {t['description']}" for t in audit["targets"]]))
    for section in audit["sections"]:
        if section["findings"]:
            title = section["title"] + (f" ({section['target']})" if section["target"] else "")
            parts += [f"**{title}**", bulleted(section["findings"])]
    parts += ["**The figures**", bulleted(headlines(audit))]
    return [*parts, "Every group, every test, and the limits: [audit.md](audit/audit.md)."]
