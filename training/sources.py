"""Where reviews come from: the hub, a folder, a file, or the embedded generator.

    source = open_source("fancyzhx/amazon_polarity")   # or ./folder, reviews.csv.gz, embedded:5000
    for reviews in source.splits["train"].read("title+content"):
        ...

A source has up to three splits (train, validation, test); each streams, and each has an identity by
which what was made of it is found again.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet

from training import embedded
from training.formats import FORMATS, extension, read_file
from training.hub import quiet_hub
from training.reviews import (
    STRETCH,
    TEXT_MODES,
    Columns,
    Place,
    Reviews,
    checked,
    choose_columns,
    from_table,
)

SPLITS = ("train", "validation", "test")
EMBEDDED_REVIEWS = 20_000

_SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(?:ing)?(?![a-z])", re.IGNORECASE)
_SPLIT_OF = {"train": "train", "test": "test"}  # the other names all mean validation
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Seeds of the generator, apart from those of splits and training: the rows stay, whatever the run
_EMBEDDED_SEEDS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class Split:
    """One split of a source. `identity` is plain JSON and changes whenever the rows may have."""

    where: str
    identity: Any
    read: Callable[[str], Iterator[Reviews]]
    """Text mode to stretches of reviews; may be called any number of times."""
    rows: int | None
    """None where only reading tells."""


@dataclass(frozen=True)
class Source:
    """What the user gave, the name for reports and test sets, and the splits that are there."""

    given: str
    name: str
    kind: str
    splits: dict[str, Split]


def is_embedded(given: str) -> bool:
    """Whether it names the reviews that the generator writes."""
    return given == "embedded" or given.startswith("embedded:")


def open_source(given: str, say: Callable[[str], None] = lambda line: None) -> Source:
    """Find out what `given` is. Reads names and sizes only; of the hub's sets, it gets the files.

    Args:
        say: is told before the hub is asked, which may take minutes.

    Raises:
        ValueError: a folder without files of reviews, an unknown extension, a hub out of reach.
        FileNotFoundError: nothing of that name.
    """
    if is_embedded(given):
        return _embedded(given)
    path = Path(given).expanduser()
    if path.is_dir():
        return _folder(given, path)
    if path.is_file():
        split = _split_of(path)
        # a single file is what the user wants to train on, unless its name says otherwise
        split = split if split == "test" else "train"
        return Source(given, _stem(path), "file", {split: _files([path])})
    if _HUB_NAME.fullmatch(given) and not given.startswith(".") and extension(path) not in FORMATS:
        say(f"{given}: not here; asking the hub")
        return _hub(given)
    raise FileNotFoundError(
        f"{given}: no such file or folder; a source is a folder, a file "
        f"({', '.join(FORMATS)}, also .gz or .bz2), a hub name such as fancyzhx/amazon_polarity, "
        "embedded or embedded:N"
    )


def _folder(given: str, path: Path) -> Source:
    """The hub's layout: files whose names begin with their split, here or in `data/` below."""
    found: dict[str, list[Path]] = {}
    places = [path, path / "data"] if (path / "data").is_dir() else [path]
    files = sorted(file for place in places for file in place.iterdir() if file.is_file())
    for file in files:
        if split := _split_of(file):
            found.setdefault(split, []).append(file)
    if not found:
        others = ", ".join(file.name for file in files[:5]) or "nothing"
        raise ValueError(
            f"{given}: no file whose name begins with train, validation (valid, dev) or test; "
            f"found {others}; rename them, or give one file"
        )
    splits = {split: _files(found[split]) for split in SPLITS if split in found}
    return Source(given, path.resolve().name, "folder", splits)


def _split_of(path: Path) -> str | None:
    match = _SPLIT_NAME.match(path.name)
    return _SPLIT_OF.get(match[1].lower(), "validation") if match else None


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name


def _files(paths: list[Path]) -> Split:
    paths = [path.resolve() for path in paths]
    for path in paths:
        if extension(path) not in FORMATS:
            known = ", ".join(FORMATS)
            raise ValueError(
                f"{path}: unknown extension {extension(path)!r}; known: {known}, also .gz or .bz2"
            )
    stats = [path.stat() for path in paths]
    identity = [[str(p), s.st_size, s.st_mtime_ns] for p, s in zip(paths, stats, strict=True)]
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} files)"
    return Split(where, identity, partial(_read_files, paths, where), _count(paths))


def _read_files(paths: list[Path], where: str, text: str) -> Iterator[Reviews]:
    _check_mode(text)
    rows = 0
    for path in paths:
        for reviews in read_file(path, text):
            rows += len(reviews.texts)
            yield reviews
    _refuse_empty(where, rows)


