"""How int8 answers depend on the batch is measured, and float32's do not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main as export
from export.int8_batches import WAYS, in_batches, main

SaveBundle = Callable[..., Path]


def test_int8_moves_with_the_batch_and_float32_does_not(
    save_bundle: SaveBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.cases.LENGTHS", (1, 9, 256))
    monkeypatch.setattr("export.cases.BATCHES", (1, 3))
    folder, output = save_bundle("transformer"), tmp_path / "int8.json"
    assert export([str(folder), "--format", "onnx", "onnx-int8", "--limit", "20"]) == 0
    assert main([str(folder), "--output", str(output), "--limit", "40"]) == 0
    files = json.loads(output.read_text(encoding="utf-8"))["files"]
    for how in WAYS:
        # float32 sums in another order
        assert files["onnx"]["ways"][how]["max_abs_difference"] < 1e-5
        assert files["onnx"]["ways"][how]["labels_changed"] == 0
    assert files["onnx-int8"]["ways"]["in batches of 32, as they are"]["max_abs_difference"] > 1e-5


@pytest.mark.parametrize("how", WAYS)
def test_every_way_gives_each_review_its_own_logits(how: str) -> None:
    rows = [[i + 1] * (i % 7 + 1) for i in range(70)]

    def own(input_ids: np.ndarray, mask: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        score = (input_ids * mask).sum(axis=1)
        return np.stack([score, -score], axis=1).astype(np.float32)

    np.testing.assert_array_equal(WAYS[how](own, rows), in_batches(own, rows, 1))


def test_a_users_mistake_is_one_line(
    save_bundle: SaveBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), "--output", str(tmp_path)]) == 2
    assert main([str(folder), "--output", str(tmp_path / "x.json")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "is a folder; give a file" in errors[0] and "no model.onnx in it" in errors[1]
