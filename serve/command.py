"""What the commands of this package have in common: their parsers' frame."""

import argparse


def command_parser(name: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
    """The parser of `python -m NAME`; its epilog is shown as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
