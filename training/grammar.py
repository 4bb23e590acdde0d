"""A small grammar that says what it is told to mean.

A rule is a list of alternatives for each polarity (0 negative, 1 positive); an alternative is text
with slots. Expanding a rule for a polarity fills every slot with an expansion for the slot's own
polarity: `{x}` and `{+x}` keep it, `{-x}` turns it round, `{?x}` draws it. So the meaning of
everything that is said is known by construction, however often it is negated. `{X}` with a capital
capitalises what it is filled with.

A rule in the data is a list (the same for both polarities) or a mapping with `both`, `pos`, `neg`;
each of these is a list, or a mapping from alternative to weight, a whole number. With `once: true`
an alternative comes again only when chance insists.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

Polarity = int
_SLOT = re.compile(r"\{([+\-?]?)(\w+)\}")
_TRIES = 5
_KEEP, _TURN, _DRAW = range(3)
_SIGNS = {"": _KEEP, "+": _KEEP, "-": _TURN, "?": _DRAW}


class Slot:
    """A place in an alternative, filled by its rule; by the scene, when that is None."""

    __slots__ = ("capital", "name", "rule", "sign")

    def __init__(self, name: str, rule: "Rule | None", sign: int, capital: bool) -> None:
        self.name = name
        self.rule = rule
        self.sign = sign
        self.capital = capital


Alternative = str | tuple[str | Slot, ...]


class Rule:
    """The alternatives for polarity 0 and for polarity 1, each as often as it weighs."""

    __slots__ = ("alternatives", "once")

    def __init__(self, once: bool) -> None:
        self.alternatives: tuple[list[Alternative], list[Alternative]] = ([], [])
        self.once = once


def compile_rules(sources: Mapping[str, Any], scene: Collection[str]) -> dict[str, Rule]:
    """Rules by name, from data as described above.

    Args:
        sources: rules by name, as YAML gives them.
        scene: names that the caller of `expand` fills in itself, such as a product that must stay
            the same throughout a review.

    Raises:
        ValueError: a slot that nothing fills, a rule without an alternative for a polarity, or a
            weight that is no whole number.
    """
    rules = {
        name: Rule(once=isinstance(source, dict) and source.get("once") is True)
        for name, source in sources.items()
    }
    for name, source in sources.items():
        for target, texts in zip(
            rules[name].alternatives, _alternatives(name, source), strict=True
        ):
            target.extend(_compile(text, name, rules, scene) for text in texts)
    return rules


def _alternatives(name: str, source: Any) -> tuple[list[str], list[str]]:
    """Texts for each polarity, repeated as often as they weigh."""
    if not isinstance(source, dict):
        source = {"both": source}
    if unknown := source.keys() - {"both", "pos", "neg", "once"}:
        raise ValueError(f"rule {name}: {sorted(unknown)[0]!r} is none of both, pos, neg, once")
    both = _weighted(name, source.get("both", []))
    texts = (
        both + _weighted(name, source.get("neg", [])),
        both + _weighted(name, source.get("pos", [])),
    )
    if not all(texts):
        raise ValueError(f"rule {name}: no alternative for one of the polarities")
    return texts


def _weighted(name: str, texts: list[str] | dict[str, int]) -> list[str]:
    if isinstance(texts, list):
        return [str(text) for text in texts]
    for text, weight in texts.items():
        if not isinstance(weight, int) or weight < 1:
            raise ValueError(f"rule {name}: weight {weight!r} of {text!r} is no whole number >= 1")
    return [text for text, weight in texts.items() for _ in range(weight)]


def _compile(
    text: str, owner: str, rules: Mapping[str, Rule], scene: Collection[str]
) -> Alternative:
    parts: list[str | Slot] = []
    end = 0
    for match in _SLOT.finditer(text):
        sign, written = match.groups()
        name = written.lower()
        if name not in scene and name not in rules:
            raise ValueError(f"rule {owner}: nothing fills {match[0]} in {text!r}")
        parts.append(text[end : match.start()])
        rule = None if name in scene else rules[name]
        parts.append(Slot(name, rule, _SIGNS[sign], written[0].isupper()))
        end = match.end()
    parts.append(text[end:])
    kept = tuple(part for part in parts if part != "")
    return text if len(kept) == 1 and isinstance(kept[0], str) else kept


def expand(
    rule: Rule,
    polarity: Polarity,
    random: Callable[[], float],
    scene: Callable[[str, Polarity], str],
    used: set[int],
) -> str:
    """One expansion of `rule` that means `polarity`.

    Args:
        random: uniform numbers in [0, 1), the only source of chance.
        scene: fills the slots that no rule fills, by name and polarity.
        used: what rules marked `once` have said so far; grows.
    """
    alternatives = rule.alternatives[polarity]
    chosen = alternatives[int(random() * len(alternatives))]
    if rule.once:
        chosen = _unused(chosen, alternatives, random, used)
    if isinstance(chosen, str):
        return chosen
    said = []
    for part in chosen:
        if isinstance(part, str):
            said.append(part)
            continue
        meant = polarity
        if part.sign:
            meant = 1 - polarity if part.sign == _TURN else int(random() * 2)
        if part.rule is None:
            text = scene(part.name, meant)
        else:
            text = expand(part.rule, meant, random, scene, used)
        said.append(text[:1].upper() + text[1:] if part.capital else text)
    return "".join(said)


def _unused(
    chosen: Alternative,
    alternatives: list[Alternative],
    random: Callable[[], float],
    used: set[int],
) -> Alternative:
    """`chosen`, or another alternative if it was used before; gives up after a few tries."""
    for _ in range(_TRIES):
        if id(chosen) not in used:
            break
        chosen = alternatives[int(random() * len(alternatives))]
    used.add(id(chosen))
    return chosen
