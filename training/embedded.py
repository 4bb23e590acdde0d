"""Reviews of our own making: a test bed whose labels are known and whose words mislead.

A grammar (`grammar.py`; its data lie in `embedded_reviews/`) writes reviews of products of a dozen
domains. The same words of praise and blame occur under both labels; negation, contrast,
expectation, comparison and other people's opinions decide what they amount to. A bag of words
therefore stays clearly below a model that reads in order.

    python -m training.embedded --count 5 --seed 1
    python -m training.embedded --count 10000 --seed 1 --output reviews.csv
"""

import argparse
import csv
import re
from bisect import bisect
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import yaml

from models.command import command
from training.grammar import Polarity, Rule, compile_rules, expand

VERSION = 1
"""Grows whenever the same count and seed give other reviews: part of every cache key."""

_DATA = resources.files("training") / "embedded_reviews"
_DECKS = ("aspect", "brand", "fact")  # each time another one
_FIXED = ("product", "span", "colour")  # the same throughout a review
_PEOPLE = ("person", "someone", "name", "relation", "she", "her", "hers", "is", "was", "has")
_SCENE = {*_DECKS, *_FIXED, *_PEOPLE}
_T = TypeVar("_T")
_CONCEDED_ASPECTS = 4
_MAX_SENTENCES = 20
_MAX_CHARACTERS = 800
"""Of a content: about 180 words, which with the title stay under 256 WordPiece tokens."""

_LONG_TURNS = 0.2
_FILLERS = 0.3
_CLOSING_VERDICTS = 0.35
_TYPOS = 0.2
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!use|uni|eu|one)")


class Review(NamedTuple):
    """A review as Amazon Polarity has it: `label` 0 is negative, 1 is positive."""

    label: int
    title: str
    content: str


class _Domain(NamedTuple):
    """What the reviews of one kind of product draw on."""

    rules: dict[str, Rule]
    products: list[str]
    aspects: list[str]
    facts: tuple[list[str], list[str]]


class _Gender(NamedTuple):
    pronouns: dict[str, str]
    relations: list[str]
    names: list[list[str]]


class _World(NamedTuple):
    """Everything that is drawn from, compiled once."""

    domains: list[_Domain]
    brands: list[str]
    genders: list[_Gender]
    gender_weights: list[float]


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((_DATA / f"{name}.yaml").read_text(encoding="utf-8"))
    return content


@cache
def _world() -> _World:
    people, words = _read("people"), _read("words")
    genders = people.pop("genders").values()
    weights = [gender["weight"] for gender in genders]
    brands = words.pop("brand")
    shared = people | words | _read("sentences") | _read("titles")
    domains = [
        _Domain(
            compile_rules(shared | {"used": domain["used"]}, _SCENE),
            domain["product"],
            domain["aspect"],
            (domain["fact"]["neg"], domain["fact"]["pos"]),
        )
        for domain in _read("products").values()
    ]
    return _World(
        domains,
        brands,
        [_Gender(g["pronouns"], g["relations"], list(g["names"].values())) for g in genders],
        [edge / sum(weights) for edge in accumulate(weights)],
    )


class _Scene:
    """What stays the same throughout one review, and what should not be said twice."""

    def __init__(self, label: Polarity, random: Callable[[], float]) -> None:
        self.world = _world()
        self.random = random
        self.domain = self.pick(self.world.domains)
        self.person: dict[str, str] = {"name": "", "relation": ""}
        # What one sentence blames, the next must not praise: each aspect deserves the one or the
        # other throughout.
        aspects = self.domain.aspects
        start = int(random() * len(aspects))
        aspects = aspects[start:] + aspects[:start]
        deserving = aspects[_CONCEDED_ASPECTS:], aspects[:_CONCEDED_ASPECTS]
        self.full = {
            ("brand", 0): self.world.brands,
            ("brand", 1): self.world.brands,
            ("aspect", label): deserving[0],
            ("aspect", 1 - label): deserving[1],
            ("fact", 0): self.domain.facts[0],
            ("fact", 1): self.domain.facts[1],
        }
        self.fixed = {"product": self.pick(self.domain.products)}
        self.used: set[int] = set()
        self.left: dict[tuple[str, Polarity], list[str]] = {}

    def say(self, name: str, polarity: Polarity) -> str:
        """An expansion of the rule `name`."""
        return expand(self.domain.rules[name], polarity, self.random, self.fill, self.used)

    def fill(self, name: str, polarity: Polarity) -> str:
        """What a slot holds that no rule of its own fills."""
        if name in _FIXED:
            if name not in self.fixed:
                self.fixed[name] = self.say(f"{name}_drawn", polarity)
            return self.fixed[name]
        if (key := (name, 0 if name == "brand" else polarity)) in self.full:
            left = self.left.get(key) or self.full[key].copy()
            self.left[key] = left
            return left.pop(int(self.random() * len(left)))
        if name in ("person", "someone"):
            self._meet()
            return self.say(f"{name}_named", polarity)
        return self.person[name]

    def pick(self, items: list[_T]) -> _T:
        return items[int(self.random() * len(items))]

    def _meet(self) -> None:
        """Someone else than the one before, drawn without a look at label or product."""
        before = self.person
        while True:
            gender = self.world.genders[bisect(self.world.gender_weights, self.random())]
            name = self.pick(self.pick(gender.names))
            relation = self.pick(gender.relations)
            if name != before["name"] and relation != before["relation"]:
                break
        self.person = {"name": name, "relation": relation, **gender.pronouns}


