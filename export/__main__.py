"""`python -m export BUNDLE`: writes the artefacts of a bundle, each proved before it is there."""

import argparse
import difflib
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from export.certificate import read_config, require_provable
from export.formats import FORMATS, NotExportable
from models.command import command

OPSETS = range(20, 24)  # Gelu is of 20; what the exporter of this torch writes ends at 23
EPILOG = """\
examples:
  python -m export runs/1-gru/best                     every format but aoti
  python -m export runs/1-gru/best --format onnx       one of them
  python -m export runs/1-gru/best --reviews reviews.csv --limit 5000
  python -m export --list                              the formats

An artefact that does not answer as the checkpoint does is not written: exit status 1. What was
proved, on what, and how it came out lies beside the artefacts, in parity.json.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Parse, export, and turn a user's mistake into one line and exit status 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        _print_formats()
        return 0
    if given.bundle is None:
        parser.error("BUNDLE is needed: a trained bundle's folder, such as runs/1-gru/best")
    given.format = chosen_formats(given.format)
    _check(given)
    return _export(given)


def chosen_formats(given: list[str] | None) -> list[str]:
    """The formats by their names, the default ones if None; `ValueError` for an unknown one."""
    for name in given or []:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"--format: got {name!r}{hint}; allowed are {', '.join(FORMATS)}")
    return list(dict.fromkeys(given or (name for name in FORMATS if FORMATS[name].by_default)))


def add_review_options(parser: argparse.ArgumentParser) -> None:
    """`--reviews` and `--limit`: the labelled reviews that accuracy is measured on."""
    parser.add_argument(
        "--reviews",
        metavar="SOURCE",
        default="embedded:10000",
        help="labelled reviews, as training takes them; the test split where there is one "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=1000,
        metavar="N",
        help="reviews at most (default: %(default)s)",
    )


def findings_row(filename: str, entry: dict[str, Any], seconds: float) -> list[str]:
    """A certificate's entry as a row of the summary table."""
    low, high = entry["accuracy_interval_95"]
    return [
        filename,
        f"{entry['bytes'] / 1e6:,.1f}",
        f"{entry['max_abs_difference']:.1e}",
        f"{entry['mean_abs_difference']:.1e}",
        f"{entry['label_agreement']:.2%}",
        f"{entry['accuracy']:.2%} ({low:.1%} to {high:.1%})",
        f"{entry['checkpoint_accuracy']:.2%}",
        f"{seconds:.1f}",
    ]


def findings_table() -> Table:
    """The summary table's head."""
    columns = ("artefact", "MB", "max |Δlogit|", "mean", "labels alike", "accuracy (95% interval)",
               "checkpoint's", "seconds")  # fmt: skip
    return Table(*columns, box=None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Export a trained bundle to formats that run without this project.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "--format",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="formats (default: all but aoti)",
    )
    add_review_options(parser)
    parser.add_argument("--opset", type=int, metavar="N", help="ONNX operator set (default: 20)")
    parser.add_argument("--list", action="store_true", help="show the formats and leave")
    return parser


def _check(given: argparse.Namespace) -> None:
    if given.opset is not None and given.opset not in OPSETS:
        allowed = f"{OPSETS.start} to {OPSETS.stop - 1}"
        raise ValueError(f"--opset: got {given.opset}; allowed are {allowed}")
    check_limit(given.limit)
    require_provable(given.bundle, read_config(given.bundle))


def check_limit(limit: int) -> None:
    """`ValueError` unless `--limit` is a number of reviews."""
    if limit < 1:
        raise ValueError(f"--limit: got {limit}; give at least 1")


def _export(given: argparse.Namespace) -> int:
    # torch takes seconds to import: not for --help or a mistyped name
    from export.parity import ParityError
    from export.progress import Progress
    from export.reviews import accuracy_set
    from export.write import Checkpoint, Exporter, reference_of, ways, write_artefact

    checkpoint = Checkpoint.load(given.bundle)
    bundle = checkpoint.bundle
    reviews = accuracy_set(given.reviews, bundle.tokenizer, bundle.max_length, given.limit)
    exporter = Exporter(checkpoint, given.opset)
    table, failed = findings_table(), []
    with Progress() as progress:
        with progress.task("the checkpoint's answers", None) as advance:
            reference = reference_of(checkpoint, reviews, advance)
        for name in given.format:
            start, filename = time.perf_counter(), FORMATS[name].filename
            batches = reference.batches * len(ways(name, checkpoint.config))
            with progress.task(f"export and prove {filename}", batches) as advance:
                try:
                    entry = write_artefact(exporter, name, reference, advance)
                except (NotExportable, ParityError) as error:
                    failed.append(str(error))
                    continue
            table.add_row(*findings_row(filename, entry, time.perf_counter() - start))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for line in failed:
        print(f"error: not written: {line}", file=sys.stderr)
    return 1 if failed else 0


def _print_formats() -> None:
    table = Table("format", "file", "what", box=None)
    for name, entry in FORMATS.items():
        table.add_row(name, entry.filename, entry.summary)
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
