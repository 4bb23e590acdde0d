"""Rows of CSV and JSON lines files: read, written, and counted after an interruption."""

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

KINDS = (".csv", ".jsonl")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV or a JSON lines file; blank lines are none.

    Raises:
        ValueError: a line that is no object, a row with more fields than the header, a header with
            a name twice, what is no CSV, what is no valid Unicode; names file and row.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from _csv_rows(path, file) if path.suffix == ".csv" else _json_rows(path, file)


def _csv_rows(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(1 << 30)
    number = 0
    try:
        reader = csv.DictReader(file, strict=True)
        names = list(reader.fieldnames or [])
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise ValueError(f"{path}: {', '.join(map(repr, twice))} more than once in the header; "
                             "only the last would be kept: rename the others")  # fmt: skip
        for number, row in enumerate(reader, 1):
            if None in row or None in row.values():
                raise ValueError(f"{path}: row {number}: not as many fields as the header")
            yield row
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except csv.Error as error:
        raise ValueError(
            f"{path}: row {number + 1}: not CSV: {error}; a field with a quote in it stands in "
            'quotes, its own doubled: "a ""nice"" book"'
        ) from None


def _json_rows(path: Path, file: TextIO) -> Iterator[dict[str, Any]]:
    try:
        for number, line in enumerate(filter(str.strip, file), 1):
            yield _json_row(line, f"{path}: row {number}")
    except UnicodeDecodeError:
        raise _not_utf8(path) from None


def _json_row(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_float=_finite, object_pairs_hook=_object)
    except _Unkept as error:
        raise ValueError(f"{place}: {error}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; nested too deeply
        row = None
    if not isinstance(row, dict):
        raise ValueError(f"{place}: not a JSON object")
    if "\\u" in line:  # only an escape can be half of a character: the file is UTF-8
        for name, value in row.items():
            try:
                (name + json.dumps(value, ensure_ascii=False)).encode()
            except UnicodeEncodeError:
                shown = name.encode(errors="backslashreplace").decode()
                raise ValueError(
                    f"{place}, column {shown}: a lone surrogate, half of a character; mend the text"
                ) from None
    return row


class _Unkept(Exception):
    """What JSON allows, and what would not be written as it was read."""


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):  # it would be written as Infinity, which is no JSON
        raise _Unkept(f"{number} is more than a float holds; write it as a text")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = ", ".join(repr(name) for name, count in counts.items() if count > 1)
        raise _Unkept(f"{twice} more than once; only the last would be kept: rename the others")
    return found


def _not_utf8(path: Path) -> ValueError:
    """Names the line, which who reads in chunks does not know."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                found = f"byte 0x{line[error.start]:02x} of line {number}"
                return ValueError(f"{path}: not UTF-8: {found}; write it in UTF-8")
    return ValueError(f"{path}: not UTF-8; write it in UTF-8")


def read_alike(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that may become a CSV's: all have the first one's fields.

    Raises:
        ValueError: as `read_rows`; a row with other fields, in whatever order.
    """
    first: dict[str, Any] | None = None
    for number, row in enumerate(read_rows(path), 1):
        first = row if first is None else first
        if row.keys() != first.keys():
            other = ", ".join(sorted(row.keys() ^ first.keys()))
            raise ValueError(
                f"{path}: row {number}: {other}: in this row or in row 1, not in both; a CSV has "
                "the same fields in every row: give them, or write a .jsonl"
            )
        yield row


class RowWriter:
    """Adds rows to a file, in blocks that are on the disk when `write` returns; a context.

    A CSV's fields, and their order, are its header's, or the first row's where it has none yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._fields = path, read_header(path) if path.suffix == ".csv" else []
        self._file = path.open("ab")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: list[dict[str, Any]], fields: Sequence[str] = ()) -> None:
        """`fields` are a new CSV's where there may be no rows.

        Raises `ValueError` where a row of a CSV has other fields; nothing is written then.
        """
        self._file.write(self._csv(rows, fields) if self._path.suffix == ".csv" else _jsonl(rows))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _csv(self, rows: list[dict[str, Any]], fields: Sequence[str]) -> bytes:
        lines = _Lines()
        header = not self._fields
        self._fields = self._fields or list(fields or rows[0])
        writer = csv.DictWriter(lines, self._fields)
        if header:
            writer.writeheader()
        for row in rows:
            if row.keys() != set(self._fields):
                raise ValueError(
                    f"{self._path}: has {', '.join(self._fields)}, not {', '.join(row)}; give OUT "
                    "another name"
                )
            writer.writerow({name: csv_field(value) for name, value in row.items()})
        return "".join(lines).encode()


def csv_field(value: Any) -> str:
    """What a CSV has of a JSON value: a text as it is, nothing of null, of others their JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


class _Lines(list[str]):
    """What a csv.writer writes into, a row a call, with line ends of \\n.

    The writer must take them for \\r\\n: up to Python 3.12 it quotes a line end within a field
    only where its own has that character, and a lone \\r unquoted ends the row.
    """

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _jsonl(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def read_header(path: Path) -> list[str]:
    """The fields of a CSV, in order; none of an empty one, or where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file).fieldnames or [])


def whole_bytes(content: bytes, kind: str) -> int:
    """How many bytes are whole rows. A line end within quotes ends no row of a CSV."""
    if kind == ".jsonl":
        return content.rfind(b"\n") + 1
    end, place, quoted = 0, 0, False
    for line in content.splitlines(keepends=True):
        place += len(line)
        quoted ^= line.count(b'"') % 2 == 1
        if not quoted and line.endswith(b"\n"):
            end = place
    return end
