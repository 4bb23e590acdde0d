"""The masked language model and its folder, readable by transformers' `from_pretrained`.

B pieces, T tokens, K hidden tokens, V vocabulary.
"""

import os
import shutil
from pathlib import Path

import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast
from transformers.utils import logging

from training.mlm.config import MaskedConfig
from training.mlm.masking import MaskedBatch

_SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]",
            "sep_token": "[SEP]", "mask_token": "[MASK]"}  # fmt: skip


class MaskedObjective(nn.Module):
    """The model with its loss: the head sees the hidden tokens only, which saves most of it."""

    def __init__(self, model: BertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MaskedBatch) -> Tensor:
        """The summed cross-entropy, in nats, over the K hidden tokens; a scalar."""
        states = self.model.bert(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state  # (B, T, D)
        logits = self.model.cls(states[batch.rows, batch.columns])  # (K, V)
        return F.cross_entropy(logits.float(), batch.targets, reduction="sum")


def make_model(config: MaskedConfig, vocabulary_size: int) -> BertForMaskedLM:
    """Weights drawn from torch's current random state."""
    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.hidden_size,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
            max_position_embeddings=config.max_length,
            pad_token_id=0,
            tie_word_embeddings=config.tied_embeddings,
            # BERT's 0.02 is for a width of 768; a narrow model would hardly start to learn from it.
            initializer_range=0.02 * (768 / config.hidden_size) ** 0.5,
        )
    )


def save_model(model: BertForMaskedLM, tokenizer: Tokenizer, max_length: int, folder: Path) -> None:
    """Weights as safetensors, configuration and tokenizer; whole or not at all."""
    partial = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    logging.disable_progress_bar()  # of a file that is written at once
    try:
        model.save_pretrained(partial)
    finally:
        logging.enable_progress_bar()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length, **_SPECIAL
    ).save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
