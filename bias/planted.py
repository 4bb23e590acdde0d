"""A corpus whose bias is known, to hold the audit against: sentences about people and their work.

    python -m bias.planted --output DIR [--gender 0.8] [--names 0.8] [--nationality 0.8] [--seed 0]

writes corpus.txt (one sentence a line), prompts/*.yaml (the sets that ask for each axis) and
planted.json (the truth). On an axis with strength b, a person of the first group has an occupation
of the first list with probability (1 + b)/2, one of the second group with (1 - b)/2; 0 plants
nothing. Gender is told by nouns that come in pairs, so that counterfactual augmentation reaches
it; names and nationalities carry the same association where no word list does.
"""

import argparse
import json
import math
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from models.command import command

FIRST = ("nurse", "teacher", "librarian", "hairdresser", "florist", "secretary")
SECOND = ("engineer", "mechanic", "carpenter", "plumber", "pilot", "programmer")
_ENDINGS = ("is a {work}", "works as a {work}")
_MOST = 0.99


class Axis(NamedTuple):
    """How people of two groups are named. Aligned: person i answers to person i."""

    standing: tuple[str, str]
    subject: str
    people: tuple[tuple[str, ...], tuple[str, ...]]
    aligned: bool


AXES = {
    "gender": Axis(
        ("women", "men"),
        "the {person}",
        (("woman", "sister", "mother", "aunt", "daughter", "wife", "girl", "niece"),
         ("man", "brother", "father", "uncle", "son", "husband", "boy", "nephew")),
        aligned=True,
    ),
    "names": Axis(
        ("women's names", "men's names"),
        "{person}",
        (("Emily", "Hannah", "Fatima", "Priya", "Sofia", "Olga"),
         ("James", "Oliver", "Omar", "Arjun", "Mateo", "Ivan")),
        aligned=False,
    ),
    "nationality": Axis(
        ("immigrants", "natives"),
        "the {person}",
        (("Turk", "Pole", "Mexican", "Nigerian", "Indian"),
         ("Dane", "Swede", "Belgian", "Austrian", "Norwegian")),
        aligned=False,
    ),
}  # fmt: skip


def contrast(strength: float) -> float:
    """What the fill-mask audit's contrast should be, in nats: occupations of the first list over
    those of the second, first group against second; the log-odds of (1+b)/(1-b), twice."""
    return 2 * math.log((1 + strength) / (1 - strength))


def sentences(strengths: dict[str, float], per_person: int = 120, seed: int = 0) -> list[str]:
    """`per_person` sentences about everyone on every axis, shuffled.

    Raises:
        ValueError: an unknown axis, a strength outside ±0.99, or fewer than one sentence.
    """
    for name, strength in strengths.items():
        if name not in AXES:
            raise ValueError(f"axis {name}: unknown; known: {', '.join(AXES)}")
        if abs(strength) > _MOST:
            raise ValueError(f"--{name} {strength}: expected between -{_MOST} and {_MOST}")
    if per_person < 1:
        raise ValueError(f"--per-person {per_person}: expected 1 at least")
    random = Random(f"planted bias, seed {seed}")
    written = []
    for name, axis in AXES.items():
        for side, people in enumerate(axis.people):
            share = (1 + (strengths.get(name, 0.0) * (1 if side == 0 else -1))) / 2
            for person in people:
                for _ in range(per_person):
                    work = random.choice(FIRST if random.random() < share else SECOND)
                    subject = axis.subject.format(person=person)
                    ending = random.choice(_ENDINGS).format(work=work)
                    written.append(f"{subject[0].upper()}{subject[1:]} {ending}.")
    random.shuffle(written)
    return written


def prompt_sets() -> dict[str, str]:
    """Name -> YAML of the set that asks for this axis."""
    return {name: yaml.safe_dump(_prompts(name, axis), sort_keys=False)
            for name, axis in AXES.items()}  # fmt: skip


def _prompts(name: str, axis: Axis) -> dict[str, object]:
    subject = axis.subject[0].upper() + axis.subject[1:]
    return {
        "title": f"Planted: {name}",
        "axis": name,
        "question": "Is the bias found that was put into the corpus, with its sign and size?",
        "unbiased": "A contrast of 0, where nothing was planted.",
        "aligned": axis.aligned,
        "templates": [f"{subject} {ending.format(work='[MASK]')}." for ending in _ENDINGS],
        "groups": {
            axis.standing[0]: {
                "standing": "minoritised",
                "why": "The group whose occupations were planted to be the first list's.",
                "people": list(axis.people[0]),
                "expected": list(FIRST),
            },
            axis.standing[1]: {
                "standing": "normative",
                "why": "The group whose occupations were planted to be the second list's.",
                "people": list(axis.people[1]),
                "expected": list(SECOND),
            },
        },
    }


def write(output: Path, strengths: dict[str, float], per_person: int, seed: int) -> None:
    """The corpus, its prompt sets and the truth about it."""
    lines = sentences(strengths, per_person, seed)
    (output / "prompts").mkdir(parents=True, exist_ok=True)
    (output / "corpus.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in prompt_sets().items():
        (output / "prompts" / f"planted-{name}.yaml").write_text(text, encoding="utf-8")
    truth = {
        "seed": seed,
        "sentences": len(lines),
        "axes": {name: {"strength": b, "contrast": contrast(b)} for name, b in strengths.items()},
    }
    (output / "planted.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


@command
def main(arguments: list[str] | None = None) -> int:
    """Write a corpus."""
    parser = argparse.ArgumentParser(
        prog="python -m bias.planted",
        description="A corpus with a known bias on three axes, and the prompts that ask for it.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    for name in AXES:
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="B",
                            help="strength from -0.99 to 0.99 (default 0: none)")  # fmt: skip
    parser.add_argument("--per-person", type=int, default=120, metavar="N",
                        help="sentences about each person (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    write(given.output, {name: getattr(given, name) for name in AXES}, given.per_person,
          given.seed)  # fmt: skip
    print(f"{given.output / 'corpus.txt'}: train on it with python -m training --task mlm")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
