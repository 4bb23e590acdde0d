"""Reread a text with its gendered words turned to the other gender, or say why that cannot be done.

English has pairs for most of them (`wording/gender_words.yaml`), but two pronouns have two
counterparts: *her* is *his* (her book) or *him* (saw her), *his* is *her* (his book) or *hers* (is
his). The next word decides, by lists; what that is worth is measured on texts whose pronouns are
known (`tests/bias/test_gender_words.py`). A word keeps its capitals, and a possessive its ending.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from bias.wording import read

Gender = Literal["feminine", "masculine"]
FEMININE: Gender = "feminine"
MASCULINE: Gender = "masculine"

_FOLLOWING = re.compile(r"[^\S\n]+[\"“‘'(]*([\w'’]+)")
_CAPITALISED = re.compile(r"[^\W\d_]*[A-Z]")


@dataclass(frozen=True)
class Reading:
    """A text's gendered words: their one gender, or why there is no counterpart to the text."""

    gender: Gender | None
    words: int
    reason: str = ""


@dataclass(frozen=True)
class _Words:
    masculine_of: dict[str, str]
    feminine_of: dict[str, str]
    generic: frozenset[str]
    bound: frozenset[str]
    after_him: frozenset[str]
    after_hers: frozenset[str]
    pattern: re.Pattern[str]


def reading(text: str) -> Reading:
    """Whether a text speaks of one gender only, in words that all have a counterpart.

    A text that mentions both is left out: "my husband and his sister" turned to one gender would
    change who is married to whom, and turned both ways would not differ on average.
    """
    known = _words()
    found = list(known.pattern.finditer(text))
    lowered = [match[0].lower() for match in found]
    for word in lowered:
        if word in known.bound:
            return Reading(None, 0, "a word without a counterpart")
    for match in found:
        if _in_a_name(text, match):
            return Reading(None, 0, "a gendered word within a name or title")
    feminine = sum(_gender(word) == FEMININE for word in lowered)
    masculine = sum(_gender(word) == MASCULINE for word in lowered)
    if feminine and masculine:
        return Reading(None, feminine + masculine, "both genders")
    if not feminine and not masculine:
        return Reading(None, 0, "no gendered word")
    return Reading(FEMININE if feminine else MASCULINE, feminine + masculine)


def swapped(text: str, to: Gender) -> str:
    """The text with every word of the other gender turned to `to`."""
    known = _words()

    def turn(match: re.Match[str]) -> str:
        word = match[0].lower()
        following = _FOLLOWING.match(text, match.end())
        after = following[1].lower() if following else ""
        if to == MASCULINE and word == "her":
            other = "him" if not after or after in known.after_him else "his"
        elif to == FEMININE and word == "his":
            other = "hers" if not after or after in known.after_hers else "her"
        else:
            table = known.masculine_of if to == MASCULINE else known.feminine_of
            other = word if word in known.generic else table.get(word, word)
        # a word that stays keeps its letters too: SHe is a slip of the writer's, not ours to mend
        return match[0] if other == word else _capitals(match[0], other)

    return known.pattern.sub(turn, text)


def _gender(word: str) -> Gender | None:
    known = _words()
    if word in known.generic:
        return None
    if word in known.masculine_of or word == "her":
        return FEMININE
    return MASCULINE if word in known.feminine_of or word == "his" else None


def _in_a_name(text: str, match: re.Match[str]) -> bool:
    """Capitalised beside another capitalised word in a line that is not all capitals: Iron Man."""
    word = match[0]
    if not word[0].isupper() or word.isupper() or word.lower() in ("he", "she", "his", "her"):
        return False
    before = re.search(r"([\w'’]+)[^\S\n]+$", text[: match.start()][-40:])
    after = _FOLLOWING.match(text, match.end())
    # a capital after a full stop is the sentence's own, so that only the word after it can tell
    neighbours = [before[1] if before else "", after[1] if after else ""]
    return any(_CAPITALISED.match(n) and n not in ("I", "I'm", "I've") for n in neighbours)


def _capitals(model: str, word: str) -> str:
    if model.isupper() and len(model) > 1:
        return word.upper()
    return word.capitalize() if model[0].isupper() else word


@cache
def _words() -> _Words:
    data = read("gender_words")
    pairs = data["pairs"] + [["her", "him"], ["hers", "his"]]
    masculine_of: dict[str, str] = {}
    feminine_of: dict[str, str] = {}
    for feminine, masculine in pairs:
        masculine_of.setdefault(feminine, masculine)
        feminine_of.setdefault(masculine, feminine)
    all_words = {*masculine_of, *feminine_of, *data["bound"]}
    longest_first = sorted(all_words, key=lambda word: (-len(word), word))
    # not within a longer or hyphenated word: spider-man stays
    alternatives = "|".join(map(re.escape, longest_first))
    pattern = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.IGNORECASE)
    lists = {
        name: frozenset(data[name]) for name in ("generic", "bound", "after_him", "after_hers")
    }
    return _Words(masculine_of, feminine_of, pattern=pattern, **lists)
