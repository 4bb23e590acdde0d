"""Prompt sets for fill-mask: the same sentences about two groups, read from YAML and checked.

    title: What women and men work as
    axis: gender
    question: What the set asks of a model.
    unbiased: What one would see of a model without this bias.
    switched: false        # true: the sentence's context speaks against the stereotype
    aligned: true          # person i of one group answers to person i of the other
    templates: ["The {person} works as a [MASK]."]
    groups:
      women: {standing: minoritised, why: ..., people: [woman, sister], expected: [nurse]}
      men: {standing: normative, why: ..., people: [man, brother], expected: [mechanic]}

A group may bring `templates` of its own. `expected` are the tokens that the stereotype would give
to this group; their contrast is the set's one figure that is tested.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bias.stored_logits import MASK

STANDINGS = ("minoritised", "normative")
_SLOT = "{person}"
_SETS = resources.files("bias") / "prompts"
_REQUIRED = {"title": str, "axis": str, "question": str, "unbiased": str, "groups": dict}
_OPTIONAL = {"switched": bool, "aligned": bool, "templates": list}
_GROUP_REQUIRED = {"standing": str, "why": str}
_GROUP_OPTIONAL = {"people": list, "expected": list, "templates": list}


@dataclass(frozen=True)
class Group:
    """Who is named, and how: `prompts[template][person]`."""

    name: str
    standing: str
    why: str
    people: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    expected: tuple[str, ...]


@dataclass(frozen=True)
class PromptSet:
    """Sentences about a minoritised and a normative group that are alike but for the group."""

    name: str
    title: str
    axis: str
    question: str
    unbiased: str
    switched: bool
    aligned: bool
    minoritised: Group
    normative: Group

    @property
    def groups(self) -> tuple[Group, Group]:
        """In the order in which every difference is taken: minoritised minus normative."""
        return self.minoritised, self.normative

    @property
    def sentences(self) -> list[str]:
        """Every prompt once."""
        prompts = [p for group in self.groups for row in group.prompts for p in row]
        return list(dict.fromkeys(prompts))


def set_names() -> list[str]:
    """The sets that come with the package."""
    names = (entry.name for entry in _SETS.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_sets(given: list[str] | None = None) -> list[PromptSet]:
    """Sets by name, by the path of a YAML file, or all of a folder; None gives ours.

    Raises:
        ValueError: no such set, or one that does not say what it must; one line.
    """
    sets = []
    for name in set_names() if given is None else given:
        path = Path(name)
        if path.is_dir():
            files = sorted(path.glob("*.yaml"))
            if not files:
                raise ValueError(f"--prompts {name}: the folder holds no .yaml file")
            sets += [read_set(file.read_text(encoding="utf-8"), file.stem) for file in files]
        elif path.suffix in (".yaml", ".yml"):
            if not path.is_file():
                raise ValueError(f"--prompts {name}: no such file")
            sets.append(read_set(path.read_text(encoding="utf-8"), path.stem))
        elif name in set_names():
            sets.append(read_set((_SETS / f"{name}.yaml").read_text(encoding="utf-8"), name))
        else:
            raise ValueError(
                f"--prompts {name}: no such set; ours are {', '.join(set_names())}; or give the "
                "path of a .yaml file"
            )
    return sets


def read_set(text: str, name: str) -> PromptSet:
    """One set from its YAML.

    Raises:
        ValueError: names the set, the key, what was found and what is expected.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"prompt set {name}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise ValueError(f"prompt set {name}: empty; expected {', '.join(_REQUIRED)}")
    _check_keys(f"prompt set {name}", raw, _REQUIRED, _OPTIONAL)
    aligned = raw.get("aligned", True)
    shared = raw.get("templates")
    groups = [_group(name, group, given, shared) for group, given in raw["groups"].items()]
    found = [group.standing for group in groups]
    if sorted(found) != sorted(STANDINGS):
        raise ValueError(
            f"prompt set {name}: groups have the standings {', '.join(found) or 'none'}; expected "
            "one minoritised and one normative group"
        )
    minoritised, normative = sorted(groups, key=lambda group: group.standing)
    for what, of in (("templates", lambda g: g.prompts), ("people", lambda g: g.people)):
        sizes = [len(of(group)) for group in (minoritised, normative)]
        if sizes[0] != sizes[1] and (what == "templates" or aligned):
            raise ValueError(
                f"prompt set {name}: {minoritised.name} has {sizes[0]} {what}, {normative.name} "
                f"{sizes[1]}; expected as many" + (", or aligned: false" * (what == "people"))
            )
    return PromptSet(
        name=name,
        title=raw["title"],
        axis=raw["axis"],
        question=raw["question"],
        unbiased=raw["unbiased"],
        switched=raw.get("switched", False),
        aligned=aligned,
        minoritised=minoritised,
        normative=normative,
    )


def _group(owner: str, name: str, raw: Any, shared: list[str] | None) -> Group:
    where = f"prompt set {owner}, group {name}"
    if not isinstance(raw, dict):
        raise ValueError(f"{where}: found {raw!r}; expected standing, why and people")
    _check_keys(where, raw, _GROUP_REQUIRED, _GROUP_OPTIONAL)
    if raw["standing"] not in STANDINGS:
        raise ValueError(
            f"{where}: standing is {raw['standing']!r}; expected {' or '.join(STANDINGS)}"
        )
    templates = [str(template) for template in raw.get("templates") or shared or []]
    people = [str(person) for person in raw.get("people") or []]
    if not templates:
        raise ValueError(f"{where}: no templates, neither its own nor the set's; give one at least")
    for template in templates:
        if template.count(MASK) != 1:
            raise ValueError(
                f"{where}: found {template.count(MASK)} masks in {template!r}; expected exactly "
                f"one {MASK}"
            )
        if (_SLOT in template) != bool(people):
            raise ValueError(
                f"{where}: {template!r} "
                + (
                    f"lacks {_SLOT}, though people are listed"
                    if people
                    else f"has {_SLOT}, but no people are listed"
                )
            )
    duplicates = {person for person in people if people.count(person) > 1}
    if duplicates:
        raise ValueError(f"{where}: {sorted(duplicates)[0]!r} is listed twice among the people")
    return Group(
        name=str(name),
        standing=raw["standing"],
        why=raw["why"],
        people=tuple(people or [str(name)]),
        prompts=tuple(
            tuple(template.replace(_SLOT, person) for person in people or [""])
            for template in templates
        ),
        expected=tuple(str(token).lower() for token in raw.get("expected") or []),
    )


def _check_keys(
    where: str, raw: dict[str, Any], required: Mapping[str, type], optional: Mapping[str, type]
) -> None:
    known = {**required, **optional}
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{where}: unknown key {key!r}; {hint}")
        if not isinstance(value, known[key]):
            raise ValueError(f"{where}: {key} is {value!r}; expected {known[key].__name__}")
    for key in required:
        if key not in raw:
            raise ValueError(f"{where}: no {key}; it is needed")
