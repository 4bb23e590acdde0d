"""`python -m export.parity`: the proof once more, and what becomes of a certificate it denies."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export import reprove
from export.__main__ import main
from export.backends import open_backend
from export.certificate import certify, read_certificate
from export.formats import FORMATS, Gate
from export.parity import check
from models.bundle import load, save

SaveBundle = Callable[..., Path]
NONE = Gate(max_abs_difference=-1.0, label_agreement=1.0)
"""Nothing passes it."""


def save_nan(folder: Path) -> None:
    bundle = load(folder)
    with torch.no_grad():
        bundle.model.head.bias.fill_(float("nan"))
    save(bundle, folder)


def test_a_certificate_of_a_checkpoint_that_is_nan_is_revoked(save_bundle: SaveBundle) -> None:
    folder = save_bundle("ngram-bag")
    save_nan(folder)
    weights = json.loads((folder / "config.json").read_text(encoding="utf-8"))["weights_sha256"]
    (folder / "model.onnx").write_bytes(b"graph")
    digest = hashlib.sha256(b"graph").hexdigest()
    certify(folder, "model.onnx", {"sha256": digest, "weights_sha256": weights, "passed": True})
    assert reprove.main([str(folder), "--limit", "20"]) == 2
    assert "its own logits are not finite" in read_certificate(folder)["model.onnx"]["reason"]


def test_a_bundle_of_weights_that_are_nan_is_not_exported(
    save_bundle: SaveBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    save_nan(folder)
    assert main([str(folder), "--format", "torchscript", "--limit", "20"]) == 2
    error = capsys.readouterr().err
    assert "the checkpoint: its own logits are not finite" in error and error.count("\n") == 1
    assert not (folder / "model.ts").exists()


def test_parity_is_proved_again_and_a_changed_file_refused(
    save_bundle: SaveBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), "--format", "torchscript", "--limit", "20"]) == 0
    assert reprove.main([str(folder), "--limit", "50"]) == 0
    filename = FORMATS["torchscript"].filename
    assert read_certificate(folder)[filename]["reviews"] == 50
    with (folder / filename).open("ab") as file:
        file.write(b"x")
    capsys.readouterr()
    assert reprove.main([str(folder)]) == 2
    assert "changed after its proof" in capsys.readouterr().err


def test_a_failed_repetition_of_the_proof_revokes_the_certificate(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    both = [str(folder), "--format", "torchscript", "pt2", "--limit", "20"]
    assert main(both) == 0
    proved = read_certificate(folder)
    monkeypatch.setattr(
        "export.write.check",
        lambda findings, gate, what: None if what == "model.pt2" else check(findings, NONE, what),
    )
    assert reprove.main([str(folder), "--limit", "20"]) == 1
    assert "not proved: model.ts: a logit differs" in capsys.readouterr().err
    revoked = read_certificate(folder)
    assert revoked["model.pt2"]["passed"] is True
    assert revoked["model.ts"]["passed"] is False
    assert revoked["model.ts"]["sha256"] == proved["model.ts"]["sha256"]
    with pytest.raises(ValueError, match=r"not proved \(parity.json: model.ts: a logit differs"):
        open_backend(folder, "torchscript")
    open_backend(folder, "pt2")
    monkeypatch.undo()
    assert main(both[:3] + both[4:]) == 0
    open_backend(folder, "torchscript")


@pytest.mark.parametrize("passes", [True, False])
def test_a_proof_on_another_device_leaves_the_certificate_of_the_cpu(
    passes: bool, save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), "--format", "torchscript", "--limit", "20"]) == 0
    proved, opened = read_certificate(folder), []

    def open_way(*given: Any) -> Any:
        opened.append(given[-1])
        return lambda *batch: eager(*batch) + np.float32(0 if passes else 1)

    eager = open_backend(folder, "eager")
    monkeypatch.setattr("export.write.open_way", open_way)
    status = reprove.main([str(folder), "--limit", "40", "--device", "cuda"])
    assert (status, opened) == (0 if passes else 1, ["cuda"])
    assert read_certificate(folder) == proved


def test_a_device_that_an_artefact_does_not_run_on_is_named(
    save_bundle: SaveBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    assert reprove.main([str(folder), "--artefact", "model.int8.onnx", "--device", "cuda"]) == 2
    assert "--device: got 'cuda'; model.int8.onnx runs on cpu" in capsys.readouterr().err
    assert reprove.main([str(folder), "--device", "cuda"]) == 2
    assert "no artefact for cuda in it" in capsys.readouterr().err
