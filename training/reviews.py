"""Checked stretches of reviews: texts and labels, made of the columns a format or the hub gives.

A bad row stops with the file, the row, the column, what was found and what was expected.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STRETCH = 2048  # rows read, checked and tokenised at a time
CONTENT_NAMES = ("content", "text", "review")
TEXT_MODES = ("title+content", "title", "content")

_WORDS = {"negative": 0, "positive": 1}
_ZERO_ONE: dict[Any, int] = {0: 0, 1: 1, "0": 0, "1": 1, **_WORDS}
_ONE_TWO: dict[Any, int] = {"1": 0, "2": 1, **_WORDS}
_ALLOWED = {
    False: "0 or 1, or negative or positive (labels 1 and 2 are read only from fastText's .txt and "
    "from CSV without a header, where they are the rule)",
    True: "1 (negative) or 2 (positive), as fastText and CSV without a header have it",
}


@dataclass(frozen=True)
class Reviews:
    """N consecutive reviews of a source: `texts`, and `labels (N,)` with 1 for positive."""

    texts: list[str]
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class Columns:
    """N rows as the file has them, before any check. None: the file has no such column."""

    label: list[Any]
    title: list[Any] | None
    content: list[Any] | None


@dataclass(frozen=True)
class Place:
    """Where a stretch begins, for messages. Rows count from 1, without the header."""

    file: str
    unit: str
    first: int

    def error(self, offset: int, column: str, found: str, expected: str) -> ValueError:
        """The one line for the row at `offset` in this stretch."""
        where = f"{self.file}: {self.unit} {self.first + offset}, column {column}"
        return ValueError(f"{where}: found {found}; expected {expected}")


def checked(columns: Columns, place: Place, text: str, one_two: bool = False) -> Reviews:
    """Join title and content as `text` says and make labels 0/1, or stop at the first bad row."""
    labels = _labels(columns.label, place, one_two)
    title = None if columns.title is None else checked_texts(columns.title, place, "title")
    if text == "title":
        if title is None:
            raise ValueError(
                f"{place.file}: text=title, but there is no column title; use text=content"
            )
        return Reviews(title, labels)
    assert columns.content is not None, "the readers refuse a file without content"
    content = checked_texts(columns.content, place, "content")
    if text == "content" or title is None:
        return Reviews(content, labels)
    joined = [f"{t}\n{c}" if t and c else t or c for t, c in zip(title, content, strict=True)]
    return Reviews(joined, labels)


def choose_columns(names: list[str], text: str, file: str) -> tuple[str | None, str | None]:
    """The names of the title's and the content's column that this text mode reads.

    Raises:
        ValueError: a column is missing; names those that are there.
    """
    there = f"columns found: {', '.join(names) or 'none'}"
    if "label" not in names:
        raise ValueError(f"{file}: no column label; {there}; expected label, title and content")
    for name in ("label", "title", *CONTENT_NAMES):
        if names.count(name) > 1:
            raise ValueError(f"{file}: column {name} occurs more than once; {there}")
    title = "title" if text != "content" and "title" in names else None
    content = None
    if text != "title":
        content = next((name for name in CONTENT_NAMES if name in names), None)
        if content is None:
            raise ValueError(f"{file}: no column content (nor text, nor review); {there}")
    return title, content


def from_table(table: Any, title: str | None, content: str | None) -> Columns:
    """Columns of an Arrow table or record batch, text as bytes where Arrow has it as text."""
    return Columns(
        label=plain_values(table.column("label")),
        title=plain_values(table.column(title)) if title else None,
        content=plain_values(table.column(content)) if content else None,
    )


def plain_values(column: Any) -> list[Any]:
    """Python values of an Arrow column. Text comes as bytes: Arrow does not check the encoding,
    `checked_texts` does."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def _labels(values: list[Any], place: Place, one_two: bool) -> NDArray[np.int8]:
    allowed = _ONE_TWO if one_two else _ZERO_ONE
    labels = np.empty(len(values), np.int8)
    for i, value in enumerate(values):
        key = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if isinstance(key, str):
            key = key.strip().lower()
        if isinstance(key, bool | list | dict) or key not in allowed:
            found = "null" if key is None else repr(key)
            raise place.error(i, "label", found, _ALLOWED[one_two])
        labels[i] = allowed[key]
    return labels


def checked_texts(values: list[Any], place: Place, column: str) -> list[str]:
    """The texts of a stretch, decoded where they are bytes.

    Raises:
        ValueError: the first that is no UTF-8, no text, or null; one line.
    """
    texts = []
    for i, value in enumerate(values):
        try:
            value = value.decode("utf-8") if isinstance(value, bytes) else value
        except UnicodeDecodeError as error:
            byte = f"byte 0x{value[error.start]:02x} at position {error.start}"
            raise place.error(i, column, byte, "UTF-8; convert the file") from None
        if not isinstance(value, str):
            found = "null" if value is None else f"{type(value).__name__} {value!r}"
            raise place.error(i, column, found, "text (an empty one where there is none)")
        _refuse_surrogates(value, place, i, column)
        texts.append(value)
    return texts


def _refuse_surrogates(text: str, place: Place, offset: int, column: str) -> None:
    """JSON can spell half of a surrogate pair, which is no character and has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x} at position {error.start}, half of a pair"
        raise place.error(offset, column, half, "Unicode text") from None
