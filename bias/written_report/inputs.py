"""What the report is made of: files in the documentation folder, each with its command."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
RESULTS, DOSSIER = "results.json", "dossier/dossier.json"
CLASSIFIERS, LANGUAGE_MODELS = "audits of classifiers", "audits of language models"
COMMANDS = {
    RESULTS: "python -m training.results runs/* --output docs",
    CLASSIFIERS: "python -m bias runs/1-gru-distilled-s{0,1,2}/best@onnx "
    "runs/1-gru-distilled-s0/best@onnx-int8 --reviews data/amazon_polarity --output docs/audit",
    LANGUAGE_MODELS: "python -m bias.fill_mask data/bert_mask_logits/logits.parquet "
    "--vocabulary data/bert-base-uncased --output docs/audit/stored-logits",
    DOSSIER: "python -m bias.dossier runs/* --output docs/dossier",
}
"""What there should be, and the command that makes it. Audits may lie in any folder below."""
_AUDIT = "audit.json"
Json = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """The files that are there, read; by their names relative to `docs`."""

    docs: Path
    contents: dict[str, Json]

    def get(self, name: str) -> Json | None:
        """A file's content, None where it is not there."""
        return self.contents.get(name)

    def audits(self, kind: str) -> list[tuple[str, Json]]:
        """Name and content of the audits of CLASSIFIERS or of LANGUAGE_MODELS, by name, those of
        stored logits, which are of published models, first."""
        wanted = kind == LANGUAGE_MODELS
        distinct: dict[str, tuple[str, Json]] = {}
        for name, content in sorted(self.contents.items(), key=_published_first):
            if name.endswith(_AUDIT) and _is_of_language_models(content) == wanted:
                # the same audit under another name says nothing new
                key = json.dumps(content.get("sections"), sort_keys=True)
                distinct.setdefault(key, (name, content))
        return list(distinct.values())

    def names(self, kind: str) -> list[str]:
        """The files that there are of an entry of COMMANDS."""
        if kind in (CLASSIFIERS, LANGUAGE_MODELS):
            return [name for name, _ in self.audits(kind)]
        return [kind] if kind in self.contents else []

    def beside(self, name: str, pattern: str) -> list[str]:
        """Files in the folder of an input, by name."""
        found = sorted((self.docs / name).parent.glob(pattern))
        return [str(path.relative_to(self.docs)) for path in found]

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
    paths = {name: docs / name for name in (RESULTS, DOSSIER)}
    paths |= {str(path.relative_to(docs)): path for path in docs.rglob(_AUDIT)}
    return Inputs(docs, {name: _read(path, name) for name, path in paths.items() if path.is_file()})


def absent(kind: str) -> str:
    """The sentence that stands where an input is missing."""
    return f"*Not answered yet: `{kind}` not there; made by* `{COMMANDS[kind]}`*.*"


def _published_first(entry: tuple[str, Json]) -> tuple[bool, str]:
    name, content = entry
    given = [target.get("given", "") for target in content.get("targets", ())]
    return not any(each.endswith(".parquet") for each in given), name


def _is_of_language_models(audit: Json) -> bool:
    return any(section["name"].startswith("fill_mask") for section in audit.get("sections", ()))


def _read(path: Path, name: str) -> Json:
    again = f"make it anew with: {COMMANDS.get(name, 'the command of that audit')}"
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
