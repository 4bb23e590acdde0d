"""Published benchmarks of language models' bias, each with its interval and what it cannot show.

    python -m bias.benchmarks MODEL --data DIR --output DIR

DIR holds what one has of: crows_pairs*.csv (the original file, revised ones beside it),
winogender_occupations-stats.tsv, and seat/ with WEAT and SEAT tests (*.jsonl).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bias.association import read_test
from bias.benchmark_sections import association_section, crows_section, occupations_section
from bias.crows_pairs import METRICS
from bias.masked_lm import LiveModel, SentenceEncoder
from bias.report import Audit, write
from bias.section import Section
from models.command import command

OCCUPATIONS = "winogender_occupations-stats.tsv"
Say = Callable[[str], None]


def benchmark_sections(
    model: LiveModel | SentenceEncoder,
    data: Path,
    *,
    limit: int | None = None,
    metrics: Sequence[str] = METRICS,
    on_line: Say = lambda line: None,
) -> list[Section]:
    """Every benchmark whose files are in `data`; `on_line` is told which are not.

    Raises:
        ValueError: no such folder, nothing in it that is known, or a file that does not fit.
    """
    check_data(data)
    sections = []
    crows = sorted(data.glob("crows_pairs*.csv"))
    tests = sorted((data / "seat").glob("*.jsonl"))
    occupations = data / OCCUPATIONS
    if isinstance(model, LiveModel):
        sections += [crows_section(model, path, limit, metrics) for path in crows]
        if occupations.is_file():
            sections.append(occupations_section(model, occupations))
    else:
        on_line(f"{model.name}: has no masked-LM head; of the benchmarks only WEAT and SEAT apply")
    if tests:
        sections.append(association_section(model, [read_test(path) for path in tests]))
    for there, what in ((crows, "crows_pairs*.csv"), (tests, "seat/*.jsonl"),
                        (occupations.is_file(), OCCUPATIONS)):  # fmt: skip
        if not there:
            on_line(f"{data}: no {what}; that benchmark is left out")
    return sections


def check_data(data: Path) -> None:
    """Raises:
    ValueError: no such folder of benchmarks, or nothing in it that is known.
    """
    if not data.is_dir():
        raise ValueError(f"{data}: no such folder of benchmarks")
    wanted = ("crows_pairs*.csv", "seat/*.jsonl", OCCUPATIONS)
    if not any(any(data.glob(pattern)) for pattern in wanted):
        raise ValueError(
            f"{data}: no benchmark in it; expected one at least of {', '.join(wanted)}"
        )


@command
def main(arguments: list[str] | None = None) -> int:
    """Run what the folder has; a user's mistake is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bias.benchmarks",
        description="CrowS-Pairs, WEAT/SEAT and occupations against labour statistics.",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder or a hub name")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR",
                        help="folder with crows_pairs*.csv, seat/, and "
                        f"{OCCUPATIONS}, or some of them")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="DIR",
                        help="folder for audit.html, audit.md and audit.json")  # fmt: skip
    parser.add_argument("--limit", type=int, metavar="N", help="first N pairs of CrowS-Pairs only")
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS),
                        help="of CrowS-Pairs (default: all)")  # fmt: skip
    given = parser.parse_args(arguments)
    if given.limit is not None and given.limit < 1:
        parser.error(f"--limit {given.limit}: expected 1 at least")
    model = open_encoder(given.model)
    sections = benchmark_sections(
        model, given.data, limit=given.limit, metrics=given.metrics,
        on_line=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    target = {"name": model.name, "kind": "language model", "given": given.model,
              "description": "masked language model"}  # fmt: skip
    settings = {"data": str(given.data), "limit": given.limit, "metrics": given.metrics}
    page = write(Audit([target], settings, sections), given.output)
    for section in sections:
        for finding in section.findings:
            print(f"{section.title}: {finding}")
    print(page)
    return 0


def open_encoder(name_or_folder: str) -> LiveModel | SentenceEncoder:
    """The model with its head, or without where it has none."""
    try:
        return LiveModel(name_or_folder)
    except ValueError as error:
        if "no masked-LM head" not in str(error):
            raise
        return SentenceEncoder(name_or_folder)


if __name__ == "__main__":
    raise SystemExit(main())
