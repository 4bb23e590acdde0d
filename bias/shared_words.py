"""Token ids of texts that share most of their words: each different word is tokenised once.

A pair differs in a word or two, templates repeat theirs, and reviews share a language: of the words
that an audit asks, about one in fifty is new. Reading the others from a table costs a tenth of
tokenising the text anew, which used to be a quarter of an audit's time.

This is exact where a tokenizer never looks across a space, as BERT's does not: such are recognised
by their parts, and any other keeps its own way. N texts.
"""

import json
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serve.classifier import TextClassifier
from serve.predictor import Predictor

# parts, as tokenizer.json names them, that treat what stands between two spaces for itself
_BY_ITSELF: dict[str, set[str | None]] = {
    "normalizer": {None, "BertNormalizer", "Lowercase"},
    "pre_tokenizer": {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"},
    "model": {"WordPiece", "WordLevel"},
    "post_processor": {None, "BertProcessing", "TemplateProcessing"},
}


class SharedWords:
    """The ids that `tokenizer`, truncated to `max_length`, gives to whole texts."""

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        """Raises ValueError for a tokenizer that looks across spaces; see `fits`."""
        if not fits(tokenizer):
            raise ValueError("tokenizer: may look across spaces, so that words cannot be shared")
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = self._tokenizer.encode("a")
        before = special.special_tokens_mask.index(0)
        after = special.special_tokens_mask[::-1].index(0)
        self._prefix = special.ids[:before]
        self._suffix = special.ids[len(special.ids) - after :]
        self._room = max_length - before - after
        self._ids: dict[str, list[int]] = {}

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, with those around it, at most `max_length` of them."""
        # at U+0020 alone: every tokenizer takes it for a space, which is not so of other characters
        words = [text.split(" ") for text in texts]
        new = list(set(chain.from_iterable(words)).difference(self._ids))
        encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        self._ids |= {word: each.ids for word, each in zip(new, encodings, strict=True)}
        return [self._row(each) for each in words]

    def _row(self, words: Sequence[str]) -> list[int]:
        ids = chain.from_iterable(map(self._ids.__getitem__, words))
        return [*self._prefix, *islice(ids, self._room), *self._suffix]


def fits(tokenizer: Tokenizer) -> bool:
    """Whether every part of a tokenizer stops at a space."""
    parts = json.loads(tokenizer.to_str())
    by_itself = all((parts[name] or {}).get("type") in kinds for name, kinds in _BY_ITSELF.items())
    return by_itself and not any(" " in token["content"] for token in parts["added_tokens"])


class WordwisePredictor:
    """A bundle's classifier with shared words; the same answers to the last bit."""

    def __init__(self, classifier: TextClassifier, words: SharedWords) -> None:
        self._classifier, self._words = classifier, words

    @property
    def labels(self) -> list[str]:
        """The names of the two columns."""
        return self._classifier.labels

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities (N, 2), in order."""
        return self._classifier.probabilities_of(self._words.rows(texts))


def sharing_words(predictor: Predictor, bundle: str | Path) -> Predictor:
    """The bundle's predictor with shared words, or as it is where its tokenizer does not fit."""
    assert isinstance(predictor, TextClassifier)
    tokenizer = Tokenizer.from_file(str(Path(bundle) / "tokenizer.json"))
    if not fits(tokenizer):
        return predictor
    return WordwisePredictor(predictor, SharedWords(tokenizer, predictor.max_length))
