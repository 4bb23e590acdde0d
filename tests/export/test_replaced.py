"""What training or anybody else puts into the folder during a proof is never certified by it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from export import reprove, write
from export.__main__ import main
from export.certificate import read_certificate
from models.bundle import load, save

SaveBundle = Callable[..., Path]
EXPORT = ["--format", "torchscript", "--limit", "20"]


def retrain(folder: Path) -> None:
    """Another checkpoint in the place of the folder's, as training saves a better one."""
    bundle = load(folder)
    with torch.no_grad():
        for parameter in bundle.model.parameters():
            parameter.add_(1.0)
    save(bundle, folder)


def after(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], None]) -> None:
    """Lets `change` happen once, right after the first call of export.write's `name`."""
    whole, done = getattr(write, name), []

    def wrapped(*arguments: Any) -> Any:
        result = whole(*arguments)
        if not done:
            done.append(True)
            change()
        return result

    monkeypatch.setattr(write, name, wrapped)


@pytest.mark.parametrize("moment", ["reference_of", "measure"])
def test_an_artefact_of_weights_that_were_replaced_meanwhile_is_not_written(
    moment: str,
    save_bundle: SaveBundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save_bundle("ngram-bag")
    after(monkeypatch, moment, lambda: retrain(folder))
    assert main([str(folder), *EXPORT]) == 1
    assert "was replaced while the artefact was proved; export again" in capsys.readouterr().err
    assert not (folder / "model.ts").exists()
    assert read_certificate(folder) == {}


def test_a_folder_that_is_just_being_replaced_is_not_written_to(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_bundle("ngram-bag")
    after(monkeypatch, "measure", lambda: shutil.move(folder, folder.with_name("aside")))
    assert main([str(folder), *EXPORT]) == 1
    assert not folder.exists()


def test_weights_that_are_replaced_while_they_are_read_are_not_exported(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    after(monkeypatch, "load", lambda: retrain(folder))
    assert main([str(folder), *EXPORT]) == 2
    assert "was replaced while it was read; try again" in capsys.readouterr().err


def test_a_bundle_that_is_replaced_during_a_repeated_proof_disproves_nothing(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), *EXPORT]) == 0
    before = read_certificate(folder)

    def relabel() -> None:
        text = (folder / "config.json").read_text(encoding="utf-8")
        (folder / "config.json").write_text(text.replace("positive", "good"), encoding="utf-8")

    after(monkeypatch, "measure", relabel)
    assert reprove.main([str(folder), "--limit", "20"]) == 1
    assert read_certificate(folder) == before


def test_a_repeated_proof_is_of_the_certified_bytes(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), *EXPORT]) == 0
    before = read_certificate(folder)
    content = (folder / "model.ts").read_bytes()
    # a trailing byte that torch does not mind: the proof itself would hold
    after(monkeypatch, "reference_of", lambda: (folder / "model.ts").write_bytes(content + b"x"))
    assert reprove.main([str(folder), "--limit", "20"]) == 2
    assert "changed after its proof" in capsys.readouterr().err
    assert read_certificate(folder) == before
