"""Texts without labels, as a stream of stretches whose labels are all -1.

A source is a parquet file, a .txt file of one text a line, a folder with `unsupervised*` (or
`unlabelled*`) files, or any labelled source, of whose training rows the labels are not looked at.
A .txt file is labelled where its first line begins with fastText's `__label__`.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.formats import FASTTEXT_MARK, read_file, read_lines
from training.reviews import CONTENT_NAMES, STRETCH, Place, Reviews, checked_texts, plain_values
from training.sources import Split, open_source

_NAME = re.compile(r"(unsupervised|unlabel+ed)(?![a-z])", re.IGNORECASE)
_VERSION = 2  # of what the readers make of a file: part of the cache's key


def unlabelled_split(given: str) -> Split:
    """All texts of a source. Blank lines of a .txt file without labels are no texts.

    Raises:
        ValueError: a folder or file that holds none, and on reading a bad row; one line.
        FileNotFoundError: nothing of that name.
    """
    path = Path(given).expanduser()
    files = [path] if path.is_file() and path.suffix in _READERS else _named(path)
    if not files:
        labelled = open_source(given).splits
        if "train" not in labelled:
            raise ValueError(f"{given}: no training rows; found {', '.join(labelled)}")
        split = labelled["train"]
        identity = ["unlabelled", split.identity]
        return Split(split.where, identity, partial(_without_labels, split), split.rows)
    files = [file.resolve() for file in files]
    stats = [file.stat() for file in files]
    entries = [[str(f), s.st_size, s.st_mtime_ns] for f, s in zip(files, stats, strict=True)]
    where = str(files[0]) if len(files) == 1 else f"{path} ({len(files)} files)"
    identity = ["unlabelled", _VERSION, entries]
    return Split(where, identity, partial(_read_files, files, where), None)


def _named(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix in _READERS and _NAME.match(f.name))


def _without_labels(split: Split, text: str) -> Iterator[Reviews]:
    for reviews in split.read(text):
        yield _unlabelled(reviews.texts)


def _unlabelled(texts: list[str]) -> Reviews:
    return Reviews(texts, np.full(len(texts), -1, np.int8))


def _read_files(files: list[Path], where: str, text: str) -> Iterator[Reviews]:
    count = 0
    for file in files:
        for texts in _READERS[file.suffix](file, text):
            count += len(texts)
            yield _unlabelled(texts)
    if count == 0:
        raise ValueError(f"{where}: no texts; expected at least one")


def _read_text(path: Path, text: str) -> Iterator[list[str]]:
    """A labelled file by the reader of labelled ones, so that a text is the same in both: it is by
    its text that a held-out review is known."""
    if _is_labelled(path):
        return (reviews.texts for reviews in read_file(path, text))
    return _read_plain(path)


def _is_labelled(path: Path) -> bool:
    for _, lines in read_lines(path, blanks=True):
        for line in lines:
            if line.strip():
                return line.startswith(FASTTEXT_MARK)
    return False


def _read_plain(path: Path) -> Iterator[list[str]]:
    for place, lines in read_lines(path, blanks=True):
        if texts := [line for line in checked_texts(lines, place, "text") if line.strip()]:
            yield texts


def _read_parquet(path: Path, text: str) -> Iterator[list[str]]:
    try:
        file = pq.ParquetFile(path)
        names = _columns(file.schema_arrow.names, path, text)
        row = 1
        for batch in file.iter_batches(batch_size=STRETCH, columns=names):
            place = Place(str(path), "row", row)
            columns = [_column(batch, name, place) for name in names]
            yield ["\n".join(filter(None, parts)) for parts in zip(*columns, strict=True)]
            row += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file ({' '.join(str(error).split())})") from error


def _columns(there: list[str], path: Path, text: str) -> list[str]:
    content = [name for name in CONTENT_NAMES if name in there][:1]
    title = ["title"] if "title" in there else []
    names = {"title": title, "content": content}.get(text, title + content)
    if not names or (text != "title" and not content):
        raise ValueError(
            f"{path}: no column {text if text == 'title' else ', '.join(CONTENT_NAMES)}; found "
            f"{', '.join(there)}"
        )
    return names


def _column(batch: Any, name: str, place: Place) -> list[str]:
    """A null is an empty text: without a label nothing is lost by it."""
    values = ["" if value is None else value for value in plain_values(batch.column(name))]
    return checked_texts(values, place, name)


_READERS = {".parquet": _read_parquet, ".txt": _read_text}
