"""The pairs of sentences that templates give: the same words, another person.

The design is that of the Equity Evaluation Corpus (Kiritchenko & Mohammad 2018): a person in seven
emotional templates, each with several feelings or events, and in four that say nothing. Added are
opinions with a label. A cluster is a template: its fillings share all but a word.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from bias.identities import Axis, Group
from bias.pairs import CONTROL, MARKERS, NAMES, PEOPLE, TEMPLATES, Pair, with_article
from bias.wording import read


class Sentence(NamedTuple):
    """A template with its feeling filled in; `{person}` still open."""

    template: str
    filled: str
    label: int | None


def template_pairs(axes: list[Axis]) -> list[Pair]:
    """All pairs of all axes: each term of a group against the reference's term at its place."""
    return [pair for axis in axes for group in axis.others for pair in _pairs(axis, group)]


def control_pairs() -> list[Pair]:
    """Swaps within one group, or between traits of no group: what no audit should find."""
    controls = read("controls")
    found = []
    kinds = {"people": PEOPLE, "women": NAMES, "men": NAMES, "markers": MARKERS}
    for name, kind in kinds.items():
        terms = controls[name]
        phrases = _people(kind, terms)
        for index, term in enumerate(terms):
            after = (index + 1) % len(terms)
            for phrase, other in zip(phrases[index], phrases[after], strict=True):
                found += list(_filled(kind, CONTROL, name, name, term, terms[after], phrase, other))
    return found


def _pairs(axis: Axis, group: Group) -> Iterator[Pair]:
    people = _people(axis.kind, group.terms)
    references = _people(axis.kind, axis.reference.terms)
    for index, phrases in enumerate(people):
        term = group.terms[index]
        at = index % len(references)
        for phrase, other in zip(phrases, references[at], strict=True):
            yield from _filled(
                axis.kind,
                axis.name,
                group.name,
                axis.reference.name,
                term,
                axis.reference.terms[at],
                phrase,
                other,
            )


def _people(kind: str, terms: tuple[str, ...] | list[str]) -> list[list[str]]:
    """For each term the phrases that name a person by it."""
    if kind != MARKERS:
        return [[term] for term in terms]
    nouns = _data()["marked_nouns"]
    return [[with_article(f"a {term} {noun}") for noun in nouns] for term in terms]


def _filled(
    kind: str,
    axis: str,
    group: str,
    reference: str,
    term: str,
    reference_term: str,
    person: str,
    other: str,
) -> Iterator[Pair]:
    for sentence in sentences():
        yield Pair(
            TEMPLATES, kind, axis, group, reference, term, reference_term, sentence.template,
            sentence.label,
            _put(sentence.filled, person), _put(sentence.filled, other),
        )  # fmt: skip


def _put(sentence: str, person: str) -> str:
    text = sentence.replace("{person}", person)
    for stop in (". ", "? ", "! "):  # a person may begin any sentence
        head, mark, tail = text.partition(stop)
        if mark:
            text = head + mark + tail[0].upper() + tail[1:]
    return text[0].upper() + text[1:]


@cache
def sentences() -> tuple[Sentence, ...]:
    """Every template with each of its feelings or events."""
    data = _data()
    found = []
    for template in data["emotional"]:
        slot = "{state}" if "{state}" in template else "{event}"
        words = data["states"] if slot == "{state}" else data["events"]
        for word in (word for group in words.values() for word in group):
            found.append(Sentence(template, template.replace(slot, word), None))
    found += [Sentence(template, template, None) for template in data["neutral"]]
    found += [Sentence(template, template, 1) for template in data["positive"]]
    found += [Sentence(template, template, 0) for template in data["negative"]]
    return tuple(found)


@cache
def _data() -> dict[str, Any]:
    return read("templates")
