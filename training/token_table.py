"""Tokenised reviews on disk: written once as Arrow IPC, mapped into memory, never loaded.

Resident are a few bytes a row (where it is, how long, which label); the ids stay in the file, of
which the system keeps as many pages as it likes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.reviews import Reviews
from training.sources import Split
from training.tokenization import unknown_id

SCHEMA_VERSION = 1
EMPTY_TEXT = int.from_bytes(hashlib.blake2b(b"", digest_size=8).digest(), "little")
"""`text_hash` of a review without any text."""


def text_hash(text: str) -> int:
    """64 bits that stand for a text, spaces around it aside.

    Two different ones among 3.6 M collide with a probability of 4e-7 (birthday bound).
    """
    digest = hashlib.blake2b(text.strip().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class TokenFile:
    """One file of N tokenised reviews, mapped. Columns but `input_ids` are read on demand."""

    def __init__(self, path: Path, texts: Callable[[], Iterator[Reviews]]) -> None:
        self.path, self.read_texts = path, texts
        with pa.memory_map(str(path)) as source:
            self._batches = pa.ipc.open_file(source).read_all().to_batches()
        columns = [batch.column("input_ids") for batch in self._batches]
        # Views of the map: an id list is values[offsets[i] : offsets[i + 1]] of its batch.
        self._values = [column.values.to_numpy() for column in columns]
        self._offsets = [column.offsets.to_numpy() for column in columns]
        sizes = [len(column) for column in columns]
        self._first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenFile, (self.path, self.read_texts)  # a worker process maps the file itself

    def __len__(self) -> int:
        return int(self._first[-1])

    def ids(self, row: int) -> NDArray[np.integer]:
        """The token ids of a row, a view of the file."""
        batch = int(np.searchsorted(self._first, row, side="right")) - 1
        start, end = self._offsets[batch][row - self._first[batch] :][:2]
        view: NDArray[np.integer] = self._values[batch][start:end]
        return view

    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each row."""
        return np.concatenate([np.diff(offsets) for offsets in self._offsets])

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers, copied out of the file."""
        parts = [b.column(name).to_numpy(zero_copy_only=False) for b in self._batches]
        return np.concatenate(parts)


class TokenTable:
    """Rows of one or more token files, in a given order; `select` makes a view, which is indices.

    `lengths` (N,) int32, `labels` (N,) int8.
    """

    def __init__(self, files: Sequence[TokenFile], rows: NDArray[np.integer] | None = None) -> None:
        self.files = list(files)
        self._first = np.concatenate([[0], np.cumsum([len(file) for file in files])])
        total = int(self._first[-1])
        self.rows = (np.arange(total) if rows is None else np.asarray(rows)).astype(np.int32)
        """Index of each row among all rows of all files."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Tokens in each review."""
        return np.concatenate([file.lengths() for file in self.files])[self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """0 negative, 1 positive."""
        labels: NDArray[np.int8] = self.column("label")
        return labels

    def column(self, name: str) -> NDArray[Any]:
        """Another column of numbers: `text_hash`, `truncated`, `unknown`."""
        return np.concatenate([file.column(name) for file in self.files])[self.rows]

    def ids(self, i: int) -> NDArray[np.integer]:
        """Token ids of review i, without a copy."""
        row = int(self.rows[i])
        file = int(np.searchsorted(self._first, row, side="right")) - 1
        return self.files[file].ids(row - int(self._first[file]))

    def select(self, indices: NDArray[np.integer]) -> "TokenTable":
        """A view of these rows, by their positions here."""
        return TokenTable(self.files, self.rows[indices])

    def join(self, other: "TokenTable") -> "TokenTable":
        """This table's rows, then `other`'s."""
        own = int(self._first[-1])
        return TokenTable(
            [*self.files, *other.files],
            np.concatenate([self.rows.astype(np.int64), other.rows.astype(np.int64) + own]),
        )

    def by_file(self) -> Iterator[tuple[TokenFile, NDArray[np.int64], NDArray[np.int64]]]:
        """Each file that has rows here, which of its rows, and their places in this table."""
        owner = np.searchsorted(self._first, self.rows, side="right") - 1
        for number in np.unique(owner):
            places = np.flatnonzero(owner == number)
            yield self.files[number], self.rows[places] - self._first[number], places

    def texts(self) -> Iterator[str]:
        """The reviews' texts in this order, read again from where they came from.

        For rows that are in the sources' order, as all tables of `load_data` are: others would
        need all texts in memory.
        """
        if len(self) and (np.diff(self.rows) <= 0).any():
            raise ValueError("texts can be read only of rows in the order of their sources")
        every = chain.from_iterable(file.read_texts() for file in self.files)
        first, done = 0, 0
        for reviews in every:
            last = first + len(reviews.texts)
            end = int(np.searchsorted(self.rows, last))
            for row in self.rows[done:end]:
                yield reviews.texts[int(row) - first]
            first, done = last, end
            if done == len(self):
                return


@dataclass(frozen=True)
class Recipe:
    """All that decides what the ids of a split are."""

    tokenizer: Tokenizer
    text: str
    max_length: int

    def key(self, split: Split) -> str:
        """Names the cache file: the same key, the same content."""
        parts = {
            "schema": SCHEMA_VERSION,
            "tokenizer": hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest(),
            "source": split.identity,
            "text": self.text,
            "max_length": self.max_length,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def tokenised(
    split: Split, recipe: Recipe, folder: Path, advance: Callable[[int], None] | None = None
) -> TokenFile:
    """The split's token file; built where the cache does not hold it whole.

    One process builds and others wait for its lock, so a file is never written by two. It gets
    its name when it is complete: a build that was killed leaves a `.partial`, which the next one
    overwrites.

    Args:
        advance: is told how many reviews have been tokenised further.

    Raises:
        ValueError: a bad row in the source.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{recipe.key(split)}.arrow"
    with FileLock(path.with_suffix(".lock")):
        if not _is_whole(path):
            partial = path.with_suffix(".partial")
            try:
                _write(partial, split.read(recipe.text), recipe, advance or (lambda count: None))
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
    return TokenFile(path, _Texts(split, recipe.text))


@dataclass(frozen=True)
class _Texts:
    """Reads a split's texts again; a class, so that a worker process can be handed it."""

    split: Split
    text: str

    def __call__(self) -> Iterator[Reviews]:
        return self.split.read(self.text)


def _is_whole(path: Path) -> bool:
    """Arrow writes its footer last; a file that a crash of the machine cut off has none."""
    if not path.is_file():
        return False
    try:
        with pa.memory_map(str(path)) as source:
            pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        return False
    return True


def _write(
    path: Path, stretches: Iterable[Reviews], recipe: Recipe, advance: Callable[[int], None]
) -> None:
    tokenizer = Tokenizer.from_str(recipe.tokenizer.to_str())  # truncation is ours alone
    tokenizer.enable_truncation(recipe.max_length)
    fits = tokenizer.get_vocab_size() <= 1 << 16
    schema = pa.schema(
        {
            "input_ids": pa.list_(pa.uint16() if fits else pa.int32()),
            "label": pa.int8(),
            "text_hash": pa.uint64(),
            "truncated": pa.bool_(),
            "unknown": pa.uint16(),
        }
    )
    unknown = unknown_id(tokenizer)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for reviews in stretches:
            writer.write_batch(_encode(reviews, tokenizer, schema, unknown))
            advance(len(reviews.texts))


def _encode(reviews: Reviews, tokenizer: Tokenizer, schema: Any, unknown: int | None) -> Any:
    """A record batch of a stretch: all cores tokenise it (unless TOKENIZERS_PARALLELISM=false)."""
    encodings = tokenizer.encode_batch_fast(reviews.texts)
    ids = [encoding.ids for encoding in encodings]
    offsets = np.zeros(len(ids) + 1, np.int32)
    np.cumsum([len(row) for row in ids], out=offsets[1:])
    values = np.fromiter(chain.from_iterable(ids), np.int32, int(offsets[-1]))
    is_unknown = np.concatenate([[0], np.cumsum(values == unknown)])
    value_type = schema.field("input_ids").type.value_type
    columns = [
        pa.ListArray.from_arrays(offsets, pa.array(values.astype(value_type.to_pandas_dtype()))),
        pa.array(reviews.labels),
        pa.array([text_hash(text) for text in reviews.texts], pa.uint64()),
        pa.array([bool(encoding.overflowing) for encoding in encodings]),
        pa.array(np.diff(is_unknown[offsets]).astype(np.uint16)),
    ]
    return pa.record_batch(columns, schema=schema)
