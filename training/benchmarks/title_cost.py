"""What does it cost to read only a review's title, or only its content?

    python -m training.benchmarks.title_cost --data data/amazon_polarity \\
        --experiments baseline-tfidf baseline-fasttext --output docs/title_cost.json

Trains each experiment once for each text mode, on the same reviews and split, and compares the test
accuracies on the same reviews: each mode's errors against those of title and content together
(exact McNemar test). The runs' folders stay beside the output, so that a second call goes on.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from models.command import command
from training.reviews import TEXT_MODES

_BOTH = "title+content"


@command
def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.title_cost",
        description="Test accuracy by text mode: title, content, both.",
    )
    parser.add_argument("--data", required=True, metavar="SOURCE", help="one with titles")
    parser.add_argument("--experiments", nargs="+", default=["baseline-tfidf", "baseline-fasttext"])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--runs", type=Path, default=Path("runs/title_cost"))
    parser.add_argument("--output", type=Path, default=Path("docs/title_cost.json"))
    given = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for experiment in given.experiments:
        folders = {mode: given.runs / experiment / mode for mode in TEXT_MODES}
        for mode, folder in folders.items():
            # Titles alone repeat far more often than reviews do; all modes train on the same rows.
            settings = [*given.settings, f"data.text={mode}", "data.drop_duplicates=false"]
            done = _train(experiment, given.data, folder, settings)
            if done:
                return done
        rows += _compare(experiment, folders)
    result = {"command": _command(sys.argv[1:] if arguments is None else arguments), "rows": rows}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(rows)
    return 0


def _command(arguments: list[str]) -> str:
    return " ".join(["python -m training.benchmarks.title_cost", *arguments])


def _train(experiment: str, data: str, folder: Path, settings: list[str]) -> int:
    print(f"{folder} ...", file=sys.stderr)
    command = [sys.executable, "-m", "training", "--experiment", experiment, "--data", data,
               "--output", str(folder), "--set", *settings]  # fmt: skip
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode


def _compare(experiment: str, folders: dict[str, Path]) -> list[dict[str, Any]]:
    correct = {mode: _correct(folder) for mode, folder in folders.items()}
    rows = []
    for mode, folder in folders.items():
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        (test,) = result["tests"].values()
        lost = int((correct[_BOTH] & ~correct[mode]).sum())
        won = int((~correct[_BOTH] & correct[mode]).sum())
        rows.append(
            {
                "experiment": experiment,
                "text": mode,
                "test_reviews": test["n"],
                "accuracy": test["accuracy"],
                "lost": lost,
                "won": won,
                "p": binomtest(lost, lost + won).pvalue if lost + won else 1.0,
            }
        )
    return rows


def _correct(folder: Path) -> NDArray[np.bool_]:
    """Which test reviews are classified right, in the test set's own order, (N,)."""
    (path,) = (p for p in (folder / "predictions").glob("*.parquet") if p.stem != "validation")
    table = pq.read_table(path)
    label, negative, positive = (table[name].to_numpy() for name in table.column_names)
    right: NDArray[np.bool_] = (positive > negative) == (label == 1)
    return right


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("experiment", "text", "accuracy", "95%", "lost", "won", "p (McNemar)")
    for row in rows:
        accuracy = row["accuracy"]
        table.add_row(
            row["experiment"],
            row["text"],
            f"{100 * accuracy['value']:.2f}",
            f"{100 * accuracy['low']:.2f} to {100 * accuracy['high']:.2f}",
            str(row["lost"]),
            str(row["won"]),
            "" if row["text"] == _BOTH else f"{row['p']:.2g}",
        )
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
