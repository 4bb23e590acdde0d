"""Audit one or more targets: `python -m bias TARGET... --output DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from models.command import command, fail

_EPILOG = """\
examples:
  python -m bias runs/1-gru/best --output audit
  python -m bias runs/1-gru/best runs/1-gru/best@onnx-int8 --reviews reviews/ --output audit
  python -m bias runs/1-gru/best http://127.0.0.1:8080/predictions/reviews --output audit \\
      --fail-over flip_rate=0.02 label_disagreement=0

A target is a bundle's folder, with @BACKEND for another than ONNX, a running endpoint's URL, or a
masked language model (a folder, a name on the hub, or a .parquet of stored logits).
Several classifiers are asked the same texts and held against the first. An audit that was cut off
goes on with the same command. Exit status: 0 passed, 1 the gate failed, 2 a mistake in the call,
3 a target that stopped answering.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Parse, audit, and turn a user's mistake into one line and exit status 2."""
    given = _parser().parse_args(arguments)
    # late: the imports take seconds, and --help should not
    from bias.run import run
    from serve.client import ClientError, RequestRefused, TokenRefused

    try:
        audit, page = run(
            given.targets,
            Path(given.output),
            reviews=given.reviews,
            text=given.text,
            most=given.most_reviews,
            identities_file=None if given.identities is None else Path(given.identities),
            fail_over=given.fail_over,
            threads=given.threads,
            token_file=given.token_file,
            seed=given.seed,
            vocabulary=None if given.vocabulary is None else Path(given.vocabulary),
            benchmark_data=None if given.benchmark_data is None else Path(given.benchmark_data),
        )
    except (TokenRefused, RequestRefused) as error:
        return fail(error)
    except ClientError as error:
        kept = f"what it answered before is kept in {given.output}, and the same command goes on"
        return fail(f"{error}; {kept} from there", 3)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    _print(audit.sections, page)
    for verdict in audit.gate:
        print(verdict.text(), file=sys.stderr)
    return 0 if all(verdict.passed for verdict in audit.gate) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bias",
        description="Audit a classifier for bias: what changes when somebody else is named?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="+", metavar="TARGET", help="what to audit; see below")
    parser.add_argument("--output", required=True, metavar="DIR", help="where the report goes")
    parser.add_argument(
        "--reviews", default="embedded:20000", metavar="SOURCE",
        help="labelled reviews to rewrite: a folder, a file or a name on the hub, as in training "
             "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--text", default="title+content", choices=("title+content", "title",
                        "content"), help="of a review (default: %(default)s)")  # fmt: skip
    parser.add_argument("--most-reviews", type=_count, default=300, metavar="N",
                        help="reviews a rewriting, at most (default: %(default)s)")  # fmt: skip
    parser.add_argument("--identities", metavar="FILE", help="axes and groups of your own, in YAML")
    parser.add_argument("--fail-over", nargs="+", action="extend", default=[], metavar="NAME=X",
                        help="exit with 1 where an estimate is over X: flip_rate=0.02")  # fmt: skip
    parser.add_argument("--threads", type=_count, metavar="N", help="of the engine")
    parser.add_argument("--token-file", metavar="FILE", help="an endpoint's key file")
    parser.add_argument("--seed", type=int, default=0, help="which reviews are drawn (default: 0)")
    parser.add_argument("--vocabulary", metavar="DIR", help="tokenizer of stored logits")
    parser.add_argument("--benchmark-data", metavar="DIR",
                        help="CrowS-Pairs and others, for masked language models")  # fmt: skip
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; give a whole number from 1")
    return int(text)


def _print(sections: Sequence[Any], page: Path) -> None:
    """The headline figures, what was found where there are none, and where the rest is."""
    table = Table("target", "figure", "value [95% interval]", "n", "noise", box=None)
    for section in sections:
        for estimate in section.headline:
            noise = "" if estimate.noise is None else f"{estimate.noise:.3f}"
            table.add_row(section.target or "together", estimate.name, estimate.text(4),
                          f"{estimate.n:,}", noise)  # fmt: skip
    console = Console()
    if table.row_count:
        console.print(table)
    for section in sections:
        if section.findings and not section.headline:
            console.print(f"{section.target or 'together'}: {section.findings[0]}", markup=False)
    console.print(f"report: {page}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(main())
