"""One file of reviews, read as a stream of stretches: parquet, CSV, TSV, JSON lines, fastText."""

import bz2
import csv
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from training.reviews import (
    STRETCH,
    Columns,
    Place,
    Reviews,
    checked,
    choose_columns,
    from_table,
)

Stretches = Iterator[tuple[Place, Columns]]


def read_file(path: Path, text: str) -> Iterator[Reviews]:
    """Stream a file; its format goes by its extension (see `FORMATS`), .gz and .bz2 are unpacked.

    Columns: `label`, `title` (optional) and `content` (or `text`, or `review`). Labels are 0/1 or
    negative/positive. Labels 1/2 are taken in two formats only, where they are the rule: fastText's
    `__label__2 text`, and the original Amazon Polarity CSV `2,title,content` without a header.
    Nowhere else are numbers shifted, so that no label is guessed.

    Raises:
        ValueError: one line with file, row, column, what was found and what was expected.
    """
    format_of = _format(path)
    try:
        twos = format_of is _read_fasttext or (format_of is _read_csv and _has_no_header(path))
        for place, columns in format_of(path, text):
            yield checked(columns, place, text, one_two=twos)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: compressed data is damaged or cut off ({error}); download it again"
        ) from error
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def extension(path: Path) -> str:
    """`.csv` of `train.csv.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _UNPACK:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _read_parquet(path: Path, text: str) -> Stretches:
    with tempfile.TemporaryFile() as unpacked, path.open("rb") as plain:
        source: IO[bytes] = plain
        if path.suffix.lower() in _UNPACK:  # parquet is read from its end: not from a stream
            with _open(path) as stream:
                shutil.copyfileobj(stream, unpacked)
            source = unpacked
            source.seek(0)
        # buffered: otherwise a whole row group, which may be the whole set, lies in memory
        file = pa.parquet.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
        title, content = choose_columns(file.schema_arrow.names, text, str(path))
        names = [name for name in ("label", title, content) if name]
        row = 1
        for batch in file.iter_batches(batch_size=STRETCH, columns=names, use_threads=False):
            yield Place(str(path), "row", row), from_table(batch, title, content)
            row += batch.num_rows


def _read_csv(path: Path, text: str) -> Stretches:
    header = not _has_no_header(path)
    names = _first_record(path) if header else ["label", "title", "content"]
    title, content = choose_columns(names, text, str(path))
    used = [name for name in ("label", title, content) if name]
    row, bad, last = 1, list[Any](), dict[str, bytes]()
    with _open(path) as stream:
        quotes = _QuoteCounter(stream)
        try:
            given = None if header else names
            for batch in _csv_reader(quotes, _separator(path), given, used, bad):
                if batch.num_rows:
                    yield Place(str(path), "row", row), from_table(batch, title, content)
                    row += batch.num_rows
                    last = batch.slice(batch.num_rows - 1).to_pylist()[0]
        except pa.ArrowInvalid as error:
            raise _csv_error(path, row, header, bad, error) from error
    # Arrow closes an open quote at the end of the file, and what came after it was one long field
    if quotes.odd and any(b"\n" in field for field in last.values()):
        raise ValueError(f"{path}: row {row - 1}: a quote is opened and never closed")


def _csv_reader(
    stream: Any, separator: str, names: list[str] | None, used: list[str], bad: list[Any]
) -> Any:
    """Arrow's streaming reader; a row with another number of columns is left in `bad`."""

    def stop(row: Any) -> str:
        bad.append(row)
        return "error"

    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(use_threads=False, column_names=names),
        parse_options=pa.csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=stop
        ),
        # as bytes: the check of the encoding is ours, which knows the row
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(used, pa.binary()), include_columns=used
        ),
    )


def _csv_error(path: Path, row: int, header: bool, bad: list[Any], error: Exception) -> ValueError:
    if bad:
        first = bad[0]
        return ValueError(
            f"{path}: row {first.number - header}: found {first.actual_columns} columns; expected "
            f"{first.expected_columns}; text that holds the separator goes in double quotes, and a "
            "quote in it is doubled"
        )
    reason = " ".join(str(error).split())
    if "straddl" in reason:
        reason = "a quote is opened and not closed within a megabyte"
    return ValueError(f"{path}: at or after row {row}: {reason}")


