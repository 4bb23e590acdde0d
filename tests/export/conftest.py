"""Tiny bundles of every architecture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from models.bundle import Bundle, save
from models.registry import ARCHITECTURES, build

WORDS = ["good", "bad", "book", "film", "the", "a", "it", "is", "was", "very", "not", "i"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = len(SPECIAL) + len(WORDS)
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


def word_tokenizer() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def tiny_bundle(architecture: str, **others: Any) -> Bundle:
    known = ARCHITECTURES[architecture].arguments
    arguments = {name: value for name, value in TINY.items() if name in known} | others
    torch.manual_seed(0)
    model = build(architecture, **arguments).eval()
    return Bundle(
        model=model,
        tokenizer=word_tokenizer(),
        architecture=architecture,
        arguments=arguments,
        labels=["negative", "positive"],
        max_length=256,
        provenance={"experiment": "tiny"},
    )


@pytest.fixture
def save_bundle(tmp_path: Path) -> Callable[..., Path]:
    """Saves a tiny bundle of an architecture; returns its folder."""

    def saved(architecture: str, **others: Any) -> Path:
        folder = tmp_path / architecture
        save(tiny_bundle(architecture, **others), folder)
        return folder

    return saved
