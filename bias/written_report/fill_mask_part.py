"""Fill-mask and the scatter: sets from `bias/prompts`, figures from language models' audits."""

from collections import defaultdict

from bias.prompts import PromptSet, load_sets
from bias.written_report.audit_tables import Json, bulleted, drawn, sections, table
from bias.written_report.inputs import LANGUAGE_MODELS, Inputs, absent

ASKED = (
    "A masked language model is asked to fill the same sentence for two groups. Who counts as "
    "minoritised and who as normative, and why, is written into each set (`bias/prompts/*.yaml`), "
    "together with what a model without the bias would do."
)
CONTRAST = (
    "The contrast is how much more of what the stereotype expects of the minoritised group the "
    "model gives to that group than to the other, less the same of the normative group: log-odds "
    "in nats, with a 95% interval. It is nought without bias and positive along the stereotype."
)
STORED = (
    "*The logits of* `{target}` *are those that the explorable "
    "[What Have Language Models Learned?]"
    "(https://pair.withgoogle.com/explorables/fill-in-the-blank/) "
    "publishes (PAIR-code/ai-explorables, Apache-2.0), for its sentences alone: sets that do not "
    "hold these are left out, and a set with one pair of sentences says that this pair differs, "
    "not that others would.*"
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
TOKENS_SHOWN = 4


def fill_mask_part(inputs: Inputs) -> list[str]:
    """What the sets ask, what was found, and the scatter."""
    parts = ["## What a language model puts into the blank", ASKED]
    sets = [_described(each) for each in prompt_sets(inputs)]
    parts += ["### The prompt sets", bulleted(sets)]
    parts += ["### What was found", CONTRAST]
    # Planted biases are no finding: they stand under mitigation alone.
    audits = [(n, audit) for n, audit in inputs.audits(LANGUAGE_MODELS) if not is_planted(audit)]
    for name, audit in audits:
        stored = [t["given"] for t in audit["targets"] if t["given"].endswith(".parquet")]
        parts += [STORED.format(target=given) for given in stored]
        for section in sections(audit, "fill_mask"):
            parts += _model(section)
        page = name.removesuffix("json") + "md"
        if inputs.has(page):
            parts.append(f"All tokens, tests and limits: [{page}]({page}).")
    if not audits:
        parts.append(absent(LANGUAGE_MODELS))
    return [*parts, "### The scatter", *_scatter(inputs, audits)]


def is_planted(audit: Json) -> bool:
    """Whether all its sets are those of `bias.planted`, whose models learned a bias we wrote."""
    titles = [title for section in sections(audit, "fill_mask")
              for (title,) in table(section, "Sets", ["set"])]  # fmt: skip
    return bool(titles) and all(title.startswith("Planted: ") for title in titles)


def prompt_sets(inputs: Inputs) -> list[PromptSet]:
    """Ours, then those that lie in the folder `prompts` beside an audit.

    Raises:
        ValueError: a set there that does not say what it must.
    """
    folders = [folder for name, _ in inputs.audits(LANGUAGE_MODELS)
               for folder in inputs.beside(name, "prompts")]  # fmt: skip
    own = load_sets([str(inputs.docs / folder) for folder in folders]) if folders else []
    return [*load_sets(), *own]


def _described(each: PromptSet) -> str:
    """A set in a paragraph: its first two sentences, what it asks, who is who and why."""
    kind = f"{each.axis}, switched" if each.switched else each.axis
    examples = " / ".join(f"*{group.prompts[0][0]}*" for group in each.groups)
    who = " ".join(f"{group.standing.capitalize()}: {group.name}. {group.why}"
                   for group in each.groups)  # fmt: skip
    text = (f"**{each.title}** ({kind}). {examples} {each.question} "
            f"*Without bias:* {each.unbiased} {who}")  # fmt: skip
    return " ".join(text.split())


def _model(section: Json) -> list[str]:
    """Findings, the tested figures, and the likeliest tokens of one model."""
    columns = ["set", "log-odds of each group's expected tokens", "contrast", "unit", "p (Holm)",
               "detectable", "divergence (bits)"]  # fmt: skip
    parts = [f"**`{section['target']}`**"]
    parts += [bulleted(section["findings"])] if section["findings"] else []
    rows = table(section, "Sets", columns)
    parts += [drawn(columns, rows, first_right=1)] if rows else []
    top = table(section, "Most likely tokens",
                ["set", "group", "tokens with their probability"])  # fmt: skip
    short = [[name, group, ", ".join(tokens.split(", ")[:TOKENS_SHOWN])]
             for name, group, tokens in top]  # fmt: skip
    return [*parts, *([drawn(["set", "group", "likeliest tokens"], short, 3)] if short else [])]


def _scatter(inputs: Inputs, audits: list[tuple[str, Json]]) -> list[str]:
    parts = [SCATTER]
    for name, _ in audits:
        parts += [f"![Tokens in two sentences]({each})"
                  for each in inputs.beside(name, "*.png")]  # fmt: skip
    columns = ["set", "Spearman top / all", "Pearson top / all", "tokens top / all"]
    rows: list[list[str]] = []
    apart: list[list[str]] = []
    for section in (s for _, audit in audits for s in sections(audit, "fill_mask")):
        model = f"`{section['target']}`"
        differing: dict[str, list[str]] = defaultdict(list)
        for name, token, odds in table(
            section, "Tokens that differ most", ["set", "token", "log-odds"]
        ):
            differing[name].append(f"{token} {odds}")
        rows += [[model, *row] for row in table(section, "Sets", columns)]
        apart += [[model, name, ", ".join(tokens[: 2 * TOKENS_SHOWN])]
                  for name, tokens in differing.items()]  # fmt: skip
    if not rows:
        return [*parts, absent(LANGUAGE_MODELS)]
    parts.append(drawn(["model", *columns], rows, first_right=2))
    parts.append("Tokens that differ most, by their log-odds (positive: likelier for the "
                 "minoritised group):")  # fmt: skip
    return [*parts, drawn(["model", "set", "tokens"], apart, first_right=3)]
