"""Texts without labels, as pieces of token ids; each with its counterfactual beside it.

N pieces; a review that is longer than a piece gives several.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.fingerprint import Fingerprint, digest
from training.mlm.config import MaskedConfig
from training.mlm.counterfactual import Swaps
from training.unlabelled import unlabelled_split

Piece = NDArray[np.int32]
_FEWEST_TEXTS = 10


@dataclass(frozen=True)
class Pieces:
    """`plain[i]` and `swapped[i]` are the same words, ids with [CLS] and [SEP]. Where nothing was
    swapped they are one array."""

    plain: list[Piece]
    swapped: list[Piece]
    changed_texts: int
    texts: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,): of the longer of the two."""
        pairs = zip(self.plain, self.swapped, strict=True)
        return np.array([max(len(a), len(b)) for a, b in pairs], np.int64)

    def fingerprint(self) -> Fingerprint:
        """Of what a model trained on: token ids, so that a tokenizer's change shows too."""
        parts = {"texts": self.plain, "swapped texts": self.swapped}
        return {
            name: digest(np.array([len(piece) for piece in pieces]), *pieces)
            for name, pieces in parts.items()
        }


def read_texts(config: MaskedConfig) -> list[str]:
    """All texts of the sources' training rows. Labels are not looked at: a parquet file or a .txt
    file of one text a line may be without.

    Raises:
        ValueError: no texts, or too few of them.
    """
    texts: list[str] = []
    for source in config.sources:
        every = (reviews.texts for reviews in unlabelled_split(source).read(config.text))
        texts += islice(chain.from_iterable(every), config.limit)
    texts = [text for text in texts if text.strip()][: config.limit]
    if len(texts) < _FEWEST_TEXTS:
        raise ValueError(
            f"--data {' '.join(config.sources)}: {len(texts)} texts; a masked language model "
            f"needs {_FEWEST_TEXTS} at least"
        )
    return texts


def cut(texts: list[str], swaps: Swaps | None, tokenizer: Tokenizer, max_length: int) -> Pieces:
    """Tokenise, and cut into pieces of at most `max_length` with [CLS] and [SEP].

    Cuts fall on words, after the same words in both versions, so that a piece and its counterpart
    differ in the swapped words alone.
    """
    cls, sep = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    plain: list[Piece] = []
    swapped: list[Piece] = []
    changed = 0
    for text in texts:
        other = swaps.apply(text) if swaps else text
        versions = [_by_word(tokenizer, text)]
        if other != text:
            changed += 1
            versions.append(_by_word(tokenizer, other))
        for start, end in _cuts(versions, max_length - 2):
            pieces = [
                np.array([cls, *(i for word in words[start:end] for i in word), sep], np.int32)
                for words in versions
            ]
            plain.append(pieces[0])
            swapped.append(pieces[-1])
    return Pieces(plain, swapped, changed, len(texts))


def _by_word(tokenizer: Tokenizer, text: str) -> list[list[int]]:
    encoding = tokenizer.encode(text, add_special_tokens=False)
    words: list[list[int]] = []
    before: int | None = None
    for token_id, word in zip(encoding.ids, encoding.word_ids, strict=True):
        if word != before or not words:
            words.append([])
        words[-1].append(token_id)
        before = word
    return words


def _cuts(versions: list[list[list[int]]], room: int) -> Iterator[tuple[int, int]]:
    """Ranges of words whose tokens fit into `room` in every version."""
    count = min(len(words) for words in versions)
    start, used = 0, [0] * len(versions)
    for i in range(count):
        sizes = [min(len(words[i]), room) for words in versions]
        if any(u + s > room for u, s in zip(used, sizes, strict=True)):
            yield start, i
            start, used = i, [0] * len(versions)
        used = [u + s for u, s in zip(used, sizes, strict=True)]
    if start < count:
        yield start, count
