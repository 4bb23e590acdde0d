"""`python -m serve predict IN OUT`: predictions for a file's texts; goes on where it was stopped.

CSV (with a header) or JSON lines, by the file's ending, each in and out. The rows are written in
order and in blocks, each with what was read of it, so that a run that was stopped, even by a power
cut, is gone on with: its whole rows are counted, a torn one is cut off. `OUT.origin.json` beside
them says what they are by, and nothing else goes on with them.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.command import command, fail
from models.files import exclusive
from serve.client import ClientError, RequestRefused
from serve.command import command_parser, given_path
from serve.origin import (
    bundle_origin,
    check_origin,
    endpoint_origin,
    origin_path,
    write_origin,
)
from serve.predictor import HttpPredictor, Predictor, open_predictor
from serve.requests import kind
from serve.rows import (
    KINDS,
    RowWriter,
    csv_field,
    read_alike,
    read_header,
    read_rows,
    whole_bytes,
)
from serve.stopping import Stopped, stoppable

BLOCK = 256  # rows predicted and written together
_PREDICTED = re.compile("predicted_label|predicted_score|probability_.*", re.DOTALL)
EPILOG = """\
examples:
  python -m serve predict reviews.csv scored.csv --bundle runs/1-gru/best
  python -m serve predict reviews.jsonl scored.jsonl --bundle runs/1-gru/best --backend onnx-int8
  python -m serve predict reviews.csv scored.jsonl --column content \\
      --url http://127.0.0.1:8080/predictions/reviews --token-file key_file.json

Every row keeps its columns and gets `predicted_label`, `predicted_score` and a probability a label.
"""


@command
def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        with stoppable():
            written = _predict_by(options)
    except Stopped:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    except ClientError as error:
        return fail(error, 1)
    print(f"{options.output}: {written:,} rows")
    return 0


def _predict_by(options: argparse.Namespace) -> int:
    if options.url is not None and not options.url.startswith(("http://", "https://")):
        raise ValueError(f"--url: got {options.url!r}; give a model's, http://... or https://...")
    for path in (options.input, options.output):
        if path.suffix not in KINDS:
            raise ValueError(f"{path}: read and written are {' and '.join(KINDS)} files")
    predictor = open_predictor(
        options.url or options.bundle,
        backend=options.backend,
        token_file=options.token_file,
        management_url=options.management_url,
    )
    origin = (
        endpoint_origin(options.url, predictor.identity)
        if isinstance(predictor, HttpPredictor)
        else bundle_origin(options.bundle, options.backend)
    )
    return predict_file(predictor, options.input, options.output, origin, options.column)


def predict_file(
    predictor: Predictor,
    source: Path,
    target: Path,
    origin: Mapping[str, Any],
    column: str = "text",
) -> int:
    """Predicts the texts in `column` of each row of `source`; returns the rows in `target`.

    `origin` says what the predictor is: rows that are there already are kept only where they, and
    the column, are of the same (`serve.origin`).

    Raises:
        ValueError: `target` is `source`, or has rows of another file or another predictor; or a
            row without a text: names file and row, `target` holds the rows before it; or rows
            with other fields than the first, where `target` is a CSV: it holds nothing new; or
            another process that writes `target`.
    """
    if target.exists() and source.samefile(target):
        raise ValueError(f"{target}: is IN itself, by this or another name; give OUT another one")
    total = sum(1 for _ in (read_alike if target.suffix == ".csv" else read_rows)(source))
    header = _header(source, predictor.labels, column) if source.suffix == ".csv" else []
    is_new = not target.exists()
    target.touch()
    with exclusive(target):
        try:
            done = _resume(source, target, {**origin, "column": column})
            with _progress() as progress, RowWriter(target) as sink:
                task = progress.add_task(source.name, total=total, completed=done)
                for block in _blocks(predictor, source, done, column):
                    sink.write(block)
                    progress.advance(task, len(block))
                if total == 0 and header:
                    sink.write([], header)
        except BaseException:
            if is_new and target.stat().st_size == 0:  # nothing is there to be gone on with
                target.unlink()
                origin_path(target).unlink(missing_ok=True)
            raise
    return total


def _blocks(
    predictor: Predictor, source: Path, done: int, column: str
) -> Iterator[list[dict[str, Any]]]:
    """The rows behind the first `done`, with their predictions."""
    rows = islice(enumerate(read_rows(source), 1), done, None)
    while block := list(islice(rows, BLOCK)):
        texts = [_text_of(row, column, f"{source}: row {number}") for number, row in block]
        probabilities = _predict(predictor, texts, source, block[0][0], column)
        yield [
            _joined(row, _prediction(each, predictor.labels), f"{source}: row {number}")
            for (number, row), each in zip(block, probabilities.tolist(), strict=True)
        ]


def _header(source: Path, labels: list[str], column: str) -> list[str]:
    """The columns of what a CSV becomes. Errors as of a row."""
    names = read_header(source)
    if not names:
        raise ValueError(f"{source}: empty; a CSV begins with a header")
    place = f"{source}: the header"
    _text_of(dict.fromkeys(names, "a text"), column, place)
    return list(_joined(dict.fromkeys(names), _prediction([0.0] * len(labels), labels), place))


def _text_of(row: dict[str, Any], column: str, place: str) -> str:
    if column not in row:
        raise ValueError(
            f"--column: got {column!r}, {place} has {', '.join(map(str, row))}; name one of them"
        )
    text = row[column]
    if not isinstance(text, str):
        raise ValueError(f"{place}, column {column}: found {kind(text)}, wanted is a text")
    if not text.strip():  # an endpoint refuses it, so a bundle's answer would be another
        raise ValueError(f"{place}, column {column}: empty; give it a text, or leave the row out")
    return text


def _predict(
    predictor: Predictor, texts: list[str], source: Path, first: int, column: str
) -> NDArray[np.float64]:
    """Probabilities (N, 2); an endpoint's refusal of a text names its row."""
    try:
        return predictor.predict(texts)
    except RequestRefused as error:
        if error.text is None:
            raise
        raise ValueError(
            f"{source}: row {first + error.text}, column {column}: {error.reason}"
        ) from None


