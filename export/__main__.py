"""`python -m export BUNDLE`: writes the artefacts of a bundle, each proved before it is there."""

import argparse
import difflib
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from export.certificate import read_config
from export.formats import FORMATS

EPILOG = """\
examples:
  python -m export runs/1-gru/best                     every format
  python -m export runs/1-gru/best --format onnx       one of them
  python -m export --list                              the formats

An artefact that does not answer as the checkpoint does is not written: exit status 1.
"""


def main(arguments: list[str] | None = None) -> int:
    """Parse, export, and turn a user's mistake into one line and exit status 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        _print_formats()
        return 0
    if given.bundle is None:
        parser.error("BUNDLE is needed: a trained bundle's folder, such as runs/1-gru/best")
    try:
        formats = _formats(given.format)
        read_config(given.bundle)
    except (ValueError, FileNotFoundError) as error:
        print(f"python -m export: {error}", file=sys.stderr)
        return 2
    return _export(given.bundle, formats)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a trained bundle to formats that run without this project.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "--format", nargs="+", action="extend", metavar="NAME", help="formats (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="show the formats and leave")
    return parser


def _formats(given: list[str] | None) -> list[str]:
    for name in given or []:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"--format: got {name!r}{hint}; allowed are {', '.join(FORMATS)}")
    return list(dict.fromkeys(given or FORMATS))


def _export(folder: Path, formats: list[str]) -> int:
    # torch takes seconds to import: not for --help or a mistyped name
    from export.cases import cases
    from export.metadata import vocabulary_size
    from export.parity import ParityError
    from export.progress import Progress
    from export.write import write_artefact
    from models.bundle import load

    try:
        bundle = load(folder)
    except (ValueError, FileNotFoundError) as error:
        print(f"python -m export: {error}", file=sys.stderr)
        return 2
    batches = cases(vocabulary_size(read_config(folder)))
    table = Table("artefact", "bytes", "max |Δlogit|", "labels alike", "seconds", box=None)
    failed = []
    with Progress() as progress:
        for name in formats:
            start = time.perf_counter()
            filename = FORMATS[name].filename
            with progress.task(f"export and prove {filename}", len(batches)) as advance:
                try:
                    entry = write_artefact(folder, bundle, name, batches, advance)
                except ParityError as error:
                    failed.append(str(error))
                    table.add_row(filename, "not written", "failed", "", "")
                    continue
            seconds = time.perf_counter() - start
            table.add_row(filename, f"{entry['bytes']:,}", f"{entry['max_abs_difference']:.2g}",
                          f"{entry['label_agreement']:.2%}", f"{seconds:.1f}")  # fmt: skip
    Console().print(table)
    for line in failed:
        print(f"python -m export: not written: {line}", file=sys.stderr)
    return 1 if failed else 0


def _print_formats() -> None:
    table = Table("format", "file", "what", box=None)
    for name, entry in FORMATS.items():
        table.add_row(name, entry.filename, entry.summary)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
