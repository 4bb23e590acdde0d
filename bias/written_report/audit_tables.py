"""Sections and tables of an `audit.json`, found by name, and drawn as Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from training.results.table import markdown

Json = dict[str, Any]


def sections(audit: Json, name: str) -> Iterator[Json]:
    """Those of this name, one a target."""
    return (section for section in audit["sections"] if section["name"] == name)


def table(section: Json, title: str, columns: Sequence[str]) -> list[list[str]]:
    """The cells of these columns, row by row; empty where the section has no such table.

    Raises:
        ValueError: the table has no such column.
    """
    for each in section["tables"]:
        if each["title"] == title:
            missing = [name for name in columns if name not in each["columns"]]
            if missing:
                raise ValueError(
                    f"audit.json, table {title!r}: no column {missing[0]!r}; make the audit anew"
                )
            places = [each["columns"].index(name) for name in columns]
            return [[cell(row[place]) for place in places] for row in each["rows"]]
    return []


def drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], first_right: int) -> str:
    """A pipe table, with what would end a cell or start HTML made harmless."""
    return markdown(columns, [[each.replace("<", "&lt;") for each in row] for row in rows],
                    first_right)  # fmt: skip


def cell(value: Any) -> str:
    """As the audit's own page writes it: an estimate with its interval."""
    if isinstance(value, dict):
        return estimate(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else " ".join(str(value).split())


def estimate(value: Json, digits: int = 3) -> str:
    """`0.031 [0.024, 0.039]`; without an interval the value alone."""
    if value["low"] is None or value["high"] is None:
        return f"{value['value']:.{digits}f}"
    return f"{value['value']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def bulleted(lines: Sequence[str]) -> str:
    """A list of Markdown."""
    return "\n".join(f"- {line}" for line in lines)
