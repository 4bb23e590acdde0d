"""Reviews, whatever the source, as token tables for training, validation and tests.

    data = load_data(config.data)
    data.train, data.validation, data.tests["amazon_polarity"], data.tokenizer, data.report

What is in some data, without training on it:

    python -m training.data fancyzhx/amazon_polarity
    python -m training.data reviews.csv --text content --tokenizer ./bert-base-uncased
"""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
from filelock import FileLock
from pydantic import ValidationError
from rich.console import Console
from tokenizers import Tokenizer

from models.command import command, fail
from training.data_report import DataReport, describe_part
from training.pool import Load, Pool, limited
from training.progress import Progress
from training.settings import DataConfig
from training.sources import Source, Split, open_source, unique_names
from training.splits import occurs_in
from training.token_table import EMPTY_TEXT, Recipe, TokenFile, TokenTable, tokenised
from training.tokenization import load_tokenizer

__all__ = ["DataReport", "ReviewData", "TokenTable", "load_data"]

_VOCABULARY_REVIEWS = 200_000  # a vocabulary is settled long before; more would cost memory
_TRAINING_VERSION = 1  # of `train_wordpiece`: part of the cache's key


@dataclass(frozen=True)
class ReviewData:
    """All that a run reads. `tests` is keyed by the source's name, rows in the source's order."""

    train: TokenTable
    validation: TokenTable
    tests: dict[str, TokenTable]
    tokenizer: Tokenizer
    report: DataReport


def load_data(config: DataConfig, progress: Progress | None = None) -> ReviewData:
    """Read, tokenise (once: the cache keeps it), split and report.

    - Training rows of all sources are concatenated. Of rows with the same text the first is kept,
      before any split, so that none straddles two of them.
    - A source without test rows gives a stratified `test_fraction`, one without validation rows
      takes part in a stratified `validation_fraction`. The draws are functions of `config.seed`.
    - `limit_*` draw stratified subsets, last.

    Safe to call from several processes at once: one builds the cache, the others wait for it.

    Raises:
        ValueError: a source, row, tokenizer or setting that does not fit; one line.
        FileNotFoundError: a source that is not there.
    """
    say = progress.say if progress else (lambda line: None)
    sources, test_sources = _open_sources(config, say)
    folder = cache_folder(config)
    tokenizer = _tokenizer(config, sources, folder, progress)
    recipe = Recipe(tokenizer, config.text, config.max_length)
    load = partial(_load, recipe=recipe, folder=folder, progress=progress)
    pool = Pool(sources, load, config)
    every = [*sources, *test_sources]
    named = dict(zip(unique_names(every), every, strict=True))
    whole_tests = _test_tables(named, pool, load)
    tests = {
        name: limited(table, table.labels, config.limit_test, config.seed)
        for name, table in whole_tests.items()
    }
    train_hashes = pool.train.column("text_hash")
    report = DataReport(
        text=config.text,
        max_length=config.max_length,
        tokenizer=config.tokenizer or "a WordPiece trained here",
        vocabulary_size=tokenizer.get_vocab_size(),
        train=len(pool.train),
        validation=len(pool.validation),
        tests={name: len(table) for name, table in tests.items()},
        parts=pool.reports(train_hashes),
    )
    for name, table in whole_tests.items():
        leaked = int(occurs_in(table.column("text_hash"), train_hashes).sum())
        report.parts.append(
            describe_part(name, "test", table, len(tests[name]), also_in_training=leaked)
        )
    return ReviewData(pool.train, pool.validation, tests, tokenizer, report)


def _open_sources(
    config: DataConfig, say: Callable[[str], None]
) -> tuple[list[Source], list[Source]]:
    if not config.sources:
        raise ValueError("data.sources: none given; expected a hub name, folder, file or embedded")
    twice = {given for given in config.sources if config.sources.count(given) > 1}
    twice |= {given for given in config.tests if (config.sources + config.tests).count(given) > 1}
    if twice:
        raise ValueError(
            f"data.sources, data.tests: {', '.join(sorted(twice))} is given twice; a source's own "
            "test rows are a test set without being named in data.tests"
        )
    sources = [open_source(given, say) for given in config.sources]
    for source in sources:
        if "train" not in source.splits:
            raise ValueError(
                f"data.sources: {source.given} has no training rows (found: "
                f"{', '.join(source.splits)}); expected a file whose name begins with train, or "
                "give it as a test (--test, data.tests)"
            )
    tests = [open_source(given, say) for given in config.tests]
    for test in tests:
        if "test" not in test.splits and test.kind != "file":
            raise ValueError(
                f"data.tests: {test.given} has no test rows (found: {', '.join(test.splits)}); "
                "expected a file whose name begins with test, or give one file"
            )
    return sources, tests


