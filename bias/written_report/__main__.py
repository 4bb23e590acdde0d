"""The written answers from committed JSON: `python -m bias.written_report --docs docs`."""

import argparse
import sys
from pathlib import Path

from bias.written_report.document import document
from bias.written_report.inputs import COMMANDS, read_inputs
from models.command import command
from models.files import write_whole

NAME = "report.md"
_EPILOG = """\
examples:
  python -m bias.written_report --docs docs            writes docs/report.md
  python -m bias.written_report --docs docs --check    exit status 1 where that is not up to date

It reads, as far as they are there:
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """0; with --check 1 where the file is stale; 2 for a user's mistake, in one line."""
    listed = "".join(f"  {name:<30} {command}\n" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bias.written_report",
        description="Assemble the written answers; an input that is missing is named in its place.",
        epilog=_EPILOG + listed,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--docs", type=Path, required=True, metavar="DIR",
                        help="folder with the inputs, where report.md goes")  # fmt: skip
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    given = parser.parse_args(arguments)
    path = given.docs / NAME
    text = document(read_inputs(given.docs))
    if given.check:
        return _check(path, text, given.docs)
    write_whole(path, text)
    print(path)
    return 0


def _check(path: Path, text: str, docs: Path) -> int:
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    if written == text:
        return 0
    print(
        f"{path}: is not what its inputs give; write it anew with: "
        f"python -m bias.written_report --docs {docs}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
