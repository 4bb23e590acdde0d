"""Logits at the mask that were computed once and kept: an audit without weights.

A parquet file with the columns `model`, `sentence` (with one [MASK]) and `logits`, one float a
token of the vocabulary. The vocabulary itself lies in a tokenizer's folder (`vocab.txt` or
`tokenizer.json`), by default the folder of the file. N sentences, V tokens.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

MASK = "[MASK]"
"""How prompts write the mask, whatever the model's own tokenizer calls it."""

COLUMNS = ("model", "sentence", "logits")


class MaskedLanguageModel(Protocol):
    """What the fill-mask audit needs of a model, live or stored."""

    name: str
    vocabulary: list[str]

    def knows(self, sentence: str) -> bool:
        """Whether `logits_at_mask` can answer for it."""
        ...

    def logits_at_mask(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Sentences with one [MASK] each -> (N, V), in order."""
        ...


class StoredLogits:
    """One model of such a file, answering as the live one would."""

    def __init__(self, name: str, vocabulary: list[str], logits: Mapping[str, NDArray]) -> None:
        self.name = name
        self.vocabulary = vocabulary
        self._logits = dict(logits)

    @property
    def sentences(self) -> list[str]:
        """What can be asked for."""
        return list(self._logits)

    def knows(self, sentence: str) -> bool:
        """Whether the logits of `sentence` were kept."""
        return sentence in self._logits

    def logits_at_mask(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """(N, V), in order.

        Raises:
            ValueError: a sentence that was not kept; names the nearest that was.
        """
        for sentence in sentences:
            if sentence not in self._logits:
                near = difflib.get_close_matches(sentence, self._logits, n=1, cutoff=0)
                raise ValueError(
                    f"{self.name}: no logits were kept for {sentence!r}; the nearest that were: "
                    f"{near[0]!r}; ask for that, or audit the model itself"
                )
        if not sentences:
            return np.empty((0, len(self.vocabulary)), np.float32)
        return np.stack([self._logits[sentence] for sentence in sentences])


def read_logits(path: Path, vocabulary: Path | None = None) -> list[StoredLogits]:
    """Every model of the file, in the order of first appearance.

    Raises:
        ValueError: not such a file, no vocabulary, or one of another size; one line.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not a parquet file of logits ({reason})") from error
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{path}: no column {missing[0]}; found {', '.join(table.column_names) or 'none'}; "
            f"stored logits have {', '.join(COLUMNS)}"
        )
    tokens = read_vocabulary(vocabulary or path.parent, path)
    kept: dict[str, dict[str, NDArray]] = {}
    for row in range(table.num_rows):
        model, sentence = (table.column(name)[row].as_py() for name in COLUMNS[:2])
        logits = table.column("logits")[row].values.to_numpy(zero_copy_only=False)
        if len(logits) != len(tokens):
            raise ValueError(
                f"{path}: row {row + 1} has {len(logits)} logits, the vocabulary {len(tokens)} "
                "tokens; give the tokenizer of that model with --vocabulary FOLDER"
            )
        if not np.isfinite(logits).all():
            raise ValueError(f"{path}: row {row + 1} has a logit that is not a finite number")
        kept.setdefault(model, {})[sentence] = logits.astype(np.float32)
    if not kept:
        raise ValueError(f"{path}: no rows; expected at least one sentence with its logits")
    return [StoredLogits(name, tokens, sentences) for name, sentences in kept.items()]


def read_vocabulary(folder: Path, wanted_by: Path) -> list[str]:
    """The tokens by id, of `vocab.txt` or `tokenizer.json` in `folder`."""
    if (folder / "vocab.txt").is_file():
        return (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    if (folder / "tokenizer.json").is_file():
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the Rust side raises plain Exception
            raise ValueError(f"{folder / 'tokenizer.json'}: not a tokenizer ({error})") from error
        ids = tokenizer.get_vocab(with_added_tokens=True)
        return [token for token, _ in sorted(ids.items(), key=lambda entry: entry[1])]
    raise ValueError(
        f"{wanted_by}: stored logits need their tokens, and {folder} holds neither vocab.txt nor "
        "tokenizer.json; give the tokenizer's folder with --vocabulary FOLDER"
    )


def write_logits(path: Path, models: Mapping[str, Mapping[str, NDArray]]) -> None:
    """Keep logits for later: model -> sentence -> (V,). Written whole or not at all."""
    rows = [
        {"model": model, "sentence": sentence, "logits": np.asarray(logits, np.float32)}
        for model, sentences in models.items()
        for sentence, logits in sentences.items()
    ]
    schema = pa.schema(
        [("model", pa.string()), ("sentence", pa.string()), ("logits", pa.list_(pa.float32()))]
    )
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), partial)
    os.replace(partial, path)
