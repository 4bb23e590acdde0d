"""Texts -> probabilities, over any backend: tokenised once, bucketed by length, in order.

N texts, B texts in a batch, T tokens in its longest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Backend = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""`input_ids` (B, T), `attention_mask` (B, T) -> logits (B, 2)."""

STRETCH = 4096  # texts tokenised at a time: bounds memory, and is plenty to sort by length in


@dataclass(frozen=True)
class Scores:
    """`probabilities` (N, 2) float64; `tokens` (N,) that the model read; `truncated` (N,) bool:
    whether the text had more tokens than the model reads."""

    probabilities: NDArray[np.float64]
    tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of all texts of some parts, of which there is one at least."""
    return Scores(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.truncated for part in parts]),
    )


class TextClassifier:
    """A tokenizer and a backend as one function.

    Texts are sorted by length and cut into batches of at most `batch_size` texts and `batch_tokens`
    tokens, padding included, so that a batch holds texts of like length and pads little; a text
    that occurs twice in a call is computed once.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        backend: Backend,
        labels: Sequence[str],
        max_length: int,
        batch_size: int = 32,
        batch_tokens: int = 8192,
    ) -> None:
        self.labels = list(labels)
        self.max_length = max_length
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        self._backend = backend
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())  # truncation is ours alone
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The probabilities (N, 2) of any number of texts, in their order."""
        return self.score(texts).probabilities

    def score(self, texts: Sequence[str]) -> Scores:
        """The probabilities of any number of texts, in their order, and what was read of each."""
        parts = [
            self._stretch(texts[start : start + STRETCH]) for start in range(0, len(texts), STRETCH)
        ]
        if not parts:
            empty = np.zeros(0, np.int64)
            return Scores(np.zeros((0, len(self.labels))), empty, empty.astype(np.bool_))
        return joined(parts)

    def probabilities_of(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """The probabilities (N, 2) of token ids, at most `max_length` a row, in their order."""
        lengths = np.array([len(row) for row in rows], np.int64)
        result = np.empty((len(rows), len(self.labels)))
        for batch in buckets(lengths, self.batch_size, self.batch_tokens):
            result[batch] = softmax(self._backend(*pad([rows[i] for i in batch])))
        return result

    def token_ids(self, text: str) -> tuple[list[int], list[str], list[tuple[int, int]]]:
        """The ids that the model reads of a text, the tokens, and where each lies in the text."""
        encoding = self._tokenizer.encode(text)
        return encoding.ids, encoding.tokens, encoding.offsets

    def _stretch(self, texts: Sequence[str]) -> Scores:
        places: dict[str, int] = {}
        inverse = [places.setdefault(text, len(places)) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(list(places))
        probabilities = self.probabilities_of([encoding.ids for encoding in encodings])
        tokens = np.array([len(encoding) for encoding in encodings], np.int64)
        truncated = np.array([bool(encoding.overflowing) for encoding in encodings])
        return Scores(probabilities[inverse], tokens[inverse], truncated[inverse])


def buckets(
    lengths: NDArray[np.int64], batch_size: int, batch_tokens: int
) -> Iterator[NDArray[np.int64]]:
    """Row numbers of batches of like length; every row once.

    The longest batch comes first, so that what is too large for the memory shows at once.
    """
    order = np.argsort(-lengths, kind="stable")  # (N,)
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        count = max(1, min(batch_size, batch_tokens // longest))
        yield order[start : start + count]
        start += count


def pad(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`input_ids` and `attention_mask` (B, T), padded on the right with 0 to the longest row."""
    lengths = np.array([len(row) for row in rows], np.int64)
    steps = max(1, int(lengths.max()))
    mask = np.arange(steps) < lengths[:, None]  # (B, T)
    input_ids = np.zeros((len(rows), steps), np.int64)
    input_ids[mask] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum()))
    return input_ids, mask.astype(np.int64)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Along the last dimension, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result
