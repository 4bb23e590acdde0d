"""A tiny masked language model of random weights, and models whose answers are made up."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from bias.stored_logits import StoredLogits, read_logits

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "man", "woman", "works", "as", "a", "nurse", "engineer", "is", "good", "bad",
         "poor", "people", "rich", "she", "he", "that", "said", "run", "##ner", "##s", ".",
         ","]  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=32,
    )  # fmt: skip


@pytest.fixture(scope="session")
def config() -> BertConfig:
    return BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=16, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=32,
        initializer_range=0.5,  # answers that differ, though nothing was learned
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast, config: BertConfig
) -> Path:
    """Folder of a masked language model."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    BertForMaskedLM(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def headless(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast, config: BertConfig
) -> Path:
    """Folder of an encoder without a masked-LM head."""
    folder = tmp_path_factory.mktemp("headless")
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class MadeUp:
    """A model that answers with `answer(sentence) -> {token: log-probability-like logit}`."""

    def __init__(
        self,
        vocabulary: list[str],
        answer: Callable[[str], dict[str, float]],
        name: str = "made up",
    ) -> None:
        self.name, self.vocabulary, self._answer = name, vocabulary, answer

    def knows(self, sentence: str) -> bool:
        return True

    def logits_at_mask(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(sentences), len(self.vocabulary)), np.float32)
        for row, sentence in zip(rows, sentences, strict=True):
            for token, logit in self._answer(sentence).items():
                row[self.vocabulary.index(token)] = logit
        return rows


@pytest.fixture
def made_up() -> type[MadeUp]:
    return MadeUp


@pytest.fixture(scope="session")
def bert_logits(shared_data: Path) -> dict[str, StoredLogits]:
    """Real answers of BERT-large and Zari."""
    path = shared_data / "bert_mask_logits" / "logits.parquet"
    if not path.is_file():
        pytest.skip(f"needs the stored logits {path}")
    return {model.name: model for model in read_logits(path, shared_data / "bert-base-uncased")}
