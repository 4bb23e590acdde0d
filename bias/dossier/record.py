"""Records of runs: what a dossier is made of, without weights and artefacts.

A run's folder holds hundreds of megabytes, and is gone when the machine is. Its record fits into a
repository, and gives the same dossier again, by the rules of the day. Of an audit it keeps figures
and findings, not the tables, which quote reviews.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bias.dossier.candidates import Candidate
from bias.dossier.card import card_names
from bias.dossier.evidence import Evidence, Missing
from bias.dossier.files import AUDIT, BENCHMARK, BUNDLE, RECORD, SCHEMA_VERSION
from export.backends import BACKENDS
from export.certificate import CERTIFICATE, CONFIG
from export.formats import FORMATS

_VERBATIM = ("config.yaml", "environment.json", "history.jsonl", "result.json", "predictions",
             f"{BUNDLE}/{CONFIG}", f"{BUNDLE}/{CERTIFICATE}", BENCHMARK)  # fmt: skip
_OF_AN_AUDIT = ("schema_version", "targets", "settings")
_OF_A_SECTION = ("name", "title", "target", "findings", "headline", "estimates", "limits")


def write_records(candidates: Sequence[Candidate], output: Path) -> list[Path]:
    """The record of each run, `output`/NAME; all are made before the first is put in place.

    Raises:
        ValueError: a run that is a record, or something else where one would go.
    """
    found = [each for candidate in candidates for each in candidate.evidence]
    names = card_names([each.run for each in found])
    targets = [output / names[each.run.folder] for each in found]
    for each, target in zip(found, targets, strict=True):
        if each.recorded:
            raise ValueError(f"--records: {each.run.folder} is a record itself; copy the folder")
        if target.exists() and not (target / RECORD).is_file():
            raise ValueError(f"--records: {target} is no record; give another folder")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=output) as scratch:
        made, older = Path(scratch, "made"), Path(scratch, "older")
        older.mkdir()
        for each, target in zip(found, targets, strict=True):
            _copy(each.run.folder, made / target.name)
            (made / target.name / RECORD).write_text(_json(_facts(each)), encoding="utf-8")
        for target in targets:
            if target.exists():
                target.rename(older / target.name)
            (made / target.name).rename(target)
    return targets


def _facts(evidence: Evidence) -> dict[str, Any]:
    """What `files.read_record` reads."""
    refused = {FORMATS[BACKENDS[backend].format or ""].filename: proof.why
               for backend, proof in evidence.certificates.items()
               if isinstance(proof, Missing)}  # fmt: skip
    return {"schema_version": SCHEMA_VERSION, "run": str(evidence.run.folder),
            "bytes": evidence.sizes, "refused": refused}  # fmt: skip


def _copy(run: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _VERBATIM:
        source, target = run / name, folder / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.is_file():
            shutil.copyfile(source, target)
    if (run / AUDIT).is_file():
        (folder / AUDIT).parent.mkdir()
        (folder / AUDIT).write_text(_json(_figures(run / AUDIT)), encoding="utf-8")


def _figures(audit: Path) -> dict[str, Any]:
    whole = json.loads(audit.read_bytes())
    sections = [{key: section[key] for key in _OF_A_SECTION if key in section}
                for section in whole["sections"]]  # fmt: skip
    return {key: whole[key] for key in _OF_AN_AUDIT if key in whole} | {"sections": sections}


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