class _QuoteCounter(io.RawIOBase):
    """Passes a stream on and knows whether the double quotes in it are odd in number."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.odd = stream, False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.odd ^= data.count(b'"') % 2 == 1
        return data


def _read_json(path: Path, text: str) -> Stretches:
    title: str | None = None
    content: str | None = None
    for place, lines in _lines(path):
        rows = [_json_object(line, place, i) for i, line in enumerate(lines)]
        if place.first == 1:
            title, content = choose_columns(list(rows[0]), text, str(path))
        for i, row in enumerate(rows):
            for name in ("label", title, content):
                if name and name not in row:
                    keys = f"it, as in line 1 (this line has: {', '.join(row)})"
                    raise place.error(i, name, "no such key", keys)
        yield (
            place,
            Columns(
                label=[row["label"] for row in rows],
                title=[row[title] for row in rows] if title else None,
                content=[row[content] for row in rows] if content else None,
            ),
        )


def _json_object(line: bytes, place: Place, offset: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        raise place.error(offset, "any", f"byte 0x{line[error.start]:02x}", "UTF-8") from None
    except json.JSONDecodeError as error:
        found = f"{line[:40].decode()!r} ({error.msg})"
        raise place.error(offset, "any", found, "a JSON object a line") from None
    if not isinstance(row, dict):
        raise place.error(offset, "any", f"a {type(row).__name__}", "a JSON object a line")
    return row


def _read_fasttext(path: Path, text: str) -> Stretches:
    if text == "title":
        raise ValueError(f"{path}: text=title, but fastText files have no titles; use text=content")
    mark = b"__label__"
    for place, lines in _lines(path):
        labels, texts = [], []
        for i, line in enumerate(lines):
            label, *rest = line.split(None, 1)
            if not label.startswith(mark):
                found = repr(line[:30].decode("utf-8", "replace"))
                raise place.error(i, "label", found, "__label__1 or __label__2, then the text")
            labels.append(label.removeprefix(mark))
            texts.append(rest[0] if rest else b"")
        yield place, Columns(labels, None, texts)


def _lines(path: Path) -> Iterator[tuple[Place, list[bytes]]]:
    """Stretches of lines without their ends; blank ones are allowed at the end of the file only."""
    with _open(path) as stream:
        first, blank = 1, 0
        while lines := [line.rstrip(b"\r\n") for line in islice(stream, STRETCH)]:
            if first == 1:
                lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")  # byte order mark
            for number, line in enumerate(lines, first):
                if not line.strip():
                    blank = blank or number
                elif blank:
                    raise ValueError(f"{path}: line {blank} is blank; expected a review a line")
            following = first + len(lines)
            if filled := lines[: blank - first] if blank else lines:
                yield Place(str(path), "line", first), filled
            first = following


def _first_record(path: Path) -> list[str]:
    with _open(path) as stream:
        lines = (line.decode("utf-8", "replace").removeprefix("\ufeff") for line in stream)
        return next(csv.reader(lines, delimiter=_separator(path)), [])


def _has_no_header(path: Path) -> bool:
    """The original set's CSV: three columns, and a label 1 or 2 where a header would be."""
    record = _first_record(path)
    return extension(path) == ".csv" and len(record) == 3 and record[0] in ("1", "2")


def _separator(path: Path) -> str:
    return "\t" if extension(path) == ".tsv" else ","


def _open(path: Path) -> IO[bytes]:
    unpack = _UNPACK.get(path.suffix.lower())
    return unpack(path) if unpack else path.open("rb")


def _format(path: Path) -> Callable[[Path, str], Stretches]:
    found = extension(path)
    if found not in FORMATS:
        known = ", ".join(FORMATS)
        raise ValueError(f"{path}: unknown extension {found!r}; known: {known}, also .gz or .bz2")
    return FORMATS[found]


_UNPACK: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open}
FORMATS: dict[str, Callable[[Path, str], Stretches]] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".txt": _read_fasttext,
}
"""Extension to reader: the one place where a format gets its name."""
