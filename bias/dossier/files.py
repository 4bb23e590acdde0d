"""The files of a run that a dossier is made of, by name, and how they are read."""

import json
from pathlib import Path
from typing import Any

from training.results.run_files import one_line

SCHEMA_VERSION = 1  # of benchmark.json and audit.json alike
BUNDLE, BENCHMARK, AUDIT = "best", "benchmark/benchmark.json", "audit/audit.json"
RECORD = "record.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a record says in its files' place: `run`, where it was; `bytes`, filename -> size;
    `refused`, filename -> why its certificate did not hold. None for a run that is no record.

    Raises:
        ValueError: a damaged one; one line.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    found = versioned(path)
    wanted: dict[str, type] = {"run": str, "bytes": dict, "refused": dict}
    if not all(isinstance(found.get(key), kind) for key, kind in wanted.items()):
        raise ValueError(f"{path}: not a whole record; make it anew of the run with: python -m "
                         "bias.dossier RUN --output DIR --records DIR")  # fmt: skip
    return found


def versioned(path: Path) -> dict[str, Any]:
    """`read_json` of a file of this `SCHEMA_VERSION`; `ValueError` for any other."""
    found = read_json(path)
    if found.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema_version is {found.get('schema_version')!r}, this program "
                         f"reads {SCHEMA_VERSION}")  # fmt: skip
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; `ValueError`, one line, where it holds something else."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, wanted is an object")
    return found
