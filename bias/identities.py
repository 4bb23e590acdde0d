"""Who is compared with whom: axes and their groups, read from YAML and checked.

The file's form is explained at the head of `wording/identities.yaml`, the one that is used unless
`--identities` names another.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bias import wording
from bias.pairs import MARKERS, NAMES, PEOPLE

KINDS = (PEOPLE, NAMES, MARKERS)
STANDINGS = ("minoritised", "normative")
_AXIS: dict[str, type] = {"kind": str, "question": str, "reference": str, "groups": dict}
_GROUP: dict[str, type] = {"standing": str, "why": str, "terms": list}


@dataclass(frozen=True)
class Group:
    """Terms by which a group is named, its standing and why it is taken to have it."""

    name: str
    standing: str
    why: str
    terms: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """Groups that are compared with `reference`, one of them."""

    name: str
    kind: str
    question: str
    reference: Group
    others: tuple[Group, ...]

    @property
    def groups(self) -> tuple[Group, ...]:
        """All, the reference first."""
        return (self.reference, *self.others)


def load(path: Path | None = None) -> list[Axis]:
    """The axes of a file, or those that come with the package.

    Raises:
        ValueError, FileNotFoundError: one line that names the file, the axis and the field.
    """
    if path is None:
        return _axes(wording.read("identities"), "identities.yaml")
    if not path.is_file():
        raise FileNotFoundError(f"--identities {path}: no such file; give a YAML file of axes")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--identities {path}: not YAML ({reason})") from None
    return _axes(content, f"--identities {path}")


def _axes(content: Any, where: str) -> list[Axis]:
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{where}: holds no axes; give at least one, as in the packaged file")
    return [_axis(str(name), value, f"{where}: {name}") for name, value in content.items()]


def _axis(name: str, value: Any, where: str) -> Axis:
    _check_fields(value, _AXIS, where)
    if value["kind"] not in KINDS:
        raise ValueError(f"{where}: kind is {value['kind']!r}; give one of {', '.join(KINDS)}")
    groups = {
        str(key): _group(str(key), group, f"{where}: {key}")
        for key, group in value["groups"].items()
    }
    if value["reference"] not in groups:
        raise ValueError(
            f"{where}: reference is {value['reference']!r}; give one of the groups "
            f"{', '.join(groups)}"
        )
    reference = groups.pop(value["reference"])
    if not groups:
        raise ValueError(f"{where}: one group, {reference.name}; give two or more to compare")
    for group in groups.values():
        if value["kind"] == "people" and len(group.terms) != len(reference.terms):
            raise ValueError(
                f"{where}: {group.name} has {len(group.terms)} terms, {reference.name} "
                f"{len(reference.terms)}; people are compared term by term, so give as many"
            )
    return Axis(name, value["kind"], value["question"], reference, tuple(groups.values()))


def _group(name: str, value: Any, where: str) -> Group:
    _check_fields(value, _GROUP, where)
    if value["standing"] not in STANDINGS:
        raise ValueError(
            f"{where}: standing is {value['standing']!r}; give one of {', '.join(STANDINGS)}"
        )
    terms = value["terms"]
    if not all(isinstance(term, str) and term.strip() for term in terms):
        raise ValueError(f"{where}: terms are {terms!r}; give texts (quote yes, no and numbers)")
    if len(set(terms)) < 2:
        raise ValueError(
            f"{where}: {len(set(terms))} term(s); give two or more, since one word says nothing "
            "about a group"
        )
    return Group(name, value["standing"], value["why"], tuple(dict.fromkeys(terms)))


def _check_fields(value: Any, fields: dict[str, type], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: is {value!r}; give {', '.join(fields)}")
    for name, kind in fields.items():
        if not isinstance(value.get(name), kind):
            raise ValueError(f"{where}: {name} is {value.get(name)!r}; give a {kind.__name__}")
    if unknown := [key for key in value if key not in fields]:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; known: {', '.join(fields)}")
