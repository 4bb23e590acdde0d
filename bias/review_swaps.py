"""Counterfactuals of real reviews: another gender, another name, another trait, nothing else.

Four rewritings, each of which takes the reviews that it can, and counts why it leaves others:

- gender words: a review that speaks of one gender has all its words turned to the other;
- names: a review with one given name gets a name of each group, of the same gender;
- traits: the first person who is named by a bare noun ("the author") gets a trait of each group,
  and the reference's trait in the text that it is compared with, so that both are as long;
- controls: a synonym for a word, and a trait of no group for another such trait.

A cluster is a review. Its label is what its writer gave it, and no swap is meant to change it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from bias.gender_words import FEMININE, MASCULINE, Gender, reading, swapped
from bias.identities import Axis
from bias.pairs import CONTROL, MARKERS, NAMES, REVIEWS, WORDS, Pair, with_article
from bias.wording import read

MAX_WORDS = 90
"""Longer reviews are left out: what a model cuts off, a swap there cannot show."""

GENDER_WORDS = "gender words"


class Review(NamedTuple):
    """A review and its place in its source, which is its name in the report."""

    place: int
    text: str
    label: int


@dataclass(frozen=True)
class Rewritten:
    """The pairs, how many reviews each rewriting took, and why it left the others."""

    pairs: list[Pair]
    taken: dict[str, int]
    left: dict[str, dict[str, int]]


_Rewriter = Callable[[Review, int], list[Pair] | str]


def review_pairs(reviews: Sequence[Review], axes: list[Axis], most: int) -> Rewritten:
    """The pairs of up to `most` reviews a rewriting, taken in the order given."""
    named = [axis for axis in axes if axis.kind == NAMES]
    marked = [axis for axis in axes if axis.kind == MARKERS]
    rewriters: dict[str, _Rewriter] = {
        "gender words": lambda review, _: _gender_pairs(review),
        "synonyms": lambda review, _: _synonym_pairs(review),
    }
    if named:
        rewriters["names"] = lambda review, turn: _name_pairs(review, turn, named)
    if marked:
        rewriters["traits"] = lambda review, turn: _trait_pairs(review, turn, marked)
    pairs: list[Pair] = []
    taken = dict.fromkeys(rewriters, 0)
    left: dict[str, Counter[str]] = {name: Counter() for name in rewriters}
    for review in reviews:
        if all(count >= most for count in taken.values()):
            break
        too_long = len(review.text.split()) > MAX_WORDS
        for name, rewrite in rewriters.items():
            if taken[name] >= most:
                continue
            made = f"over {MAX_WORDS} words" if too_long else rewrite(review, taken[name])
            if isinstance(made, str):
                left[name][made] += 1
            else:
                taken[name] += 1
                pairs += made
    return Rewritten(pairs, taken, {name: dict(counts) for name, counts in left.items()})


def _gender_pairs(review: Review) -> list[Pair] | str:
    found = reading(review.text)
    if found.gender is None:
        return found.reason
    if _any_name().search(review.text):  # "Peter ... she" would say that Peter is a woman
        return "a given name beside gendered words"
    texts = {
        FEMININE: swapped(review.text, FEMININE),
        MASCULINE: swapped(review.text, MASCULINE),
    }
    # one of the two is the review itself; turning may not touch a word of its own gender
    assert texts[found.gender] == review.text
    return [
        Pair(REVIEWS, WORDS, GENDER_WORDS, "women", "men", "words for women", "words for men",
             _cluster(review), review.label, texts[FEMININE], texts[MASCULINE])
    ]  # fmt: skip


def _name_pairs(review: Review, turn: int, axes: list[Axis]) -> list[Pair] | str:
    names = {match[0] for match in _any_name().finditer(review.text)}
    if len(names) != 1:
        return "several given names" if names else "no given name"
    (name,) = names
    if not all(_stands_alone(review.text, match) for match in _any_name().finditer(review.text)):
        return "a given name with a surname or title"
    gender = _gender_of_names()[name]
    pairs = []
    for axis in axes:
        fitting = [
            [term for term in group.terms if _gender_of_names().get(term, gender) == gender]
            for group in axis.groups
        ]
        if not all(fitting):  # an axis of gender: pronouns beside the name would no longer fit
            continue
        reference = fitting[0][turn % len(fitting[0])]
        for group, terms in zip(axis.others, fitting[1:], strict=True):
            term = terms[turn % len(terms)]
            pairs.append(
                Pair(REVIEWS, NAMES, axis.name, group.name, axis.reference.name, term, reference,
                     _cluster(review), review.label, _renamed(review.text, name, term),
                     _renamed(review.text, name, reference))
            )  # fmt: skip
    controls = [term for term in _controls()[_PLURAL[gender]] if term != name]
    term, other = controls[turn % len(controls)], controls[(turn + 1) % len(controls)]
    pairs.append(
        Pair(REVIEWS, NAMES, CONTROL, _PLURAL[gender], _PLURAL[gender], term, other,
             _cluster(review), review.label, _renamed(review.text, name, term),
             _renamed(review.text, name, other))
    )  # fmt: skip
    return pairs


_INITIAL = re.compile(r"[A-Z]\.")
_SURNAME = re.compile(r"(?:['’]s)? [A-Z][\w.]")
_PLURAL: dict[Gender, str] = {FEMININE: "women", MASCULINE: "men"}


def _trait_pairs(review: Review, turn: int, axes: list[Axis]) -> list[Pair] | str:
    match = _person_pattern().search(review.text)
    if match is None:
        return "nobody named by a bare noun"

    def with_trait(trait: str) -> str:
        shouted = match[1].isupper() and match[2].isupper() and len(match[2]) > 1
        phrase = f"{match[1]} {trait.upper() if shouted else trait} {match[2]}"
        return review.text[: match.start()] + with_article(phrase) + review.text[match.end() :]

    def pair(axis: str, group: str, reference: str, term: str, other: str) -> Pair:
        return Pair(REVIEWS, MARKERS, axis, group, reference, term, other, _cluster(review),
                    review.label, with_trait(term), with_trait(other))  # fmt: skip

    pairs = []
    for axis in axes:
        references = axis.reference.terms
        for group in axis.others:
            term = group.terms[turn % len(group.terms)]
            pairs.append(
                pair(
                    axis.name,
                    group.name,
                    axis.reference.name,
                    term,
                    references[turn % len(references)],
                )
            )
    traits = _controls()["markers"]
    term, other = traits[turn % len(traits)], traits[(turn + 1) % len(traits)]
    return [*pairs, pair(CONTROL, "markers", "markers", term, other)]


def _synonym_pairs(review: Review) -> list[Pair] | str:
    match = _synonym_pattern().search(review.text)
    if match is None:
        return "none of the words that have a synonym"
    word = match[0].lower()
    other = _synonyms()[word]

    def turn(found: re.Match[str]) -> str:
        if found[0].isupper():
            return other.upper()
        return other.capitalize() if found[0][0].isupper() else other

    text = re.sub(rf"(?<![\w-]){word}(?![\w-])", turn, review.text, flags=re.IGNORECASE)
    return [
        Pair(REVIEWS, WORDS, CONTROL, "synonyms", "synonyms", other, word, _cluster(review),
             review.label, text, review.text)
    ]  # fmt: skip


def _cluster(review: Review) -> str:
    return f"review {review.place}"


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """No capitalised word beside it, which would be a surname, a title or an initial."""
    before = text[: match.start()].rsplit(maxsplit=1)
    previous = before[-1] if before and text[match.start() - 1] == " " else ""
    named_before = (previous[:1].isupper() and previous[-1].isalpha()) or _INITIAL.fullmatch(
        previous
    )
    return not named_before and not _SURNAME.match(text, match.end())


def _renamed(text: str, name: str, other: str) -> str:
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", other, text)


@cache
def _gender_of_names() -> dict[str, Gender]:
    data = read("given_names")
    genders: tuple[Gender, ...] = (FEMININE, MASCULINE)
    return {name: gender for gender in genders for name in data[gender]}


@cache
def _any_name() -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, _gender_of_names()), key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")


@cache
def _person_pattern() -> re.Pattern[str]:
    data = read("persons")
    determiners, nouns = "|".join(data["determiners"]), "|".join(data["nouns"])
    return re.compile(rf"(?<![\w'’-])({determiners}) ({nouns})(?![\w-])", re.IGNORECASE)


@cache
def _controls() -> dict[str, list[str]]:
    return read("controls")


@cache
def _synonyms() -> dict[str, str]:
    pairs: Iterator[tuple[str, str]] = iter(read("controls")["synonyms"])
    both: dict[str, str] = {}
    for first, second in pairs:
        both |= {first: second, second: first}
    return both


@cache
def _synonym_pattern() -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{'|'.join(_synonyms())})(?![\w-])", re.IGNORECASE)
