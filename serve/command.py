"""What the commands of this package have in common: their parsers' frame, and how they fail."""

import argparse
import sys

MISTAKES = (ValueError, FileNotFoundError)
"""What a user's mistake raises: its message is one line that says what to do."""


def command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of `python -m NAME`; its epilog is shown as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def fail(parser: argparse.ArgumentParser, error: Exception | str, status: int = 2) -> int:
    """Says on one line what is wrong; returns the exit status."""
    print(f"{parser.prog}: {error}", file=sys.stderr)
    return status
