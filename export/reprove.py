"""`python -m export.parity BUNDLE`: proves the artefacts of a bundle again, as they lie there."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from export.__main__ import add_review_options, check_limit, findings_row, findings_table
from export.backends import DEVICES, backend_of
from export.certificate import certify, read_artefact, read_config, revoke, verify_artefact
from export.formats import FORMATS, of_file
from models.command import command


@command
def main(arguments: list[str] | None = None) -> int:
    """0: all proved; 1: one was not; 2: a user's mistake, in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m export.parity",
        description="Prove a bundle's artefacts against its checkpoint, on every shape of input. "
        "One that fails is refused from then on, until it is exported again.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "--artefact", nargs="+", metavar="FILE", help="such as model.onnx (default: all there are)"
    )
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="where the artefacts run; elsewhere than on a CPU it is only said whether they pass, "
        "since certificates are those of a CPU (default: %(default)s)",
    )
    add_review_options(parser)
    given = parser.parse_args(arguments)
    check_limit(given.limit)
    read_config(given.bundle)
    names = _formats(given.bundle, given.artefact, given.device)
    return _prove(given, names)


def _formats(folder: Path, artefacts: list[str] | None, device: str) -> list[str]:
    able = [name for name in FORMATS if device in backend_of(name).devices]
    if artefacts:
        names = [of_file(artefact) for artefact in artefacts]
    else:
        names = [name for name in able if (folder / FORMATS[name].filename).is_file()]
    if not names:
        which = "no artefact" if device == "cpu" else f"no artefact for {device}"
        raise ValueError(f"{folder}: {which} in it; write them with: python -m export {folder}")
    for name in names:
        if name not in able:
            on = ", ".join(backend_of(name).devices)
            raise ValueError(f"--device: got {device!r}; {FORMATS[name].filename} runs on {on}")
    for name in names:
        verify_artefact(folder, FORMATS[name].filename)  # a changed file is not measured but named
    return names


def _prove(given: argparse.Namespace, names: list[str]) -> int:
    # torch takes seconds to import: not for --help or a mistyped name
    from export.parity import ParityError, Replaced
    from export.progress import Progress
    from export.reviews import accuracy_set
    from export.write import Checkpoint, prove, reference_of, ways

    checkpoint = Checkpoint.load(given.bundle)
    bundle = checkpoint.bundle
    reviews = accuracy_set(given.reviews, bundle.tokenizer, bundle.max_length, given.limit)
    on_cpu = given.device == "cpu"  # what certificates are of
    table, failed = findings_table(), []
    with Progress() as progress:
        try:
            with progress.task("the checkpoint's answers", None) as advance:
                reference = reference_of(checkpoint, reviews, advance)
        except ParityError as error:  # it gives no numbers: whatever was certified is like nothing
            for filename in (FORMATS[name].filename for name in names):
                certified = verify_artefact(given.bundle, filename)["sha256"]
                revoke(given.bundle, filename, certified, str(error))
            raise
        for name in names:
            start, filename = time.perf_counter(), FORMATS[name].filename
            content, known = read_artefact(given.bundle, filename)  # certified bytes, or an error
            batches = reference.batches * len(ways(name, checkpoint.config, given.device))
            with progress.task(f"prove {filename}", batches) as advance:
                try:
                    entry = prove(checkpoint, name, content, reference, advance, given.device)
                except Replaced as error:  # which disproves nothing
                    failed.append(str(error))
                    continue
                except ParityError as error:
                    if on_cpu:
                        revoke(given.bundle, filename, known["sha256"], str(error))
                    failed.append(str(error))
                    continue
            if on_cpu:
                certify(given.bundle, filename, entry)
            table.add_row(*findings_row(filename, entry, time.perf_counter() - start))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    for line in failed:
        print(f"error: not proved: {line}", file=sys.stderr)
    return 1 if failed else 0
