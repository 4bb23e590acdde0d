"""Counterfactual texts: the same sentence with the genders of its words exchanged.

Augmentation as in Lu et al. 2020 (https://arxiv.org/abs/1807.11714) and Zhao et al. 2018
(https://arxiv.org/abs/1804.06876). Word pairs come from a file of lines `word<TAB>other`: each line
says what `word` becomes, and where `other` has no line of its own it becomes `word`. Names are left
alone, so that whatever names carry stays in the data.
"""

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

_OWN = resources.files("training") / "mlm" / "gender_pairs.txt"
_WORD = re.compile(r"[A-Za-z]+(?:'am)?\b\.?|[A-Za-z]+")
# "her" is "him" before these and at the end of a clause, and "his" before anything else.
_AFTER_OBJECT = frozenset([
    "a", "about", "after", "again", "all", "alone", "also", "an", "and", "around", "as", "at",
    "away", "back", "because", "before", "but", "by", "down", "every", "for", "from", "had",
    "has", "he", "here", "how", "i", "if", "in", "into", "is", "it", "last", "later", "like",
    "more", "my", "next", "not", "now", "of", "off", "on", "once", "or", "out", "over", "she",
    "so", "some", "than", "that", "the", "their", "them", "then", "there", "they", "this",
    "through", "to", "today", "too", "tomorrow", "tonight", "under", "until", "up", "very",
    "was", "we", "were", "what", "when", "where", "while", "who", "why", "will", "with",
    "would", "yesterday", "you", "your",
])  # fmt: skip
_NEXT = re.compile(r" +([A-Za-z]+)")
_SAME_WORD = re.compile(r" +[A-Za-z]")


@dataclass(frozen=True)
class Swaps:
    """What each word becomes, in lower case. `her` may be missing: then the sentence decides
    between `him` and `his`."""

    name: str
    words: dict[str, str]

    def apply(self, text: str) -> str:
        """The counterfactual of `text`: equal to it where no word is listed. Capitals stay."""
        return _WORD.sub(lambda match: self._other(match, text), text)

    def _other(self, match: re.Match[str], text: str) -> str:
        found = match[0]
        word = found.lower()
        if word not in self.words and word.endswith("."):  # the end of a sentence, no abbreviation
            return self._one(found[:-1], text, match.end() - 1) + "."
        return self._one(found, text, match.end())

    def _one(self, found: str, text: str, end: int) -> str:
        word = found.lower()
        if word == "her" and "her" not in self.words and "he" in self.words:
            return _like(found, _his_or_him(text, end))
        if word == "his" and self.words.get("his") == "her" and not _SAME_WORD.match(text, end):
            return _like(found, "hers")
        other = self.words.get(word)
        return found if other is None else _like(found, other)


def read_swaps(path: Path | None = None) -> Swaps:
    """Our own list, or a file in the same format.

    Raises:
        ValueError: a line that is not two words, or an empty file; names the line.
        FileNotFoundError: no such file.
    """
    if path is None:
        return _parse(_OWN.read_text(encoding="utf-8"), "gender_pairs.txt")
    if not path.is_file():
        raise FileNotFoundError(f"--swaps {path}: no such file")
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise ValueError(f"--swaps {path}: not UTF-8 text") from None


def _parse(text: str, name: str) -> Swaps:
    words: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip().lower() for part in line.split("\t")]
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"--swaps {name}: line {number} is {line!r}; expected word<TAB>other")
        words.setdefault(parts[0], parts[1])
    if not words:
        raise ValueError(f"--swaps {name}: no pairs; expected lines of word<TAB>other")
    for word, other in list(words.items()):
        if other != "her":  # two words become "her": which of them it is, the sentence tells
            words.setdefault(other, word)
    return Swaps(name, words)


def _his_or_him(text: str, end: int) -> str:
    following = _NEXT.match(text, end)
    return "him" if following is None or following[1].lower() in _AFTER_OBJECT else "his"


def _like(found: str, other: str) -> str:
    """`other` with the capitals of `found`."""
    if found.isupper() and len(found) > 1:
        return other.upper()
    return other.capitalize() if found[0].isupper() else other
