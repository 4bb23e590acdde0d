"""Records: the same dossier without the bundles, and nothing in them that they must not hold."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bias.dossier.__main__ import main

MakeRun = Callable[..., Path]


def _dossier(runs: list[Path], output: Path, *flags: str) -> dict[str, Any]:
    assert main([*map(str, runs), "--output", str(output), "--no-texts", *flags]) == 0
    found: dict[str, Any] = json.loads((output / "dossier.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def runs(whole: MakeRun, make_run: MakeRun) -> list[Path]:
    """Two seeds of which one was audited, an export that was changed after its proof, a baseline
    without a bundle."""
    changed = whole("bert", accuracy=0.95, certified=("onnx", "onnx-fp16"))
    (changed / "best" / "model.fp16.onnx").write_bytes(b"something else")
    return [whole("gru-0", experiment="gru"), make_run("gru-1", experiment="gru", seed=1), changed,
            make_run("tfidf", bundle=False)]  # fmt: skip


def test_a_dossier_of_records_is_that_of_the_runs(runs: list[Path], tmp_path: Path) -> None:
    records = tmp_path / "records"
    first = _dossier(runs, tmp_path / "first", "--records", str(records))
    for run in runs:
        shutil.rmtree(run)
    names = ["gru-0", "gru-1", "bert", "tfidf"]
    again = _dossier([records / name for name in names], tmp_path / "again")
    proofs = [next(s for s in each["sections"] if s["name"] == "proof") for each in (first, again)]
    kept = [row[2] for row in proofs[0]["tables"][0]["rows"]]
    assert sorted(kept) == ["proved", "proved", "refused"]
    for row in proofs[0]["tables"][0]["rows"]:
        row[2] = "proved, as recorded" if row[2] == "proved" else row[2]
    assert again == first  # figures, verdicts, commands
    assert "bert on onnx-fp16" not in {option["name"] for option in again["options"]}
    assert not list(records.rglob("*.safetensors")) and not list(records.rglob("*.onnx"))
    assert {path.name for path in records.iterdir()} == set(names)  # and nothing half written


def test_a_record_has_an_audits_figures_and_none_of_its_texts(
    whole: MakeRun, tmp_path: Path
) -> None:
    run = whole("gru")
    path = run / "audit" / "audit.json"
    audit = json.loads(path.read_text())
    audit["sections"][0]["tables"] = [{"title": "Pairs", "columns": ["text"],
                                       "rows": [["a review about somebody"]]}]  # fmt: skip
    path.write_text(json.dumps(audit))
    _dossier([run], tmp_path / "out", "--records", str(tmp_path / "records"))
    kept = (tmp_path / "records" / "gru" / "audit" / "audit.json").read_text()
    assert "a review about somebody" not in kept and "flip_rate" in kept


def test_a_newer_record_replaces_the_older_whole(whole: MakeRun, tmp_path: Path) -> None:
    run, records = whole("gru"), tmp_path / "records"
    _dossier([run], tmp_path / "out", "--records", str(records))
    shutil.rmtree(run / "audit")
    _dossier([run], tmp_path / "out", "--records", str(records))
    assert not (records / "gru" / "audit").exists()
    assert [path.name for path in records.iterdir()] == ["gru"]


def _foreign(run: Path, records: Path) -> list[str]:
    (records / "gru").mkdir(parents=True)
    (records / "gru" / "thesis.txt").write_text("mine")
    return [str(run), "--records", str(records)]


def _again(run: Path, records: Path) -> list[str]:
    _dossier([run], records.parent / "out", "--records", str(records))
    return [str(records / "gru"), "--records", str(records.parent / "others")]


def _forged(run: Path, records: Path) -> list[str]:
    _dossier([run], records.parent / "out", "--records", str(records))
    path = records / "gru" / "best" / "parity.json"
    path.write_text(path.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))
    return [str(records / "gru")]


def _torn(run: Path, records: Path) -> list[str]:
    _dossier([run], records.parent / "out", "--records", str(records))
    (records / "gru" / "record.json").write_text('{"schema_version": 1, "run": "runs/gru"}')
    return [str(records / "gru")]


def _cards(run: Path, records: Path) -> list[str]:
    _dossier([run], records.parent / "out", "--records", str(records))
    return [str(records / "gru"), "--cards-into-bundles"]


def _file(run: Path, records: Path) -> list[str]:
    records.write_text("")
    return [str(run), "--records", str(records)]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (_foreign, "is no record; give another folder"),
        (_again, "is a record itself"),
        (_forged, "does not certify model.onnx for these weights"),
        (_torn, "record.json: not a whole record"),
        (_cards, "--cards-into-bundles:"),
        (_file, "is a file; give a folder"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    whole: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    prepare: Callable[[Path, Path], list[str]], said: str,
) -> None:  # fmt: skip
    records = tmp_path / "records"
    given = prepare(whole("gru"), records)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main([*given, "--output", str(tmp_path / "new"), "--no-texts"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
