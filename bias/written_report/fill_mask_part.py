"""Fill-mask, the scatter and mitigation: sets from `bias/prompts`, figures from the audits."""

from collections import defaultdict

from bias.prompts import PromptSet, load_sets
from bias.written_report.audit_tables import Json, bulleted, drawn, sections, table
from bias.written_report.inputs import Inputs, absent
from bias.written_report.wikipedia_part import two_models_part

STORED, PLANTED = "masked_lm/audit.json", "masked_lm/planted/audit.json"
PICTURE = "masked_lm/scatter.png"
SOURCE = (
    'The logits are those that the explorable "What Have Language Models Learned?" publishes '
    "(PAIR-code/ai-explorables, Apache-2.0); the sentences are the ones stored there, so that "
    "only the sets below that hold them have figures, and each is one pair or two, which says "
    "that these sentences differ and not that others would."
)
ASKED = (
    "A masked language model is asked to fill the same sentence for two groups. Who counts as "
    "minoritised and who as normative, and why, is written into each set (`bias/prompts/*.yaml`), "
    "together with what a model without the bias would do."
)
SCATTER = (
    "Each dot is a token; across, its logit in the one sentence, upwards in the other. A model "
    "that made nothing of who is named would put every token on the diagonal. The same for any "
    "two sentences of a set, as likelihoods or differences, for two models side by side, to hover "
    "over and to search: `python -m bias.scatter MODEL --output scatter.html`. The correlations "
    "below are of the logits, Spearman's and Pearson's, over the likeliest tokens and over all "
    "whole words. Grammar decides most words, whoever is named, so that the correlation over all "
    "of them says little; it is among the likely ones that the groups can part."
)
MITIGATED = (
    "The same prompts under a plain model, and under one trained on texts beside copies with the "
    "genders of their words exchanged (counterfactual augmentation)."
)
TOKENS_SHOWN = 4


def fill_mask_part(inputs: Inputs) -> list[str]:
    """What the sets ask, what was found, the scatter, and what mitigation changed."""
    parts = ["## What a language model puts into the blank", ASKED]
    parts += ["### The prompt sets", *_sets(load_sets())]
    audit = inputs.get(STORED)
    parts += ["### What was found"]
    if audit is None:
        parts.append(absent(STORED))
    else:
        parts.append(SOURCE)
        for section in sections(audit, "fill_mask"):
            parts += _model(section)
        parts.append(f"All tokens and tests: [the audit]({STORED.replace('json', 'md')}).")
    parts += ["### The scatter", *_scatter(inputs, audit)]
    parts += ["### Mitigation: is the bias smaller, and only for gender?",
              *_mitigation(inputs, audit)]  # fmt: skip
    return [*parts, *two_models_part(inputs)]


def _sets(sets: list[PromptSet]) -> list[str]:
    """A paragraph a set, the switched ones marked."""
    parts = []
    for each in sets:
        kind = f"{each.axis}, switched" if each.switched else each.axis
        examples = " / ".join(f"*{group.prompts[0][0]}*" for group in each.groups)
        who = " ".join(f"{group.standing.capitalize()}: {group.name}. {group.why}"
                       for group in each.groups)  # fmt: skip
        parts.append(f"**{each.title}** ({kind}). {examples} {each.question} "
                     f"*Without bias:* {each.unbiased} {who}")  # fmt: skip
    return [bulleted([" ".join(part.split()) for part in parts])]


def _model(section: Json) -> list[str]:
    columns = ["set", "contrast", "unit", "p (Holm)", "detectable", "divergence (bits)"]
    parts = [f"**{section['target']}**", bulleted(section["findings"])]
    rows = table(section, "Sets", columns)
    parts += [drawn(columns, rows, first_right=1)] if rows else []
    top = table(section, "Most likely tokens",
                ["set", "group", "tokens with their probability"])  # fmt: skip
    if top:
        short = [[name, group, ", ".join(tokens.split(", ")[:TOKENS_SHOWN])]
                 for name, group, tokens in top]  # fmt: skip
        parts.append(drawn(["set", "group", "likeliest tokens"], short, first_right=9))
    return parts


def _scatter(inputs: Inputs, audit: Json | None) -> list[str]:
    parts = [SCATTER]
    if inputs.has(PICTURE):
        parts.append(f"![Scatter of two sentences]({PICTURE})")
    if audit is None:
        return [*parts, absent(STORED)]
    columns = ["set", "Spearman top / all", "Pearson top / all", "tokens top / all"]
    rows, apart = [], []
    for section in sections(audit, "fill_mask"):
        differing: dict[str, list[str]] = defaultdict(list)
        for name, token, odds in table(
            section, "Tokens that differ most", ["set", "token", "log-odds"]
        ):
            differing[name].append(f"{token} {odds}")
        rows += [[section["target"], *row] for row in table(section, "Sets", columns)]
        apart += [[section["target"], name, ", ".join(tokens[: 2 * TOKENS_SHOWN])]
                  for name, tokens in differing.items()]  # fmt: skip
    parts.append(drawn(["model", *columns], rows, first_right=2))
    parts.append("Tokens that differ most, by their log-odds (positive: likelier for the "
                 "minoritised group):")  # fmt: skip
    return [*parts, drawn(["model", "set", "tokens"], apart, first_right=9)]


def _mitigation(inputs: Inputs, audit: Json | None) -> list[str]:
    parts = [MITIGATED]
    found = [] if audit is None else list(sections(audit, "fill_mask_models"))
    parts.append("**Published models, BERT and Zari**")
    parts += [bulleted(s["findings"]) for s in found] or [absent(STORED)]
    parts += [f"*{limit}*" for section in found for limit in section["limits"]]
    planted = inputs.get(PLANTED)
    parts.append("**Our own two models of one corpus whose bias is known** "
                 "([how they were made](masked-language-models.md#is-the-audit-to-be-believed)); "
                 "they differ in nothing but the augmentation")  # fmt: skip
    if planted is None:
        return [*parts, absent(PLANTED)]
    for section in sections(planted, "fill_mask_models"):
        columns = [name for name in _columns(section) if name != "model"]
        parts += [drawn(columns, table(section, "Contrast under each model", columns), 2)]
        parts += [bulleted(section["findings"])]
    parts.append("Gender's word pairs are what the augmentation exchanges. Whatever is not on its "
                 "list, first names and every other axis, it does not touch.")  # fmt: skip
    return parts


def _columns(section: Json) -> list[str]:
    return [str(name) for each in section["tables"] for name in each["columns"]]
