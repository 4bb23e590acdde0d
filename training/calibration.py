"""Temperature scaling (Guo et al. 2017, https://arxiv.org/abs/1706.04599), folded into the head.

Dividing the head's weights by the temperature divides every logit by it: no label changes, and
whatever is exported or served is calibrated without knowing of it.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.classifier import Classifier

_RANGE = (0.05, 20.0)  # beyond it the logits carry no probability to speak of


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T for which softmax(`logits` (N, C) / T) has the least cross-entropy with `labels` (N,).

    One minimum at most: the loss is convex in 1/T.
    """

    def loss(log_t: float) -> float:
        scaled = log_softmax(logits.astype(np.float64) / np.exp(log_t), axis=1)
        return float(-scaled[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=np.log(_RANGE), method="bounded",
                            options={"xatol": 1e-5})  # fmt: skip
    return float(np.exp(found.x))


@torch.no_grad()
def fold_temperature(model: Classifier, temperature: float) -> None:
    """Divide the model's logits by `temperature`, for good."""
    model.head.weight.div_(temperature)
    model.head.bias.div_(temperature)
