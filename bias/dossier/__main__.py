"""Which model to use where, from run folders: `python -m bias.dossier RUN... --output DIR`."""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.command import command

_EPILOG = """\
examples:
  python -m bias.dossier runs/1-gru runs/6-bert-finetuned runs/baseline-tfidf --output dossier
  python -m bias.dossier runs/* --output dossier --price-per-hour 0.40 --currency USD
  python -m bias.dossier runs/* --output dossier --records records
  python -m bias.dossier records/* --output dossier      again, where the runs are gone

It reads, and measures nothing. Before it, for each run:
  python -m export RUN/best
  python -m export.benchmark RUN/best --output RUN/benchmark
  python -m bias RUN/best --output RUN/audit
What is missing of these is said in its place. Runs that differ in train.seed alone are one
candidate. It writes dossier.html, dossier.md, dossier.json, pictures, and cards/NAME/README.md.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Gather, judge, write, print; a user's mistake is one line and exit status 2."""
    given = _parser().parse_args(arguments)
    # late: the imports take seconds, and --help should not
    from bias.dossier.candidates import read_candidates
    from bias.dossier.contexts import load_contexts
    from bias.dossier.failures import Texts, find_failures
    from bias.dossier.record import write_records
    from bias.dossier.write import compile_dossier, write
    from training.results.runs import without_reports

    contexts = load_contexts(given.contexts)
    for flag, folder in (("--output", given.output), ("--records", given.records)):
        if folder is not None and folder.is_file():
            raise ValueError(f"{flag} {folder}: is a file; give a folder")
    candidates = read_candidates(without_reports(given.runs))
    texts = None if given.no_texts else Texts(lambda line: print(line, file=sys.stderr))
    failures = {c.name: find_failures(c, given.examples, texts) for c in candidates}
    dossier = compile_dossier(candidates, contexts, failures, given.price_per_hour, given.currency)
    records = write_records(candidates, given.records) if given.records else []
    paths = write(dossier, given.output, given.cards_into_bundles)
    table = Table("use", "recommended", "why", box=None)
    for each in dossier.recommendations:
        table.add_row(each.context.title, each.chosen.name if each.chosen else "no model", each.why)
    console = Console()
    if not console.is_terminal:  # a log has no edge to fold at
        console = Console(width=200)
    console.print(table)
    for record in records:
        console.print(f"record: {record}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"dossier: {paths[0]}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bias.dossier",
        description="Which model to use where: everything measured of the runs, judged by context.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of a finished run"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="of the files")
    parser.add_argument("--records", type=Path, metavar="DIR",
                        help="keep here what the dossier is made of: no weights, no texts; "
                        "a record is a RUN")  # fmt: skip
    parser.add_argument(
        "--contexts",
        type=Path,
        metavar="FILE",
        help="uses and thresholds of your own, in YAML (default: ours)",
    )
    parser.add_argument(
        "--price-per-hour",
        type=_price,
        metavar="X",
        help="of the machine that trained; without it no money is stated",
    )
    parser.add_argument("--currency", default="", metavar="NAME", help="of the price, such as USD")
    parser.add_argument("--examples", type=_count, default=5, metavar="N",
                        help="surest errors a test set (default: %(default)s)")  # fmt: skip
    parser.add_argument("--no-texts", action="store_true",
                        help="do not quote reviews, which may be personal data")  # fmt: skip
    parser.add_argument(
        "--cards-into-bundles",
        action="store_true",
        help="write model cards to RUN/best/README.md, not to DIR/cards",
    )
    return parser


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}; give a number from 0, such as 0.40")
    return price


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; give a whole number from 0")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
