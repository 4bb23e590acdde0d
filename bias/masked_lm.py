"""Masked language models with their weights, as the audit asks them.

N rows, B batch, T steps, V tokens of the vocabulary, D hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForMaskedLM

from bias.batches import batches_by_length, padded
from bias.pretrained import display_name, load_model, load_tokenizer, vocabulary_of
from bias.stored_logits import MASK, StoredLogits, read_logits

_TOKENS_PER_BATCH = 4096
_LOGITS_PER_BATCH = 30_000_000  # 120 MB of float32

Advance = Callable[[int], None]


class Masked(NamedTuple):
    """One question to the model: how likely is `target` at `position` of `input_ids`."""

    input_ids: tuple[int, ...]
    position: int
    target: int


class Unmasked(NamedTuple):
    """A sentence read whole, without [CLS] and [SEP]: per token its log-probability (T,) and the
    attention paid to it (T,), averaged over layers, heads and queries."""

    log_probabilities: NDArray[np.float64]
    attention: NDArray[np.float64]


class Encoded(NamedTuple):
    """A sentence as the model reads it: ids with special tokens, and the word each belongs to
    (None for special tokens)."""

    input_ids: tuple[int, ...]
    words: tuple[int | None, ...]


class LiveModel:
    """A masked language model with its weights."""

    def __init__(self, name_or_folder: str, device: str = "cpu") -> None:
        """Load weights (safetensors only, no remote code) and tokenizer.

        Raises:
            ValueError: not found, not a masked language model, or no fast tokenizer; one line.
        """
        self.name = display_name(name_or_folder)
        self.device = device
        self.model, report = load_model(name_or_folder, AutoModelForMaskedLM)
        if report["missing_keys"]:
            raise ValueError(
                f"{name_or_folder}: its weights have no masked-LM head (missing: "
                f"{sorted(report['missing_keys'])[0]}), so it cannot fill in a blank; give a "
                "masked language model, such as google-bert/bert-base-uncased"
            )
        self.model.to(device).eval()
        self.tokenizer = load_tokenizer(name_or_folder)
        if self.tokenizer.mask_token is None:
            raise ValueError(f"{name_or_folder}: its tokenizer has no mask token")
        self.vocabulary = vocabulary_of(self.tokenizer, int(self.model.config.vocab_size))

    @property
    def max_length(self) -> int:
        """T at most."""
        return int(min(self.tokenizer.model_max_length, self.model.config.max_position_embeddings))

    def knows(self, sentence: str) -> bool:
        return True

    def logits_at_mask(
        self, sentences: Sequence[str], advance: Advance | None = None
    ) -> NDArray[np.float32]:
        """(N, V), in order. `advance` is told after each batch how many were done.

        Raises:
            ValueError: a sentence without a mask, with two, or too long.
        """
        rows = [self.encode(s.replace(MASK, self.tokenizer.mask_token)).input_ids
                for s in sentences]  # fmt: skip
        positions = [_only_mask(ids, self.tokenizer.mask_token_id, s)
                     for ids, s in zip(rows, sentences, strict=True)]  # fmt: skip
        logits = np.empty((len(rows), len(self.vocabulary)), np.float32)
        for batch in self._batches([len(row) for row in rows]):
            out = self._forward([rows[i] for i in batch]).logits  # (B, T, V)
            at = torch.tensor([positions[i] for i in batch], device=self.device)
            chosen = out[torch.arange(len(batch), device=self.device), at]  # (B, V)
            logits[batch] = chosen.float().cpu().numpy()
            if advance:
                advance(len(batch))
        return logits

    def encode(self, sentence: str) -> Encoded:
        """Ids and word numbers of one sentence."""
        encoding = self.tokenizer(sentence)
        if len(encoding.input_ids) > self.max_length:
            raise ValueError(
                f"{self.name}: a sentence has {len(encoding.input_ids)} tokens, the model reads "
                f"{self.max_length}: {sentence[:60]!r}"
            )
        return Encoded(tuple(encoding.input_ids), tuple(encoding.word_ids()))

    @property
    def mask_id(self) -> int:
        """The id of the mask token."""
        return int(self.tokenizer.mask_token_id)

    def score(self, rows: Sequence[Masked], advance: Advance | None = None) -> NDArray[np.float64]:
        """log p(target at position | input_ids), in nats, (N,)."""
        scores = np.empty(len(rows))
        for batch in self._batches([len(row.input_ids) for row in rows]):
            chosen = [rows[i] for i in batch]
            out = self._forward([row.input_ids for row in chosen]).logits  # (B, T, V)
            at = torch.tensor([row.position for row in chosen], device=self.device)
            target = torch.tensor([row.target for row in chosen], device=self.device)
            index = torch.arange(len(batch), device=self.device)
            logits = out[index, at].double().log_softmax(-1)  # (B, V)
            scores[batch] = logits[index, target].cpu().numpy()
            if advance:
                advance(len(batch))
        return scores

    def read_unmasked(
        self, sentences: Sequence[str], advance: Advance | None = None
    ) -> list[Unmasked]:
        """Every sentence in one pass, nothing masked, for AUL and AULA."""
        rows = [self.encode(sentence).input_ids for sentence in sentences]
        read: dict[int, Unmasked] = {}
        for batch in self._batches([len(row) for row in rows]):
            chosen = [rows[i] for i in batch]
            out = self._forward(chosen, output_attentions=True)
            # layers of (B, heads, T, T) -> (B, layers·heads, queries T, keys T)
            attention = torch.cat(out.attentions, 1).double()
            logits = out.logits.double().log_softmax(-1)  # (B, T, V)
            for place, (i, row) in enumerate(zip(batch, chosen, strict=True)):
                length = len(row)
                targets = torch.tensor(row, device=self.device)
                own = logits[place, torch.arange(length, device=self.device), targets]
                paid = attention[place, :, :length, :length].mean((0, 1))  # (T,)
                read[i] = Unmasked(own[1:-1].cpu().numpy(), paid[1:-1].cpu().numpy())
            if advance:
                advance(len(batch))
        return [read[i] for i in range(len(rows))]

    def embed(
        self, sentences: Sequence[str], advance: Advance | None = None
    ) -> NDArray[np.float64]:
        """(N, D): the encoder's state at [CLS], without the head."""
        return _embed(self.model.base_model, self.tokenizer, sentences, self.device, advance)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        most = min(_TOKENS_PER_BATCH, max(1, _LOGITS_PER_BATCH // len(self.vocabulary)))
        return batches_by_length(lengths, most)

    def _forward(self, rows: Sequence[tuple[int, ...]], output_attentions: bool = False) -> Any:
        input_ids, attention_mask = padded(rows, self.tokenizer.pad_token_id, self.device)
        if output_attentions:
            self.model.set_attn_implementation("eager")  # the only one that gives them out
        with torch.inference_mode():
            return self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                output_attentions=output_attentions,
            )


class SentenceEncoder:
    """Any encoder, with or without a masked-LM head, as embeddings of sentences."""

    def __init__(self, name_or_folder: str, device: str = "cpu") -> None:
        """Errors as `LiveModel`'s, but for the head, which is not needed."""
        self.name = display_name(name_or_folder)
        self.device = device
        self.model, _ = load_model(name_or_folder, AutoModel)
        self.model.to(device).eval()
        self.tokenizer = load_tokenizer(name_or_folder)

    def embed(
        self, sentences: Sequence[str], advance: Advance | None = None
    ) -> NDArray[np.float64]:
        """(N, D): the last layer's state at [CLS], as May et al. 2019 take it."""
        return _embed(self.model, self.tokenizer, sentences, self.device, advance)


def open_models(
    target: str, vocabulary: Path | None = None, device: str = "cpu"
) -> list[LiveModel] | list[StoredLogits]:
    """A folder or hub name gives one model, a parquet file of logits one for each that it holds.

    Raises:
        ValueError: nothing there, or nothing that can fill in a blank; one line.
    """
    if target.endswith(".parquet"):
        if not Path(target).is_file():
            raise ValueError(f"{target}: no such file of stored logits")
        return read_logits(Path(target), vocabulary)
    return [LiveModel(target, device)]


def _only_mask(ids: Sequence[int], mask_id: int, sentence: str) -> int:
    count = list(ids).count(mask_id)
    if count != 1:
        raise ValueError(f"prompt {sentence!r}: found {count} masks; expected exactly one {MASK}")
    return list(ids).index(mask_id)


def _embed(
    encoder: Any, tokenizer: Any, sentences: Sequence[str], device: str, advance: Advance | None
) -> NDArray[np.float64]:
    rows = [tuple(tokenizer(sentence).input_ids) for sentence in sentences]
    embedded = np.empty((len(rows), int(encoder.config.hidden_size)))
    for batch in batches_by_length([len(row) for row in rows], _TOKENS_PER_BATCH):
        ids, mask = padded([rows[i] for i in batch], tokenizer.pad_token_id, device)
        with torch.inference_mode():
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, D)
        embedded[batch] = states[:, 0].double().cpu().numpy()
        if advance:
            advance(len(batch))
    return embedded
