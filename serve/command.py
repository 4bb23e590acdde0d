"""What the commands of this package have in common: their parsers' frame."""

import argparse
from pathlib import Path


def command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of `python -m NAME`; its epilog is shown as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def given_path(text: str) -> Path:
    """The type of a flag that names a file or a folder: an empty one, as of a variable that is not
    set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; give a path, or leave the flag out")
    return Path(text)


def flag_of(name: str) -> str:
    """`max_items` -> `--max-items`: the flag that fills `name` of the options."""
    return "--" + name.replace("_", "-")
