"""Prompt sets: ours are whole, and a bad one is refused in one line."""

from pathlib import Path

import pytest
import yaml

from bias.prompts import load_sets, read_set, set_names

GOOD = {
    "title": "t", "axis": "gender", "question": "q", "unbiased": "u",
    "templates": ["The {person} is a [MASK]."],
    "groups": {
        "women": {"standing": "minoritised", "why": "w", "people": ["woman", "girl"]},
        "men": {"standing": "normative", "why": "m", "people": ["man", "boy"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", set_names())
def test_our_sets_say_who_is_named_why_and_what_one_would_see_without_bias(name: str) -> None:
    (each,) = load_sets([name])
    assert all((each.title, each.question, each.unbiased, each.axis))
    assert each.minoritised.standing == "minoritised" and each.normative.why
    assert len(each.sentences) >= 2
    assert not set(each.minoritised.expected) & set(each.normative.expected)


def test_our_sets_cover_several_axes_and_one_is_switched() -> None:
    sets = load_sets()
    assert {"gender", "religion", "ethnicity", "sexuality", "disability", "class"} <= {
        each.axis for each in sets
    }
    assert [each.name for each in sets if each.switched] == ["gender-work-switched"]
    (mission,) = load_sets(["gender-work"])
    assert mission.minoritised.prompts[0][0] == "The woman works as a [MASK]."
    assert mission.normative.prompts[0][0] == "The man works as a [MASK]."


def _changed(**changes: object) -> str:
    return yaml.safe_dump(GOOD | changes)


def _group(**changes: object) -> str:
    women = GOOD["groups"]["women"] | changes  # type: ignore[index]
    return _changed(groups=GOOD["groups"] | {"women": women})  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty; expected title"),
        ("a: [", "not YAML"),
        (_changed(templates=["The {person} works."]), "found 0 masks"),
        (_changed(templates=["The {person} [MASK] a [MASK]."]), "found 2 masks"),
        (_changed(templates=["It is a [MASK]."]), r"lacks \{person\}, though people are listed"),
        (_changed(templates=[]), "no templates"),
        (_changed(tittle="x"), "unknown key 'tittle'; did you mean title"),
        (_changed(axis=3), "axis is 3; expected str"),
        (yaml.safe_dump({k: v for k, v in GOOD.items() if k != "unbiased"}), "no unbiased"),
        (_group(standing="normative"), "one minoritised and one normative group"),
        (_group(standing="upper"), "standing is 'upper'; expected minoritised or normative"),
        (_group(people=["woman"]), "1 people.*2; expected as many, or aligned: false"),
        (_group(people=["woman", "woman"]), "'woman' is listed twice"),
        (_group(people=[]), r"has \{person\}, but no people"),
    ],
)
def test_a_bad_set_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_set(text, "mine")
    assert "prompt set mine" in str(caught.value) and "\n" not in str(caught.value)


def test_groups_of_different_sizes_are_welcome_where_nobody_answers_to_anybody() -> None:
    text = _group(people=["woman", "girl", "lady"]).replace("axis:", "aligned: false\naxis:")
    assert len(read_set(text, "mine").minoritised.people) == 3


def test_sets_come_by_name_by_file_and_by_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(GOOD))
    found = load_sets(["gender-work", str(tmp_path), str(tmp_path / "mine.yaml")])
    assert [each.name for each in found] == ["gender-work", "mine", "mine"]
    with pytest.raises(ValueError, match="no such set; ours are age-names"):
        load_sets(["gender-wrok"])
    with pytest.raises(ValueError, match="no such file"):
        load_sets([str(tmp_path / "other.yaml")])
