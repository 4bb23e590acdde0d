"""Tiny classifiers of every architecture, and ragged batches. B reviews, T steps."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.classifier import Classifier
from models.registry import ARCHITECTURES, build

VOCABULARY = 50
TINY: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "embedding_size": 6,
    "hidden_size": 8,
    "embed_dim": 8,
    "hidden_dim": 12,
    "num_heads": 2,
    "num_layers": 2,
    "buckets": 64,
    "max_ngram": 3,
    "dropout": 0.1,
    "backbone": {
        "model_type": "bert",
        "vocab_size": VOCABULARY,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 256,
    },
}


def tiny_arguments(architecture: str, **others: Any) -> dict[str, Any]:
    """Small values of those arguments that the architecture takes; a new one is served unasked."""
    known = ARCHITECTURES[architecture].arguments
    return {name: value for name, value in TINY.items() if name in known} | others


def tiny_classifier(architecture: str, **others: Any) -> Classifier:
    torch.manual_seed(0)
    return build(architecture, **tiny_arguments(architecture, **others)).eval()


def ragged_batch(lengths: list[int], steps: int | None = None) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, T) of reviews of these lengths, padded to `steps` (the longest if None)."""
    steps = max(lengths) if steps is None else steps
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.zeros(len(lengths), steps, dtype=torch.int64)
    for row, length in enumerate(lengths):
        input_ids[row, :length] = torch.randint(1, VOCABULARY, (length,), generator=generator)
    mask = (torch.arange(steps) < torch.tensor(lengths).unsqueeze(1)).to(torch.int64)
    return input_ids, mask


@pytest.fixture(name="tiny_arguments")
def _tiny_arguments() -> Any:
    return tiny_arguments


@pytest.fixture(name="tiny_classifier")
def _tiny_classifier() -> Any:
    return tiny_classifier


@pytest.fixture(name="ragged_batch")
def _ragged_batch() -> Any:
    return ragged_batch
