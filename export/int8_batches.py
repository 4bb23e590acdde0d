"""By how much a bundle's int8 answers depend on the batch that a review is computed in.

    python -m export.int8_batches runs/4-transformer-deep/best --output int8_batches.json

A product's activations get one scale, of their whole tensor, so that padding and the other reviews
of a batch take part in rounding. Measured against each review alone, without padding; the float32
file beside it, where only the order of sums differs.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.__main__ import add_review_options, check_limit
from export.cases import padded, padded_batches
from export.certificate import read_artefact, read_config
from export.formats import FORMATS
from export.padding import Engine, ParallelParts, skip_padding
from models.command import command

SIZE = 32  # reviews a batch

Logits = NDArray[np.float32]


def measure(folder: Path, source: str, limit: int) -> dict[str, Any]:
    """Every way of batching, of both files: |Δlogit| from each review alone, labels changed."""
    from tokenizers import Tokenizer

    from export.onnx_engine import onnx_engine
    from export.reviews import labelled_set

    config = read_config(folder)
    contents = {name: read_artefact(folder, FORMATS[name].filename)[0] for name in FILES}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = labelled_set(source, tokenizer, config["max_length"], limit).rows
    found = {}
    for name, content in contents.items():
        engine = onnx_engine(content, name, "cpu", 1)
        alone = in_batches(engine, rows, 1)
        found[name] = {
            "deviation_of_logits": float(alone.std()),
            "ways": {how: _apart(run(engine, rows), alone) for how, run in WAYS.items()},
        }
    return {
        "architecture": config["architecture"],
        "weights_sha256": config["weights_sha256"],
        "reviews_source": source,
        "reviews": len(rows),
        "files": found,
    }


def in_batches(engine: Engine, rows: list[list[int]], size: int) -> Logits:
    """The logits (N, labels) of the reviews, `size` a batch, padded to the longest of each."""
    return np.concatenate([engine(*batch) for batch in padded_batches(rows, size)])


def padded_alone(engine: Engine, rows: list[list[int]]) -> Logits:
    """The logits (N, labels) of each review alone, padded to the longest of all."""
    input_ids, mask = padded(rows)
    pairs = zip(input_ids[:, None], mask[:, None], strict=True)  # (1, T) each
    return np.concatenate([engine(*pair) for pair in pairs])


def _apart(found: Logits, alone: Logits) -> dict[str, float]:
    difference = np.abs(found - alone)
    return {
        "max_abs_difference": float(difference.max()),
        "mean_abs_difference": float(difference.mean()),
        "labels_changed": int((found.argmax(axis=1) != alone.argmax(axis=1)).sum()),
    }


FILES = ("onnx", "onnx-int8")
WAYS: dict[str, Callable[[Engine, list[list[int]]], Logits]] = {
    "alone, padded to the longest of all": padded_alone,
    f"in batches of {SIZE}, as they are": lambda run, rows: in_batches(run, rows, SIZE),
    f"in batches of {SIZE}, padding skipped": lambda run, rows: in_batches(
        skip_padding(run), rows, SIZE
    ),
    f"in batches of {SIZE}, parts of two threads": lambda run, rows: in_batches(
        ParallelParts(run, lambda: run, 2), rows, SIZE
    ),
}


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write JSON; a user's mistake is one line and exit status 2."""
    from models.files import write_whole

    parser = argparse.ArgumentParser(
        prog="python -m export.int8_batches",
        description="Measure how int8 answers depend on padding and on a batch's other reviews.",
    )
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="with a model.onnx and a model.int8.onnx"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="of the JSON")
    add_review_options(parser)
    given = parser.parse_args(arguments)
    check_limit(given.limit)
    if given.output.is_dir():
        raise ValueError(f"--output {given.output}: is a folder; give a file")
    measured = measure(given.bundle, given.reviews, given.limit)
    write_whole(given.output, json.dumps(measured, indent=1) + "\n")
    for name, file in measured["files"].items():
        print(f"{name}: the logits' deviation is {file['deviation_of_logits']:.2f}")
        for how, apart in file["ways"].items():
            print(
                f"  {how}: at most {apart['max_abs_difference']:.1e}, on average "
                f"{apart['mean_abs_difference']:.1e}, labels changed: {apart['labels_changed']} of "
                f"{measured['reviews']}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
