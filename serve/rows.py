"""Rows of CSV and JSON lines files: read, written, and counted after an interruption."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = (".csv", ".jsonl")


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a CSV or a JSON lines file.

    Raises:
        ValueError: a line that is no object, a row with more fields than the header.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".csv":
            csv.field_size_limit(1 << 30)
            for number, row in enumerate(csv.DictReader(file, strict=True), 1):
                if None in row or None in row.values():
                    raise ValueError(f"{path}: row {number}: not as many fields as the header")
                yield row
            return
        for number, line in enumerate(file, 1):
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise ValueError(f"{path}: row {number}: not a JSON object")
            yield value


def render_rows(rows: list[dict[str, Any]], kind: str, header: bool) -> bytes:
    """The rows as bytes of a file; `header`: with a CSV's header above them."""
    if kind == ".jsonl":
        return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


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
