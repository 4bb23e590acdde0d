"""Curves, table and answers from run folders: `python -m training.results RUN... --output DIR`."""

import argparse
from pathlib import Path

from rich.console import Console

from models.command import command
from training.results.page import make_page, write_page
from training.results.runs import read_runs, without_reports
from training.results.table import terminal_table

_EPILOG = """\
examples:
  python -m training.results runs/1-gru runs/2-gru-attention --output report
  python -m training.results runs/* --output docs

It writes learning_curves.png, accuracy_and_cost.png, results.md and results.json. Any runs will do:
one that is unfinished is drawn and listed, and a comparison whose runs are missing says which
command would make them.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Read, compute, write, print; a user's mistake gives one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m training.results",
        description="Draw, tabulate and compare training runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="where the files go"
    )
    given = parser.parse_args(arguments)
    page = make_page(read_runs(without_reports(given.runs)))
    paths = write_page(page, given.output)
    console = Console()
    if not console.is_terminal:  # a log has no edge to fold at
        console = Console(width=200)
    console.print(terminal_table(page.runs))
    for warning in page.warnings:
        console.print(f"note: {warning}", markup=False, highlight=False)
    for path in paths:
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