def _test_tables(named: dict[str, Source], pool: Pool, load: Load) -> dict[str, TokenTable]:
    """Every source's test rows; of a file that was given as a test, all rows."""
    tables = {}
    for k, (name, source) in enumerate(named.items()):
        if k in pool.tests:
            tables[name] = pool.tests[k]
        else:
            split = source.splits["test"] if "test" in source.splits else source.splits["train"]
            tables[name] = TokenTable([load(split)])
    return tables


def _load(split: Split, recipe: Recipe, folder: Path, progress: Progress | None) -> TokenFile:
    """The split's token file, with a bar while it is built."""
    bar: AbstractContextManager[Any] = nullcontext()
    path = folder / f"{recipe.key(split)}.arrow"
    if progress and not path.is_file():
        # a pass over the file costs a hundredth of tokenising it, and finds bad rows right away
        rows = _count(split, recipe.text)
        bar = progress.task(f"tokenise {split.where}", rows)
    with bar as task:
        file = tokenised(split, recipe, folder, task.advance if task else None)
    if (file.column("text_hash") == EMPTY_TEXT).all():
        raise ValueError(f"{split.where}: text={recipe.text}: all reviews are empty; use another")
    return file


def _tokenizer(
    config: DataConfig, sources: list[Source], folder: Path, progress: Progress | None
) -> Tokenizer:
    """The one that is named, or one trained on the training rows, which the cache keeps."""
    if config.tokenizer is not None:
        return load_tokenizer(config.tokenizer)
    splits = [source.splits["train"] for source in sources]
    parts = {
        "version": _TRAINING_VERSION,
        "library": tokenizers.__version__,
        "sources": [split.identity for split in splits],
        "text": config.text,
        "vocabulary_size": config.vocabulary_size,
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"{key}.tokenizer.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock"):
        if not path.is_file():
            rows = sum(_count(split, config.text) for split in splits)  # finds bad rows, too
            if progress:
                progress.say(f"training a WordPiece of {config.vocabulary_size:,} tokens")
            texts = partial(_every, splits, config.text, -(-rows // _VOCABULARY_REVIEWS))
            trained = load_tokenizer(None, texts, config.vocabulary_size)
            partial_path = path.with_suffix(".partial")
            trained.save(str(partial_path))
            os.replace(partial_path, path)
    return load_tokenizer(str(path))


def _every(splits: list[Split], text: str, stride: int) -> Iterator[list[str]]:
    """Every `stride`-th text, so that a sorted source is covered from one end to the other."""
    seen = 0
    for split in splits:
        for reviews in split.read(text):
            yield reviews.texts[-seen % stride :: stride]
            seen += len(reviews.texts)


def _count(split: Split, text: str) -> int:
    if split.rows is not None:
        return split.rows
    return sum(len(reviews.texts) for reviews in split.read(text))


def cache_folder(config: DataConfig) -> Path:
    """Where token files lie: `data.cache_dir`, or the user's cache."""
    if config.cache_dir is not None:
        return Path(config.cache_dir).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "text-classifier-audit"


@command
def main(arguments: list[str] | None = None) -> int:
    """Prepare the sources and print what is in them."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data",
        description="Read reviews, tokenise them into the cache and show what is in them.",
    )
    defaults = DataConfig()
    parser.add_argument("sources", nargs="+", metavar="SOURCE",
                        help="hub name, folder, file, embedded or embedded:N")  # fmt: skip
    parser.add_argument("--test", nargs="+", default=[], metavar="SOURCE", help="only tested on")
    parser.add_argument("--text", default=defaults.text, help="title+content, title or content")
    parser.add_argument("--tokenizer", metavar="NAME",
                        help="folder or hub name; without it, one is trained")  # fmt: skip
    parser.add_argument("--vocabulary-size", type=int, default=defaults.vocabulary_size)
    parser.add_argument("--max-length", type=int, default=defaults.max_length)
    parser.add_argument("--cache-dir", help="default: ~/.cache/text-classifier-audit")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    try:
        config = DataConfig(
            sources=given.sources,
            tests=given.test,
            text=given.text,
            tokenizer=given.tokenizer,
            vocabulary_size=given.vocabulary_size,
            max_length=given.max_length,
            cache_dir=given.cache_dir,
        )
        report = load_data(config, Progress()).report
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        return fail(f"{flag} {first['input']}: {first['msg']}")
    if given.json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        Console().print(report.render())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
