"""One file of reviews, read as a stream of stretches: parquet, CSV, TSV, JSON lines, fastText."""

import bz2
import codecs
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
FASTTEXT_MARK = b"__label__"
_LONGEST_FIELD = 1 << 20  # of a CSV: Arrow's default block, which a row has to fit into


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
        _refuse_utf16(path)
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


def _refuse_utf16(path: Path) -> None:
    """Spreadsheets write it; read as UTF-8 its errors would name columns that nobody can see."""
    with _open(path) as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError(f"{path}: is in UTF-16; write it in UTF-8 (iconv -f UTF-16 -t UTF-8)")


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
    if len(names) == 1 and (other := next((each for each in ";\t|," if each in names[0]), None)):
        raise ValueError(f"{path}: its fields are parted by {other!r}; expected commas in a .csv, "
                         "tabs in a .tsv")  # fmt: skip
    title, content = choose_columns(names, text, str(path))
    used = [name for name in ("label", title, content) if name]
    row, misfits = 1, list[Any]()
    with _open(path) as stream:
        try:
            given = None if header else names
            ended = _WithEnd(stream)
            for batch in _csv_reader(ended, _separator(path), given, used, misfits):
                if batch.num_rows:
                    yield Place(str(path), "row", row), from_table(batch, title, content)
                    row += batch.num_rows
        except pa.ArrowInvalid as error:
            raise _csv_error(path, row, header, misfits, error) from error
    if not misfits:  # our end was swallowed: Arrow closes an open quote at the end of the stream
        raise ValueError(f"{path}: row {row - 1}: a quote is opened and never closed")


class _WithEnd(io.RawIOBase):
    """Passes a stream on, then a line of our own that is no row: a file has two columns at least.

    Where Arrow reports it as a row with too few columns, every quote before it was closed. Counting
    quotes would not tell: one inside an unquoted field is a character like any other.
    """

    LINE = "\x1aend of file\x1a"

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.rest = stream, f"\n{self.LINE}\n".encode()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if data := self.stream.read(size):
            return data
        data, self.rest = self.rest, b""  # shorter than any block that Arrow asks for
        return data


def _csv_reader(
    stream: Any, separator: str, names: list[str] | None, used: list[str], misfits: list[Any]
) -> Any:
    """Arrow's streaming reader; the first row with another number of columns is left in `misfits`.

    That is an error unless it is the line of `_WithEnd`.
    """

    def misfit(row: Any) -> str:
        misfits.append(row)
        return "skip" if row.text == _WithEnd.LINE else "error"

    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            use_threads=False, column_names=names, block_size=_LONGEST_FIELD
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=misfit
        ),
        # as bytes: the check of the encoding is ours, which knows the row
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(used, pa.binary()), include_columns=used
        ),
    )


def _csv_error(
    path: Path, row: int, header: bool, misfits: list[Any], error: Exception
) -> ValueError:
    if misfits:
        first = misfits[0]
        where = f"{path}: row {first.number - header}"
        if _WithEnd.LINE in first.text:
            return ValueError(f"{where}: a quote is opened and never closed")
        return ValueError(
            f"{where}: found {first.actual_columns} columns; expected "
            f"{first.expected_columns}; text that holds the separator goes in double quotes, and a "
            "quote in it is doubled"
        )
    reason = " ".join(str(error).split())
    if "straddl" in reason:
        reason = "a row of over a megabyte: shorten its text, or close the quote that it opens"
    return ValueError(f"{path}: at or after row {row}: {reason}")


def _read_json(path: Path, text: str) -> Stretches:
    title: str | None = None
    content: str | None = None
    for place, lines in read_lines(path):
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
    except RecursionError:
        raise place.error(offset, "any", "too deeply nested", "a JSON object a line") from None
    except json.JSONDecodeError as error:
        found = f"{line[:40].decode('utf-8', 'replace')!r} ({error.msg})"  # may cut a character
        raise place.error(offset, "any", found, "a JSON object a line") from None
    if not isinstance(row, dict):
        raise place.error(offset, "any", f"a {type(row).__name__}", "a JSON object a line")
    return row


def _read_fasttext(path: Path, text: str) -> Stretches:
    if text == "title":
        raise ValueError(f"{path}: text=title, but fastText files have no titles; use text=content")
    for place, lines in read_lines(path):
        labels, texts = [], []
        for i, line in enumerate(lines):
            label, *rest = line.split(None, 1)
            if not label.startswith(FASTTEXT_MARK):
                found = repr(line[:30].decode("utf-8", "replace"))
                raise place.error(i, "label", found, "__label__1 or __label__2, then the text")
            labels.append(label.removeprefix(FASTTEXT_MARK))
            texts.append(rest[0] if rest else b"")
        yield place, Columns(labels, None, texts)


def read_lines(path: Path, blanks: bool = False) -> Iterator[tuple[Place, list[bytes]]]:
    """Stretches of a file's lines, without their ends and a byte order mark; unpacked.

    Raises:
        ValueError: a blank line that is not at the end of the file, unless `blanks` are kept.
    """
    with _open(path) as stream:
        first, blank = 1, 0
        while lines := [line.rstrip(b"\r\n") for line in islice(stream, STRETCH)]:
            if first == 1:
                lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")  # byte order mark
            for number, line in enumerate(lines, first):
                if not line.strip() and not blanks:
                    blank = blank or number
                elif blank:
                    raise ValueError(f"{path}: line {blank} is blank; expected a review a line")
            following = first + len(lines)
            if filled := lines[: max(0, blank - first)] if blank else lines:
                yield Place(str(path), "line", first), filled
            first = following


def _first_record(path: Path) -> list[str]:
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        # newline="": lines end at \r too, as they do for Arrow
        with io.TextIOWrapper(_open(path), "utf-8-sig", "replace", newline="") as lines:
            return next(csv.reader(lines, delimiter=_separator(path)), [])
    except csv.Error as error:
        raise ValueError(
            f"{path}: the first row: {error}; expected fields of a megabyte at most, and every "
            "quote that is opened closed"
        ) from error
    finally:
        csv.field_size_limit(limit)


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