def _joined(row: dict[str, Any], found: dict[str, Any], place: str) -> dict[str, Any]:
    if taken := [name for name in found if name in row]:
        raise ValueError(f"{place} has {', '.join(taken)}, which OUT's prediction would replace; "
                         "rename it in IN")  # fmt: skip
    return row | found


def _prediction(probabilities: list[float], labels: list[str]) -> dict[str, Any]:
    best = max(range(len(labels)), key=probabilities.__getitem__)
    return {
        "predicted_label": labels[best],
        "predicted_score": probabilities[best],
        **{f"probability_{name}": p for name, p in zip(labels, probabilities, strict=True)},
    }


def _resume(source: Path, target: Path, origin: Mapping[str, Any]) -> int:
    """Cuts off a torn last row; the rows that are left, which are `source`'s first."""
    if not target.exists() or target.stat().st_size == 0:
        write_origin(target, origin)
        return 0
    check_origin(target, origin)  # before anything of what may be another's file is cut off
    with target.open("rb+") as file:
        file.truncate(whole_bytes(file.read(), target.suffix))
        done = _kept(source, target)
        if done == 0:  # a header alone: of which file, nobody knows
            file.truncate(0)
    return done


def _kept(source: Path, target: Path) -> int:
    """How many rows `target` has. Raises `ValueError` at the first that `source` has otherwise."""
    number = 0
    rows = read_rows(source)
    for number, kept in enumerate(read_rows(target), 1):
        row = next(rows, None)
        if row is None or not _is_kept(row, kept, target.suffix):
            found = "no such row" if row is None else "another one"
            raise ValueError(
                f"{target}: row {number} is of another file, {source} has {found} there; give OUT "
                "another name, or remove it"
            )
    return number


def _is_kept(row: dict[str, Any], kept: dict[str, Any], kind: str) -> bool:
    """Whether `kept` is `row` with a prediction, as a file of this kind holds it."""
    own = {name: value for name, value in kept.items() if not _PREDICTED.fullmatch(name)}
    given = {name: value for name, value in row.items() if not _PREDICTED.fullmatch(name)}
    if kind == ".csv":  # whose columns are all texts, in the order of the header
        return own == {name: csv_field(value) for name, value in given.items()}
    return json.dumps(own) == json.dumps(given)  # tells 1 from true and 1.0; NaN is itself


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "serve predict",
        "Predict every text of a file, by a bundle or by a running endpoint.",
        EPILOG,
    )
    parser.add_argument(
        "input", type=given_path, metavar="IN", help=".csv with a header, or .jsonl"
    )
    parser.add_argument(
        "output", type=given_path, metavar="OUT", help=".csv or .jsonl; gone on with"
    )
    parser.add_argument("--column", default="text", help="that holds the texts (default: text)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--bundle", type=given_path, metavar="FOLDER", help="predict in this process"
    )
    target.add_argument("--url", help="predict by this endpoint")
    parser.add_argument("--backend", help="of the bundle (default: onnx)")
    parser.add_argument("--token-file", type=given_path, metavar="FILE", help="of the endpoint")
    parser.add_argument("--management-url", metavar="URL", help="to refresh an expired token at")
    return parser
