"""Which tokens speak for the label: each token's probability share by leaving it out.

Occlusion (Zeiler & Fergus 2014, https://arxiv.org/abs/1311.2901; for text: Li et al. 2016,
https://arxiv.org/abs/1612.08220): the text is scored again without each token, and the token weighs
what the label's probability loses. N tokens cost N rows, computed together.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.classifier import TextClassifier


def attributions(
    classifier: TextClassifier, text: str, probabilities: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """For each token of `text` that the model reads: `token`, `start` and `end` in the text (in
    characters), `weight`: what the text's label loses of its probability without it, in [-1, 1].

    `probabilities` (2,) are those of the whole text. Special tokens are not left out. The
    weights need not sum to anything.
    """
    ids, tokens, offsets = classifier.token_ids(text)
    places = [i for i, (start, end) in enumerate(offsets) if end > start]
    without = classifier.probabilities_of([ids[:i] + ids[i + 1 :] for i in places])  # (N, 2)
    label = int(np.argmax(probabilities))
    weights = probabilities[label] - without[:, label]  # (N,)
    return [
        {
            "token": tokens[i],
            "start": offsets[i][0],
            "end": offsets[i][1],
            "weight": round(float(weight), 6),
        }
        for i, weight in zip(places, weights, strict=True)
    ]
