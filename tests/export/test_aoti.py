"""AOTInductor's archive: proved like the others, self-describing, and absent where it cannot be."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.__main__ import main
from export.backends import open_backend

SaveBundle = Callable[..., Path]


@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler")
def test_a_transformer_is_compiled_for_every_length_and_runs_without_the_project(
    save_bundle: SaveBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.cases.LENGTHS", (1, 9, 256))
    monkeypatch.setattr("export.cases.BATCHES", (1, 3))
    folder = save_bundle("transformer", num_layers=1)
    assert main([str(folder), "--format", "aoti", "--limit", "20"]) == 0
    program = f"""
import sys, torch
module = torch._inductor.aoti_load_package({str(folder / "model.aoti.pt2")!r})
ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
print(module(ids, (ids != 0).long()).tolist(), module.get_metadata()["labels"])
assert not {{"models", "export", "transformers"}} & set(sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True,
    )  # fmt: skip
    logits, _, labels = run.stdout.partition("]] ")
    ids = np.array([[2, 5, 6, 3], [2, 7, 3, 0]])
    wanted = open_backend(folder, "eager")(ids, (ids != 0).astype(np.int64))
    # float32 sums in another order
    np.testing.assert_allclose(json.loads(logits + "]]"), wanted, atol=1e-6)
    assert labels.strip() == '["negative", "positive"]'


def test_what_the_compiler_refuses_is_one_line_and_leaves_nothing(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr("export.aoti.aoti_compile_and_package", refuse)
    folder = save_bundle("ngram-bag")
    before = sorted(path.name for path in folder.iterdir())
    assert main([str(folder), "--format", "aoti", "torchscript", "--limit", "20"]) == 1
    error = capsys.readouterr().err
    assert "does not compile ngram-bag (RuntimeError: no kernel for this)" in error
    assert error.count("\n") == 1
    names = {path.name for path in folder.iterdir()} - set(before)
    assert names == {"model.ts", "parity.json"}, "the other formats are written all the same"
