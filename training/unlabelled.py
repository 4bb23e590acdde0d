"""Texts without labels, as a stream of stretches whose labels are all -1.

A source is a parquet file, a .txt file of one text a line, a folder with `unsupervised*` (or
`unlabelled*`) files, or any labelled source, of whose training rows the labels are not looked at.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.reviews import CONTENT_NAMES, STRETCH, Reviews
from training.sources import Split, open_source

_NAME = re.compile(r"(unsupervised|unlabel+ed)(?![a-z])", re.IGNORECASE)


def unlabelled_split(given: str) -> Split:
    """All texts of a source.

    Raises:
        ValueError: a folder or file that holds none; one line.
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
    return Split(where, ["unlabelled", entries], partial(_read_files, files), None)


def _named(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix in _READERS and _NAME.match(f.name))


def _without_labels(split: Split, text: str) -> Iterator[Reviews]:
    for reviews in split.read(text):
        yield _unlabelled(reviews.texts)


def _unlabelled(texts: list[str]) -> Reviews:
    return Reviews(texts, np.full(len(texts), -1, np.int8))


def _read_files(files: list[Path], text: str) -> Iterator[Reviews]:
    for file in files:
        for texts in _READERS[file.suffix](file, text):
            yield _unlabelled(texts)


def _read_lines(path: Path, text: str) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as lines:
        while texts := [line.rstrip("\n") for line in islice(lines, STRETCH)]:
            yield texts


def _read_parquet(path: Path, text: str) -> Iterator[list[str]]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file ({' '.join(str(error).split())})") from error
    there = file.schema_arrow.names
    content = [name for name in CONTENT_NAMES if name in there][:1]
    title = ["title"] if "title" in there else []
    names = {"title": title, "content": content}.get(text, title + content)
    if not names or (text != "title" and not content):
        raise ValueError(
            f"{path}: no column {text if text == 'title' else ', '.join(CONTENT_NAMES)}; found "
            f"{', '.join(there)}"
        )
    for batch in file.iter_batches(batch_size=STRETCH, columns=names):
        columns = [batch.column(name).to_pylist() for name in names]
        yield ["\n".join(filter(None, parts)) for parts in zip(*columns, strict=True)]


_READERS = {".parquet": _read_parquet, ".txt": _read_lines}
