"""Weights and tokenizers by folder or hub name, and what can go wrong with them in one line.

Beside `bias.masked_lm` the audit's one file that imports transformers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from training.hub import hub_answers


def display_name(name_or_folder: str) -> str:
    """A hub name as it is; of a folder its last part, but for the `model` of a training run."""
    path = Path(name_or_folder)
    if not path.is_dir():
        return name_or_folder
    path = path.resolve()
    return path.parent.name if path.name == "model" else path.name


def load_model(name_or_folder: str, kind: Any) -> tuple[Any, dict[str, Any]]:
    """The model of a class of transformers', such as `AutoModel`, in float32, and what its weights
    lack. Safetensors only, no remote code. Where the hub does not answer, its cache has to do.

    Raises:
        ValueError: not found, or not such a model; one line.
    """
    local = _is_local(name_or_folder)
    try:
        if Path(name_or_folder).is_file():  # which would be read as a pickle
            raise OSError("it is a file, expected a folder")
        config = AutoConfig.from_pretrained(
            name_or_folder, trust_remote_code=False, local_files_only=local
        )
        with _quiet():  # its report on missing weights, which the caller words itself
            model, report = kind.from_pretrained(
                name_or_folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=local,
                output_loading_info=True,
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")[:200]
        if local and not Path(name_or_folder).exists():
            reason = "no such folder, and the hub does not answer"
        raise ValueError(
            f"{name_or_folder}: cannot be loaded as a masked language model ({reason}); give a "
            "folder with config.json, model.safetensors and a tokenizer, or a hub name where the "
            "network is reachable"
        ) from error
    return model, report


def _is_local(name_or_folder: str) -> bool:
    """Whether not to ask the hub, whose client would try each file again for half a minute."""
    return Path(name_or_folder).exists() or not hub_answers()


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


def load_tokenizer(name_or_folder: str) -> Any:
    """A fast tokenizer of transformers'. Errors as `load_model`'s."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name_or_folder, trust_remote_code=False, local_files_only=_is_local(name_or_folder)
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ValueError(f"{name_or_folder}: no tokenizer beside the model ({reason})") from error
    if not tokenizer.is_fast:
        raise ValueError(f"{name_or_folder}: its tokenizer has no tokenizer.json, which is needed")
    return tokenizer


def vocabulary_of(tokenizer: Any, size: int) -> list[str]:
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
