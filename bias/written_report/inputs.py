"""What the report is made of: files in the documentation folder, each with its command."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
COMMANDS = {
    "results.json": "python -m training.results runs/* --output docs",
    "audit/audit.json": "python -m bias runs/1-gru/best runs/1-gru/best@onnx-int8 "
    "--reviews data/amazon_polarity --output docs/audit",
    "masked_lm/audit.json": "python -m bias.fill_mask data/bert_mask_logits/logits.parquet "
    "--vocabulary data/bert-base-uncased --output docs/masked_lm",
    "masked_lm/planted/audit.json": "python -m bias.fill_mask planted/plain/model "
    "planted/augmented/model --prompts planted/prompts --output docs/masked_lm/planted",
    "dossier/dossier.json": "python -m bias.dossier runs/* --output docs/dossier",
}
"""A file and the command that makes it (docs/runs.md and docs/masked-language-models.md have the
runs that these start from)."""


@dataclass(frozen=True)
class Inputs:
    """The files that are there, read; by name."""

    docs: Path
    contents: dict[str, dict[str, Any]]

    def get(self, name: str) -> dict[str, Any] | None:
        """A file's content, None where it is not there."""
        assert name in COMMANDS, name
        return self.contents.get(name)

    def has(self, name: str) -> bool:
        """Whether a picture or a page to link to is there."""
        return (self.docs / name).is_file()

    def text(self, name: str) -> str | None:
        """A page's text, None where it is not there."""
        return (self.docs / name).read_text(encoding="utf-8") if self.has(name) else None


def read_inputs(docs: Path) -> Inputs:
    """Every input that is there.

    Raises:
        ValueError: no such folder; or a file that is damaged or of another version, which is named
            with the command that makes it anew.
    """
    if not docs.is_dir():
        raise ValueError(f"--docs {docs}: no such folder; give the one with results.json")
    return Inputs(docs, {n: _read(docs / n, n) for n in COMMANDS if (docs / n).is_file()})


def absent(name: str) -> str:
    """The sentence that stands where an input is missing."""
    return f"*Not answered yet: `{name}` is not there. It is made by* `{COMMANDS[name]}`*.*"


def _read(path: Path, name: str) -> dict[str, Any]:
    again = f"make it anew with: {COMMANDS[name]}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({' '.join(str(error).split())}); {again}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(content, dict) or version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version is {version!r}, this program reads {SCHEMA_VERSION}; {again}"
        )
    return content
