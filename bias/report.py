"""The audit's sections as files: `audit.json`, `audit.md`, `audit.html` and the pages it links to.

JSON, by `schema_version`: `targets`, `settings`, `gate`, `sections`; an estimate is an object with
`name`, `value`, `low`, `high`, `n`, `of`, `meaning`, `p`, `detectable`, `noise`. What cannot be had
is null. A field may be added under the same version, never removed or given another meaning.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bias.gate import Verdict
from bias.page import html_page
from bias.section import Cell, Estimate, Section, Table
from models.files import write_whole

SCHEMA_VERSION = 1
JSON_NAME, MARKDOWN_NAME, HTML_NAME = "audit.json", "audit.md", "audit.html"


@dataclass(frozen=True)
class Audit:
    """All that is written. `targets` are descriptions for the JSON; `settings` what was asked."""

    targets: list[dict[str, Any]]
    settings: dict[str, Any]
    sections: Sequence[Section]
    gate: Sequence[Verdict] = ()


def write(audit: Audit, folder: Path) -> Path:
    """Write every file whole or not at all; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in audit.sections:
        for page in section.pages:
            write_whole(folder / page.filename, page.html)
    write_whole(folder / JSON_NAME, json.dumps(as_json(audit), indent=1, ensure_ascii=False))
    write_whole(folder / MARKDOWN_NAME, markdown(audit))
    write_whole(folder / HTML_NAME, html_page(audit.targets, audit.sections, audit.gate))
    return folder / HTML_NAME


def as_json(audit: Audit) -> dict[str, Any]:
    """The audit as plain JSON values."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "targets": audit.targets,
        "settings": audit.settings,
        "gate": [dataclasses.asdict(verdict) for verdict in audit.gate],
        "sections": [
            {field.name: getattr(section, field.name) for field in dataclasses.fields(section)
             if field.name not in ("charts", "pages")}
            | {"charts": [{"title": c.title, "caption": c.caption} for c in section.charts],
               "pages": [page.filename for page in section.pages]}
            for section in audit.sections
        ],
    }  # fmt: skip
    made: dict[str, Any] = plain(value)
    return made


def markdown(audit: Audit) -> str:
    """The audit without its charts."""
    lines = ["# Bias audit", ""]
    for target in audit.targets:
        lines.append(f"- {target['name']}: {target['description']}")
    if audit.gate:
        lines += ["", "## Gate", "", *(f"- {verdict.text()}" for verdict in audit.gate)]
    for section in audit.sections:
        lines += section_markdown(section)
    return "\n".join(lines) + "\n"


def section_markdown(section: Section) -> list[str]:
    """The lines of one section, without its charts."""
    title = f"{section.title} – {section.target}" if section.target else section.title
    lines = ["", f"## {title}", "", *(f"- {line}" for line in section.findings)]
    for estimate in section.headline:
        lines.append(f"- **{estimate.name}** {estimate.text()}, n = {estimate.n:,} "
                     f"{estimate.of}: {estimate.meaning}")  # fmt: skip
    for table in section.tables:
        lines += ["", *_markdown_table(table)]
    if section.limits:
        lines += ["", "Limits:", "", *(f"- {limit}" for limit in section.limits)]
    return lines


def _markdown_table(table: Table) -> list[str]:
    def row(cells: Sequence[Cell]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    head = [f"### {table.title}", "", row(table.columns), "|" + "---|" * len(table.columns)]
    return [*head, *(row(cells) for cells in table.rows), *(["", table.note] if table.note else [])]


def _cell(cell: Cell) -> str:
    if isinstance(cell, Estimate):
        return cell.text()
    if isinstance(cell, float):
        return f"{cell:.4g}"
    text = "" if cell is None else str(cell)
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def plain(value: Any) -> Any:
    """For JSON: dataclasses as objects, NaN as null, numpy's numbers as numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
