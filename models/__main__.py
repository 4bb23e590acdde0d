"""`python -m models`: the architectures by name; `python -m models describe BUNDLE`."""

import argparse
import inspect
from pathlib import Path
from typing import Any

import torch

from models.bundle import empty_model, verify
from models.command import command
from models.registry import ARCHITECTURES, Architecture, build

EPILOG = """\
examples:
  python -m models                              every architecture, its arguments, its size
  python -m models describe runs/1-gru/best     what a trained bundle is, verified

from Python:
  from models.registry import build
  model = build("gru-encoder", vocabulary_size=30522, hidden_size=128)
  logits = model(input_ids, attention_mask)     # (B, T) int64, (B, T) -> (B, 2)
"""


@command
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models",
        description="The architectures by name, and what a trained one (a bundle) is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("list", help="print the table of architectures (what no command does too)")
    describe_parser = commands.add_parser("describe", help="verify a bundle and print what it is")
    describe_parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    options = parser.parse_args(arguments)
    if options.command != "describe":
        print(table())
        return 0
    print(describe(options.bundle))
    return 0


def table() -> str:
    """Every architecture with its arguments, its defaults and its number of parameters."""
    lines = []
    for name, architecture in ARCHITECTURES.items():
        with torch.device("meta"):  # counted, not allocated
            parameters = count(build(name, **architecture.example))
        lines += [
            f"{name}: {architecture.summary}",
            f"    parameters  {parameters:,} ({_arguments(architecture.example)}, "
            "the rest as by default)",
            f"    arguments   {_signature(architecture)}",
        ]
    lines.append("\npython -m models --help says how to build one and how to look at a trained one")
    return "\n".join(lines)


def describe(folder: Path) -> str:
    """What the bundle in `folder` is, after verifying it."""
    config = verify(folder)
    model = empty_model(config)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    lines = [
        f"{folder}: a sound bundle (version, hashes and shapes checked)",
        f"    architecture  {config['architecture']}: "
        f"{ARCHITECTURES[config['architecture']].summary}",
        f"    arguments     {_arguments(config['arguments'])}",
        f"    parameters    {count(model):,}",
        f"    labels        {', '.join(config['labels'])}",
        f"    max_length    {config['max_length']} tokens",
        "    provenance    "
        + ("\n" + " " * 18).join(_settings(config["provenance"]) or ["not stated"]),
        "    files         "
        + ", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in files),
    ]
    return "\n".join(lines)


def count(model: torch.nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _settings(values: dict[str, Any]) -> list[str]:
    """`train.epochs=2` and so on, of what is nested to any depth; nothing of what is None."""
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{name}.{line}" for line in _settings(value)]
        elif value is not None:
            lines.append(f"{name}={value!r}")
    return lines


def _signature(architecture: Architecture) -> str:
    return ", ".join(
        f"{name} (required)"
        if parameter.default is inspect.Parameter.empty
        else f"{name}={parameter.default!r}"
        for name, parameter in architecture.arguments.items()
    )


if __name__ == "__main__":
    raise SystemExit(main())
