"""Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599), folded into the head.

Dividing the head's weights by the temperature divides every logit by it: no label changes, and
whatever is exported or served is calibrated without knowing of it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from models.classifier import Classifier
from training.metrics import cross_entropy

_RANGE = (0.05, 20.0)  # beyond it the logits carry no probability to speak of
_SIGMA = 0.5  # of log T beforehand: 95% of the temperatures lie between 0.38 and 2.7
_CHI_SQUARE = 3.84  # 95th percentile at one degree of freedom


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T by which to divide `logits` (N, C) for `labels` (N,).

    It minimises the cross-entropy of softmax(logits / T) with a normal prior on log T around 0:
    without one, reviews that are all answered rightly, as few may be, want a T of 0. It is 1, no
    change, unless the labels reject that: a likelihood ratio 2 N (loss(1) - loss(T)) above 3.84.

    Both terms are convex in 1/T where T > 1/e, so that there is one minimum there at most.
    """

    def loss(log_t: float) -> float:
        return cross_entropy(logits / np.exp(log_t), labels)

    n, logits = len(labels), logits.astype(np.float64)
    found = minimize_scalar(lambda log_t: loss(log_t) + log_t**2 / (2 * _SIGMA**2 * n),
                            bounds=np.log(_RANGE), method="bounded",
                            options={"xatol": 1e-5})  # fmt: skip
    ratio = 2 * n * (loss(0.0) - loss(found.x))
    return float(np.exp(found.x)) if ratio > _CHI_SQUARE else 1.0


@torch.no_grad()
def fold_temperature(model: Classifier, temperature: float) -> None:
    """Divide the model's logits by `temperature`, for good."""
    model.head.weight.div_(temperature)
    model.head.bias.div_(temperature)
