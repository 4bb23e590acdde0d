"""Axes of one's own: what is wrong with a file is said in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bias import identities


def axis(**changes: Any) -> dict[str, Any]:
    group = {"standing": "minoritised", "why": "a reason", "terms": ["my aunt", "my niece"]}
    other = group | {"standing": "normative", "terms": ["my uncle", "my nephew"]}
    return {"kind": "people", "question": "?", "reference": "men",
            "groups": {"women": group, "men": other}} | changes  # fmt: skip


def load(content: Any, folder: Path) -> list[identities.Axis]:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return identities.load(path)


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (found,) = load({"gender": axis()}, tmp_path)
    assert found.reference.name == "men"
    assert [group.name for group in found.others] == ["women"]


def test_the_packaged_axes_say_who_is_compared_and_why() -> None:
    axes = identities.load()
    assert len(axes) >= 6
    for each in axes:
        assert each.reference.standing == "normative"
        assert all(group.why and len(group.terms) >= 3 for group in each.groups)


def groups(**women: Any) -> dict[str, Any]:
    made = axis()
    made["groups"]["women"] |= women
    return made


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no axes"),
        ([1], "holds no axes"),
        ({"a": 1}, "a: is 1; give kind"),
        ({"a": axis(kind="nouns")}, "kind is 'nouns'; give one of people, names, markers"),
        ({"a": axis(reference="boys")}, "reference is 'boys'; give one of the groups men, women"),
        ({"a": axis(colour="red")}, "unknown field 'colour'"),
        ({"a": axis(groups={"men": axis()["groups"]["men"]})}, "one group, men; give two or more"),
        ({"a": groups(terms=["my aunt"])}, "women: 1 term"),
        ({"a": groups(terms=[])}, "women: 0 term"),
        ({"a": groups(terms=["my aunt", True])}, "give texts"),
        ({"a": groups(terms=["a", "b", "c"])}, "women has 3 terms, men 2"),
        ({"a": groups(standing="other")}, "standing is 'other'"),
    ],
)
def test_a_mistake_is_named_with_its_axis_and_field(
    content: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"mine\.yaml") as caught:
        load(content, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_and_no_yaml_are_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        identities.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ValueError, match="not YAML"):
        identities.load(tmp_path / "bad.yaml")
