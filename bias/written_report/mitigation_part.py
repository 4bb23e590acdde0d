"""Mitigation: the same prompts under a plain and an augmented model, and what became smaller."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from bias.written_report.audit_tables import Json, bulleted, drawn, estimate, sections
from bias.written_report.fill_mask_part import is_planted, prompt_sets
from bias.written_report.inputs import LANGUAGE_MODELS, Inputs, absent
from bias.written_report.wikipedia_part import two_models_part

MITIGATED = (
    "The same prompts under a plain model, and under one trained on texts beside copies with the "
    "genders of their words exchanged (counterfactual augmentation). Its word pairs are gender's; "
    "whatever is not on the list, first names and every other axis, it does not touch, so that "
    "there one would expect the bias to stay."
)
NOT_COMPARED = (
    "*The stored sentences of the published models have no set in common, so that these cannot be "
    "held against each other here; with the models themselves,* `python -m bias.fill_mask "
    "bert-large-uncased-whole-word-masking ZARI --output docs/audit/models` *compares them on all "
    "sets.*"
)
PLANTED = (
    ": trained here on one small corpus with a bias of ours on each axis, so that what there is to "
    "take away is known ([how](masked-language-models.md#is-the-audit-to-be-believed))"
)
COLUMNS = ("axis", "set", "model", "under it", "smaller by", "apart")


class Change(NamedTuple):
    """A set's contrast under the plain model and under another; `apart`: intervals do not meet."""

    axis: str
    title: str
    model: str
    before: Json
    after: Json
    apart: bool

    @property
    def shown_before(self) -> bool:
        """Whether the plain model has a contrast to take away: its interval leaves out nought."""
        low, high = self.before["low"], self.before["high"]
        return low is not None and high is not None and not low <= 0 <= high

    @property
    def outcome(self) -> str:
        """What was shown."""
        if not self.apart:
            return "not shown to differ"
        smaller = abs(self.after["value"]) < abs(self.before["value"])
        return "smaller" if smaller else "larger"


def mitigation_part(inputs: Inputs) -> list[str]:
    """Each comparison summed up and set out, then why models of the same data differ."""
    parts = ["### Mitigation: is the bias smaller, and only for gender?", MITIGATED]
    audits = inputs.audits(LANGUAGE_MODELS)
    switched = {each.title for each in prompt_sets(inputs) if each.switched}
    if not audits:
        parts.append(absent(LANGUAGE_MODELS))
    for name, audit in audits:
        found = list(sections(audit, "fill_mask_models"))
        if not found and len(list(sections(audit, "fill_mask"))) > 1:
            parts.append(NOT_COMPARED)
        for section in found:
            folder = name.rpartition("/")[0] or "."
            known = PLANTED if is_planted(audit) else ""
            parts += [
                f"**The models of `{folder}`**{known}",
                bulleted(summary(changes(section), switched)),
            ]
            parts += [_table(changes(section)), *(f"*{limit}*" for limit in section["limits"])]
    return [*parts, *two_models_part(inputs)]


def changes(section: Json) -> list[Change]:
    """The rows of the comparison, their estimates as they are."""
    found = []
    for each in section["tables"]:
        if each["title"] != "Contrast under each model":
            continue
        place = {name: i for i, name in enumerate(each["columns"])}
        plain = next(
            i for name, i in place.items() if name.startswith("under ") and name != "under it"
        )
        for row in each["rows"]:
            axis, title, model, after, _, apart = (row[place[name]] for name in COLUMNS)
            found.append(Change(axis, title, model, row[plain], after, apart == "yes"))
    return found


def summary(found: Sequence[Change], switched: Collection[str] = ()) -> list[str]:
    """Gender against the other axes; of the sets with `switched` titles, what is followed."""
    lines = []
    for model in dict.fromkeys(change.model for change in found):
        of_model = [change for change in found if change.model == model]
        # A switched set's contrast is better the further it is below nought: size says nothing.
        own = [change for change in of_model if change.title not in switched]
        for name, chosen in (("Gender", [c for c in own if c.axis == "gender"]),
                             ("Other axes", [c for c in own if c.axis != "gender"])):  # fmt: skip
            if chosen:
                none = sum(not c.shown_before for c in chosen)
                sets = "1 set" if len(chosen) == 1 else f"{len(chosen)} sets"
                lines.append(f"{name}, under `{model}`: of {sets} the contrast is shown smaller in "
                             f"{_count(chosen, 'smaller')}, larger in "
                             f"{_count(chosen, 'larger')}; not shown to differ in "
                             f"{_count(chosen, 'not shown to differ')}; the plain model shows "
                             f"none to begin with in {none}.")  # fmt: skip
        lines += [_switched(change) for change in of_model if change.title in switched]
    return lines


def _count(found: Sequence[Change], outcome: str) -> int:
    return sum(change.outcome == outcome for change in found)


def _switched(change: Change) -> str:
    """A contrast below nought there follows the sentence, against the stereotype."""

    def followed(value: dict[str, Any]) -> str:
        if value["high"] is not None and value["high"] < 0:
            return "follows the sentence"
        if value["low"] is not None and value["low"] > 0:
            return "follows the stereotype against the sentence"
        return "is not shown to follow either"

    return (f"*{change.title}* (switched): the plain model {followed(change.before)} "
            f"({estimate(change.before)}), `{change.model}` {followed(change.after)} "
            f"({estimate(change.after)}).")  # fmt: skip


def _table(found: Sequence[Change]) -> str:
    rows = [
        [c.axis, c.title, f"`{c.model}`", estimate(c.before), estimate(c.after),
         f"{1 - c.after['value'] / c.before['value']:.0%}" if c.shown_before else "–",
         "yes" if c.apart else "no"]
        for c in found
    ]  # fmt: skip
    columns = ["axis", "set", "model", "plain model's contrast", "its contrast", "smaller by",
               "intervals apart"]  # fmt: skip
    return drawn(columns, rows, first_right=3)