def generate(count: int, seed: int) -> Iterator[Review]:
    """Reviews, one at a time, either label with probability 1/2.

    The first n of them are the same for every count from n on. Different seeds give different
    reviews, apart from chance agreement of very short ones.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError(f"count: {count} is negative; give a number of reviews, 0 or more")
    # A text as seed is hashed, so that neighbouring seeds have nothing in common.
    return _generate(count, Random(f"embedded reviews {VERSION}, seed {seed}"))


def _generate(count: int, source: Random) -> Iterator[Review]:
    for _ in range(count):
        yield _review(source)


def _review(source: Random) -> Review:
    random = source.random
    label = int(random() * 2)
    length = min(_MAX_SENTENCES, 1 + int(source.lognormvariate(1.05, 0.9)))
    scene = _Scene(label, random)
    title = _sentence(scene.say("title", label))
    sentences: dict[str, None] = {}
    characters = 0
    for name, polarity in _plan(label, length, random):
        sentence = _sentence(scene.say(name, polarity))
        characters += len(sentence) + 1
        if characters > _MAX_CHARACTERS and sentences:
            break
        sentences[sentence] = None  # a dict, to say nothing twice
    return Review(label, *_noise(title, " ".join(sentences), random))


def _plan(
    label: Polarity, length: int, random: Callable[[], float]
) -> Iterator[tuple[str, Polarity]]:
    """The rules of a review's sentences with what they are to mean; one at least is an opinion."""
    opinions = 0
    if length >= 4 and random() < _LONG_TURNS:
        points = 1 + int(random() * min(4, length - 3))
        yield "turn_opening", label
        yield "turn_first", 1 - label
        for _ in range(points - 1):
            yield "turn_next", 1 - label
        yield "turn_closing", label
        opinions += 1
        length -= points + 2
    for left in range(length, 0, -1):
        if left == 1 and random() < _CLOSING_VERDICTS:
            yield "verdict", label
        elif random() < _FILLERS and (left > 1 or opinions):
            yield "filler", label
        else:
            opinions += 1
            yield "opinion", label


def _sentence(text: str) -> str:
    """With a capital and the right articles."""
    return _ARTICLE.sub(r"\1n ", text[:1].upper() + text[1:])


def _noise(title: str, content: str, random: Callable[[], float]) -> tuple[str, str]:
    """Typing as people type: slips, capitals and punctuation, whatever the label."""
    if random() < _TYPOS:
        content = _mistyped(content, random)
    kind = int(random() * 40)
    if kind == 0:
        content = content.lower()
    elif kind == 1:
        content = content.replace(".", "!")
    elif kind == 2:
        content = content.replace(". ", "... ")
    elif kind == 3:
        content = content.replace(",", "")
    elif kind == 4:
        content = content.removesuffix(".")
    kind = int(random() * 10)
    if kind == 0:
        title = title.upper()
    elif kind == 1:
        title = title.lower()
    elif kind == 2:
        title += "!" if random() < 0.7 else "!!!"
    return title, content


def _mistyped(text: str, random: Callable[[], float]) -> str:
    """One word in 25 or fewer, inside: letters swapped, left out or doubled."""
    words = text.split(" ")
    for _ in range(1 + int(random() * len(words) / 25)):
        at = int(random() * len(words))
        word = words[at]
        if len(word) < 5 or not word.isalpha():
            continue
        cut = 1 + int(random() * (len(word) - 3))
        first, second = word[cut], word[cut + 1]
        typed = (second + first, first, first + second + second)[int(random() * 3)]
        words[at] = word[:cut] + typed + word[cut + 2 :]
    return " ".join(words)


def write_csv(path: Path, reviews: Iterator[Review]) -> None:
    """`label,title,content` with a header, written as the reviews come."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Review._fields)
        writer.writerows(reviews)


@command
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.embedded",
        description="Reviews of our own making with a known label: prints them, or writes a CSV.",
    )
    parser.add_argument("--count", type=int, default=5, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default %(default)s)")
    parser.add_argument("--output", type=Path, help="CSV file: label,title,content with a header")
    chosen = parser.parse_args(arguments)
    if chosen.count < 0:
        parser.error(f"--count: {chosen.count} is negative; give 0 or more")
    reviews = generate(chosen.count, chosen.seed)
    if chosen.output is not None:
        write_csv(chosen.output, reviews)
        return 0
    for label, title, content in reviews:
        print(f"{'positive' if label else 'negative'} | {title}\n{content}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
