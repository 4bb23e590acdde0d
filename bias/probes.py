"""Everything that a classifier is asked: pairs of texts, and reviews as they were written."""

from dataclasses import dataclass
from itertools import chain
from random import Random

import numpy as np

from bias.counterfactual import Probabilities
from bias.gender_words import FEMININE, MASCULINE, reading
from bias.group_metrics import Texts
from bias.identities import Axis
from bias.pairs import Pair, texts_of
from bias.review_swaps import Review, Rewritten, review_pairs
from bias.templates import control_pairs, template_pairs
from training.sources import open_source

ROWS_READ = 50_000
SPLITS = ("test", "validation", "train")
_SPOKEN_OF = {FEMININE: "women", MASCULINE: "men", None: "nobody"}


@dataclass(frozen=True)
class Probes:
    """What is asked, and what became of the source of reviews."""

    pairs: list[Pair]
    written: list[tuple[str, Review]]
    """Reviews as written, with whom they speak of."""
    rewritten: Rewritten
    reviews_read: int
    split: str

    @property
    def texts(self) -> list[str]:
        """Every text once."""
        own = [review.text for _, review in self.written]
        return list(dict.fromkeys(chain(texts_of(self.pairs), own)))

    def as_written(self, probabilities: Probabilities) -> Texts:
        """The reviews as written with their answers."""
        return Texts(
            [group for group, _ in self.written],
            [str(review.place) for _, review in self.written],
            np.array([review.label for _, review in self.written]),
            probabilities([review.text for _, review in self.written]),
        )


def make(axes: list[Axis], source: str, text: str, most: int, seed: int) -> Probes:
    """Templates of all axes, and up to `most` reviews of a source for each rewriting.

    Raises:
        ValueError, FileNotFoundError: the source cannot be read, as `training.sources` says it.
    """
    reviews, split = _reviews(source, text, seed)
    rewritten = review_pairs(reviews, axes, most)
    pairs = template_pairs(axes) + control_pairs() + rewritten.pairs
    return Probes(pairs, _written(reviews, most), rewritten, len(reviews), split)


def _reviews(source: str, text: str, seed: int) -> tuple[list[Review], str]:
    """The test split, else what is there, shuffled: sources may be sorted by label."""
    splits = open_source(source).splits
    split = next(name for name in SPLITS if name in splits)
    reviews: list[Review] = []
    for part in splits[split].read(text):
        for content, label in zip(part.texts, part.labels.tolist(), strict=True):
            reviews.append(Review(len(reviews) + 1, content, label))
        if len(reviews) >= ROWS_READ:
            break
    Random(seed).shuffle(reviews)
    return reviews, split


def _written(reviews: list[Review], most: int) -> list[tuple[str, Review]]:
    """Up to `most` reviews each that speak of women only, of men only, and of neither."""
    chosen: dict[str, list[Review]] = {name: [] for name in _SPOKEN_OF.values()}
    for review in reviews:
        found = reading(review.text)
        if found.gender is None and found.words:
            continue
        group = chosen[_SPOKEN_OF[found.gender]]
        if len(group) < most and (found.gender is not None or found.reason == "no gendered word"):
            group.append(review)
    return [(name, review) for name, group in chosen.items() for review in group]
