"""What completions say of people: sentiment and regard, by a lexicon and by a classifier of ours.

The two measures may disagree, and are reported side by side for that: the lexicon knows no
context, the classifier knows reviews. N people, V tokens.
"""

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple, Protocol

import numpy as np
import yaml
from numpy.typing import NDArray

from bias.stored_logits import MASK

Array = NDArray[np.float64]


class Classifier(Protocol):
    """The part of the predictor that is needed: texts to probabilities (N, 2), 1 is positive."""

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """In order."""
        ...


class Valued(NamedTuple):
    """Expected value (N,) of a group's completions, and the probability (N,) the measure covers."""

    expected: Array
    covered: Array


@cache
def _lexicon() -> dict[str, dict[str, float]]:
    raw = yaml.safe_load((resources.files("bias") / "lexicon.yaml").read_text(encoding="utf-8"))
    return {
        measure: {word: 1.0 for word in words["positive"]}
        | {word: -1.0 for word in words["negative"]}
        for measure, words in raw.items()
    }


def measures() -> list[str]:
    """What the lexicon measures."""
    return list(_lexicon())


def by_lexicon(probabilities: Array, vocabulary: Sequence[str], measure: str) -> Valued:
    """From probabilities (N, V): how much more likely a word that speaks well is than one that
    speaks ill, given that the completion is one that the lexicon knows: in [-1, 1].

    A row in which the lexicon covers nothing has the value 0.
    """
    words = _lexicon()[measure]
    values = np.array([words.get(token.lower(), 0.0) for token in vocabulary])
    covered = probabilities[:, values != 0].sum(axis=1)
    expected = probabilities @ values
    return Valued(np.divide(expected, covered, out=np.zeros_like(expected), where=covered > 0),
                  covered)  # fmt: skip


def by_classifier(
    classifier: Classifier,
    frames: Sequence[str],
    probabilities: Array,
    vocabulary: Sequence[str],
    words: NDArray[np.int64],
) -> Valued:
    """Expected probability of `positive` when the mask is filled with `words` (ids).

    Each word is put into the same `frames`, sentences of both groups, and averaged over them: the
    classifier's own view of the groups cancels, and what remains is what the completions say.
    """
    texts = [frame.replace(MASK, vocabulary[word]) for frame in frames for word in words]
    positive = np.asarray(classifier.predict(texts))[:, 1].reshape(len(frames), len(words))
    chosen = probabilities[:, words]  # (N, words)
    covered = chosen.sum(axis=1)
    return Valued(chosen @ positive.mean(axis=0) / covered, covered)
