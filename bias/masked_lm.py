"""Masked language models by folder or hub name; the audit's one file that imports transformers.

N rows, B batch, T steps, V tokens of the vocabulary, D hidden size.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging

from bias.batches import batches_by_length, padded
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
        self.model, report = _load(name_or_folder, AutoModelForMaskedLM)
        if report["missing_keys"]:
            raise ValueError(
                f"{name_or_folder}: its weights have no masked-LM head (missing: "
                f"{sorted(report['missing_keys'])[0]}), so it cannot fill in a blank; give a "
                "masked language model, such as google-bert/bert-base-uncased"
            )
        self.model.to(device).eval()
        self.tokenizer = _tokenizer(name_or_folder)
        if self.tokenizer.mask_token is None:
            raise ValueError(f"{name_or_folder}: its tokenizer has no mask token")
        self.vocabulary = _vocabulary(self.tokenizer, int(self.model.config.vocab_size))

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
        self.model, _ = _load(name_or_folder, AutoModel)
        self.model.to(device).eval()
        self.tokenizer = _tokenizer(name_or_folder)

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


def display_name(name_or_folder: str) -> str:
    """A hub name as it is; of a folder its last part, but for the `model` of a training run."""
    path = Path(name_or_folder)
    if not path.is_dir():
        return name_or_folder
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name


def _load(name_or_folder: str, kind: Any) -> tuple[Any, dict[str, Any]]:
    try:
        if Path(name_or_folder).is_file():  # which would be read as a pickle
            raise OSError("it is a file, expected a folder")
        config = AutoConfig.from_pretrained(name_or_folder, trust_remote_code=False)
        with _quiet():  # its report on missing weights, which the caller words itself
            model, report = kind.from_pretrained(
                name_or_folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")[:200]
        raise ValueError(
            f"{name_or_folder}: cannot be loaded as a masked language model ({reason}); give a "
            "folder with config.json, model.safetensors and a tokenizer, or a hub name where the "
            "network is reachable"
        ) from error
    return model, report


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _tokenizer(name_or_folder: str) -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(f"{name_or_folder}: no tokenizer beside the model ({reason})") from error
    if not tokenizer.is_fast:
        raise ValueError(f"{name_or_folder}: its tokenizer has no tokenizer.json, which is needed")
    return tokenizer


def _vocabulary(tokenizer: Any, size: int) -> list[str]:
    """Tokens by id, in WordPiece's writing whatever the tokenizer: `##` continues a word.

    Byte-level BPE and SentencePiece mark the other kind, the beginning of a word.
    """
    named = [str(t) for t in tokenizer.convert_ids_to_tokens(range(min(size, len(tokenizer))))]
    special = set(tokenizer.all_special_tokens)
    begin = next((sign for sign in ("Ġ", "▁") if any(t.startswith(sign) for t in named)), None)
    if begin is not None:
        named = [
            token if token in special else token[1:] if token.startswith(begin) else f"##{token}"
            for token in named
        ]
    return named + [f"[unused-{i}]" for i in range(len(named), size)]


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
