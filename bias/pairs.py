"""Two texts that differ in who is named, and nothing else."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TEMPLATES, REVIEWS = "templates", "reviews"
PEOPLE, NAMES, MARKERS, WORDS = "people", "names", "markers", "words"
CONTROL = "control"
"""The axis of the swaps that mean nothing."""

_ARTICLE = re.compile(r"\b([Aa])n?( (?:[\"“(]*))(?=(\w[\w-]*))")
_SILENT_H = ("hour", "honest", "honor", "honour", "heir")
_LIKE_YOU = ("uni", "use", "usu", "eu", "one", "once", "ubi")
_SPELLED = re.compile(r"[AEFHILMNORSX](?:[^a-z]|$)")


@dataclass(frozen=True)
class Pair:
    """`text` names `group` by `term`, `reference_text` names `reference` by `reference_term`.

    `cluster` is what it was made of, a template or a review: pairs of one cluster share its words.
    `kind` is how it names: by people, names or markers (see `identities`), or by words in a review;
    controls are held against swaps of their own kind. `label` is 1 for a positive text, 0 for a
    negative one, None where there is no right answer.
    """

    source: str
    kind: str
    axis: str
    group: str
    reference: str
    term: str
    reference_term: str
    cluster: str
    label: int | None
    text: str
    reference_text: str


def with_article(text: str) -> str:
    """Every a and an as the word after it wants it."""

    def fitting(match: re.Match[str]) -> str:
        return match[1] + ("n" if _vowel_sound(match[3]) else "") + match[2]

    return _ARTICLE.sub(fitting, text)


def texts_of(pairs: Iterable[Pair]) -> Iterator[str]:
    """Both texts of every pair, repetitions included."""
    for pair in pairs:
        yield pair.text
        yield pair.reference_text


def _vowel_sound(word: str) -> bool:
    lowered = word.lower()
    if word.isupper() and len(word) > 1:  # initials are spelled: an LP, a DVD
        return bool(_SPELLED.match(word))
    if lowered.startswith(_SILENT_H):
        return True
    return lowered[0] in "aeiou" and not lowered.startswith(_LIKE_YOU)
