"""Labelled reviews as token ids: what accuracy is measured on. The one file that reads `training`'s
sources, so that an export is proved on whatever a model can be trained on."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


@dataclass(frozen=True)
class LabelledSet:
    """N reviews: their texts, their token ids, `labels` (N,) with 1 for positive."""

    source: str
    texts: list[str]
    rows: list[list[int]]
    labels: NDArray[np.int64]


def labelled_set(source: str, tokenizer: Tokenizer, max_length: int, limit: int) -> LabelledSet:
    """The first `limit` reviews of the source's test split (its only one, where it has but one),
    cut at `max_length` tokens.

    Raises:
        ValueError, FileNotFoundError: no such source, or one that cannot be read; one line.
    """
    from training.sources import open_source

    splits = open_source(source).splits
    split = splits.get("test") or next(iter(splits.values()))
    pairs = (
        pair
        for reviews in split.read("title+content")
        for pair in zip(reviews.texts, reviews.labels.tolist(), strict=True)
    )
    texts, labels = [], []
    for text, label in islice(pairs, limit):
        texts.append(text)
        labels.append(label)
    if not texts:
        raise ValueError(f"reviews: {source} has none; give a source with labelled reviews")
    return LabelledSet(source, texts, token_rows(tokenizer, texts, max_length), np.array(labels))


def accuracy_set(source: str, tokenizer: Tokenizer, max_length: int, limit: int) -> LabelledSet:
    """`labelled_set`, of more than one label: accuracy on one class says nothing of the other, and
    a source that is sorted by label begins with one.

    Raises:
        ValueError, FileNotFoundError: as `labelled_set`; all reviews have the same label.
    """
    reviews = labelled_set(source, tokenizer, max_length, limit)
    found = set(reviews.labels.tolist())
    if len(found) == 1:
        raise ValueError(
            f"--reviews: the first {len(reviews.rows)} of {source} all have the label "
            f"{found.pop()}, so that accuracy would be of one class; shuffle it or raise --limit"
        )
    return reviews


def token_rows(tokenizer: Tokenizer, texts: list[str], max_length: int) -> list[list[int]]:
    """Token ids of each text, [CLS] and [SEP] kept when it is cut at `max_length`."""
    cutting = Tokenizer.from_str(tokenizer.to_str())  # the caller's stays as it is
    cutting.enable_truncation(max_length)
    cutting.no_padding()
    return [encoding.ids for encoding in cutting.encode_batch(texts)]