def _count(paths: list[Path]) -> int | None:
    """Parquet says how many rows it has, the others do not; broken files are told on reading."""
    if any(path.suffix != ".parquet" for path in paths):
        return None
    try:
        return sum(pyarrow.parquet.read_metadata(path).num_rows for path in paths)
    except (pyarrow.ArrowInvalid, OSError):
        return None


def _hub(name: str) -> Source:
    """Download through `datasets`, which keeps Arrow files on disk and maps them into memory.

    No code of the repository is run: `datasets` has dropped that, and nothing here turns it on.
    """
    import datasets  # takes a second: not for those who read local files

    try:
        with quiet_hub():
            loaded = datasets.load_dataset(name)
    except Exception as error:  # the hub's client raises a dozen kinds, which differ by version
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{name}: not a local file or folder, and not to be had from the hub "
            f"({type(error).__name__}: {reason}); give a local folder in the hub's layout, "
            "a file, or embedded"
        ) from error
    found: dict[str, list[str]] = {}
    for split in loaded:
        if match := _SPLIT_NAME.match(split):
            found.setdefault(_SPLIT_OF.get(match[1].lower(), "validation"), []).append(split)
    if not found:
        raise ValueError(f"{name}: no train, validation or test split; found {', '.join(loaded)}")
    splits = {}
    for ours, theirs in found.items():
        if len(theirs) > 1 and ours not in theirs:
            raise ValueError(f"{name}: several splits may be for {ours} ({', '.join(theirs)}); "
                             "save the one that is meant to a file, and give that")  # fmt: skip
        split = ours if ours in theirs else theirs[0]
        splits[ours] = _hub_split(name, split, loaded[split])
    return Source(name, name.split("/")[-1], "hub", splits)


def _hub_split(name: str, split: str, dataset: Any) -> Split:
    where = f"{name} ({split})"
    files = [Path(entry["filename"]) for entry in dataset.cache_files]
    identity = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    return Split(where, identity, partial(_read_hub, dataset, where), len(dataset))


def _read_hub(dataset: Any, where: str, text: str) -> Iterator[Reviews]:
    _check_mode(text)
    title, content = choose_columns(dataset.column_names, text, where)
    used = [column for column in ("label", title, content) if column]
    row = 1
    for table in dataset.select_columns(used).with_format("arrow").iter(batch_size=STRETCH):
        yield checked(from_table(table, title, content), Place(where, "row", row), text)
        row += table.num_rows
    _refuse_empty(where, row - 1)


def _embedded(given: str) -> Source:
    _, _, count = given.partition(":")
    if given.endswith(":") or (count and (not count.isdecimal() or int(count) < 1)):
        raise ValueError(f"{given}: expected embedded:N with N reviews, such as embedded:20000")
    train = int(count or EMBEDDED_REVIEWS)
    sizes = {"train": train, "test": max(200, train // 10)}
    splits = {}
    for split, size in sizes.items():
        seed = _EMBEDDED_SEEDS[split]
        identity = ["embedded", size, seed, embedded.VERSION, _sample_hash(seed)]
        where = f"embedded ({split})"
        splits[split] = Split(where, identity, partial(_read_embedded, size, seed, where), size)
    return Source(given, "embedded", "embedded", splits)


def _sample_hash(seed: int) -> str:
    """Of the first reviews: a changed generator is noticed though its version were not raised."""
    sample = "\n".join(map(repr, embedded.generate(100, seed)))
    return hashlib.sha256(sample.encode()).hexdigest()


def _read_embedded(count: int, seed: int, where: str, text: str) -> Iterator[Reviews]:
    _check_mode(text)
    generated = embedded.generate(count, seed)
    row = 1
    while reviews := list(islice(generated, STRETCH)):
        columns = Columns(
            label=[review.label for review in reviews],
            title=[review.title for review in reviews],
            content=[review.content for review in reviews],
        )
        yield checked(columns, Place(where, "row", row), text)
        row += len(reviews)


def _check_mode(text: str) -> None:
    if text not in TEXT_MODES:
        raise ValueError(f"text={text}: expected one of {', '.join(TEXT_MODES)}")


def _refuse_empty(where: str, rows: int) -> None:
    if rows == 0:
        raise ValueError(f"{where}: no rows; expected at least one review")


def unique_names(sources: Sequence[Source]) -> list[str]:
    """The sources' names, with -2, -3 and so on where several share one, or where it is that of the
    validation split, beside which a test set's figures are kept."""
    names: list[str] = []
    for source in sources:
        name, number = source.name, 2
        while name in names or name == "validation":
            name, number = f"{source.name}-{number}", number + 1
        names.append(name)
    return names
