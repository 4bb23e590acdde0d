"""Predictors whose bias is known, since it was put in by hand."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

PLANTED = 1.5  # log-odds taken from a text for each word about a woman
WOMEN = frozenset(
    ("woman", "sister", "mother", "wife", "daughter", "aunt", "grandmother", "girlfriend", "lady",
     "waitress", "she", "her", "hers", "herself")
)  # fmt: skip


class Additive:
    """Log-odds are the sum of a random weight for every word, of what some words lose by design,
    and of a random quirk for every text. A word's weight means nothing: names differ by chance."""

    def __init__(self, seed: int, scale: float = 0.3, quirk: float = 0.05, loss: float = 0.0,
                 lost_on: frozenset[str] = WOMEN) -> None:  # fmt: skip
        generator = np.random.default_rng(seed)
        self._weights: defaultdict[str, float] = defaultdict(lambda: generator.normal(0, scale))
        self._quirks: defaultdict[str, float] = defaultdict(lambda: generator.normal(0, quirk))
        self._loss, self._lost_on = loss, lost_on
        self.labels = ["negative", "positive"]
        self.asked: list[list[str]] = []

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N, 2)."""
        self.asked.append(list(texts))
        positive = self.positive(texts)
        return np.stack([1 - positive, positive], axis=1)

    def positive(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,)"""
        return 1 / (1 + np.exp(-np.array([self._logit(text) for text in texts])))

    def _logit(self, text: str) -> float:
        words = re.findall(r"\w+", text.lower())
        lost = self._loss * sum(word in self._lost_on for word in words)
        return sum(self._weights[word] for word in words) + self._quirks[text] - lost


@pytest.fixture
def additive() -> Callable[..., Additive]:
    return Additive
