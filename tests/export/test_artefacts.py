"""What is inside the artefacts: operators, metadata, int8 weights; they need no project."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.__main__ import OPSETS, main
from export.backends import open_backend
from export.cases import cases
from export.certificate import read_config
from export.formats import NotExportable
from export.onnx import OPSET
from export.quantize import symmetric
from export.write import Way, ways

SaveBundle = Callable[..., Path]


def exported(folder: Path, *formats: str) -> None:
    assert main([str(folder), "--format", *formats, "--limit", "20"]) == 0


@pytest.mark.parametrize(
    ("architecture", "operators"),
    [
        # two layers; step 0 needs one token of the last layer's forward direction
        ("gru-encoder", {"GRU": 3, "Loop": 0, "Scan": 0}),
        ("custom-gru", {"GRU": 3, "Loop": 0, "Scan": 0}),
        ("gru-encoder-decoder", {"GRU": 4, "Loop": 0, "Scan": 0}),
        # the last block's class token alone asks
        (
            "transformer",
            {"Attention": 1, "MultiHeadAttention": 1, "LayerNormalization": 5, "Softmax": 0},
        ),
        ("bert", {"Attention": 2, "LayerNormalization": 5, "Softmax": 0}),
    ],
)
def test_recurrence_attention_and_norms_are_single_operators(
    architecture: str, operators: dict[str, int], save_bundle: SaveBundle
) -> None:
    folder = save_bundle(architecture)
    exported(folder, "onnx")
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    found = Counter(node.op_type for node in model.graph.node)
    assert {name: found[name] for name in operators} == operators
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["labels"]) == config["labels"]
    assert json.loads(metadata["provenance"]) == config["provenance"]
    assert metadata["tokenizer_sha256"] == config["tokenizer_sha256"]
    assert int(metadata["max_length"]) == config["max_length"]
    assert str(Path.cwd()) not in str(model), "no path of the machine it was made on"


@pytest.mark.parametrize("architecture", ["gru-encoder", "transformer", "ngram-bag"])
def test_int8_keeps_large_weights_in_a_quarter_of_the_space(
    architecture: str, save_bundle: SaveBundle
) -> None:
    sizes = {"embedding_size": 32, "hidden_size": 32, "embed_dim": 32, "hidden_dim": 64}
    takes = {
        "gru-encoder": ("embedding_size", "hidden_size"),
        "transformer": ("embed_dim", "hidden_dim"),
        "ngram-bag": ("embedding_size",),
    }
    others = {name: sizes[name] for name in takes[architecture]}
    folder = save_bundle(architecture, vocabulary_size=3000, **others)
    exported(folder, "onnx", "onnx-int8")
    whole, small = (onnx.load(folder / name) for name in ("model.onnx", "model.int8.onnx"))
    weights = [numpy_helper.to_array(each) for each in small.graph.initializer]
    assert {each.dtype for each in weights if each.size >= 3000 * 32} == {np.dtype(np.int8)}
    quantised = Counter(node.op_type for node in small.graph.node)
    assert (quantised["Attention"], quantised["QAttention"]) == (
        0,
        int(architecture == "transformer"),
    )
    assert len(small.SerializeToString()) < 0.4 * len(whole.SerializeToString())
    assert [each.key for each in small.metadata_props] == [
        each.key for each in whole.metadata_props
    ]


def test_symmetric_quantisation_errs_by_half_a_step_at_most() -> None:
    weights = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    weights[3] = 0
    quantised, scale = symmetric(weights, axis=0)
    assert quantised.dtype == np.int8 and scale.shape == (5, 1)
    assert (np.abs(quantised * scale - weights) <= scale / 2 + 1e-7).all()
    assert np.abs(quantised[[0, 1, 2, 4]]).max(axis=1).tolist() == [127] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_have_no_int8(value: float) -> None:
    weights = np.ones((5, 40), np.float32)
    weights[3, 7] = value
    with pytest.raises(NotExportable, match=r"int8: a weight of shape \(5, 40\) is not finite"):
        symmetric(weights, axis=0)


def test_an_artefact_that_is_wrong_only_in_the_parts_that_serving_makes_is_not_written(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from export import onnx_engine

    whole, shapes = onnx_engine.onnx_engine, []
    folder = save_bundle("ngram-bag")
    # four rows of a length that no whole batch of four has
    parts = {(4, steps) for steps in range(1, 257)} - {case.input_ids.shape for case in cases(17)}

    def wrong_in_parts(*arguments: Any) -> Any:
        engine = whole(*arguments)

        def run(input_ids: Any, attention_mask: Any) -> Any:
            shapes.append(input_ids.shape)
            logits = engine(input_ids, attention_mask)
            return -logits if input_ids.shape in parts else logits

        return run

    monkeypatch.setattr(onnx_engine, "onnx_engine", wrong_in_parts)
    assert main([str(folder), "--format", "onnx", "--limit", "64"]) == 1
    assert "not written: model.onnx: a logit differs" in capsys.readouterr().err
    assert {32, 4} <= {batch for batch, _ in shapes}, "whole batches are run too"


@pytest.mark.parametrize("cpus", [1, 2])
def test_int8_is_proved_in_the_parts_of_archives_and_of_backends(
    cpus: int, save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.write.available_cpus", lambda: cpus)
    config = read_config(save_bundle("gru-encoder"))
    bare, default, single = Way(False), Way(True), Way(True, threads=1)
    assert ways("torchscript", config) == [bare]
    assert ways("onnx", config) == [bare, default]
    assert ways("onnx", config, "cuda") == [bare]
    assert ways("onnx-int8", config) == [bare, default, single][: 1 + cpus]
    config["arguments"]["reads_padding"] = True
    assert ways("onnx-int8", config) == [bare]


def test_torchscript_loads_with_torch_alone(save_bundle: SaveBundle, tmp_path: Path) -> None:
    folder = save_bundle("gru-encoder-decoder")
    exported(folder, "torchscript")
    program = f"""
import sys, torch
extra = {{"labels": ""}}
module = torch.jit.load({str(folder / "model.ts")!r}, _extra_files=extra)
ids = torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]])
print(module(ids, (ids != 0).long()).tolist(), extra["labels"].decode())
assert not {{"models", "export", "transformers"}} & set(sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True,
    )  # fmt: skip
    logits, _, labels = run.stdout.partition("]] ")
    ids = np.array([[2, 5, 6, 3], [2, 7, 3, 0]])
    wanted = open_backend(folder, "eager")(ids, (ids != 0).astype(np.int64))
    np.testing.assert_allclose(json.loads(logits + "]]"), wanted, atol=1e-6)
    assert json.loads(labels) == ["negative", "positive"]


def test_onnx_runs_without_torch(save_bundle: SaveBundle) -> None:
    folder = save_bundle("gru-encoder")
    exported(folder, "onnx")
    program = f"""
import sys, numpy
from export.backends import open_backend
ids = numpy.array([[2, 5, 3]])
print(open_backend({str(folder)!r}, "onnx")(ids, numpy.ones_like(ids)).shape)
assert not {{"torch", "transformers", "onnx"}} & set(sys.modules)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stdout) == (0, "(1, 2)\n"), run.stderr


def test_a_device_that_is_not_there_is_an_error_that_names_what_is(
    save_bundle: SaveBundle,
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    folder = save_bundle("ngram-bag")
    exported(folder, "onnx", "torchscript")
    for name, device in (("onnx", "cuda"), ("onnx", "tensorrt"), ("torchscript", "cuda")):
        with pytest.raises(ValueError, match=r"device: got .* this machine has cpu"):
            open_backend(folder, name, device=device)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{missing}"], "no config.json in it"),
        (["{bundle}", "--format", "onx"], "did you mean 'onnx'"),
        (["{bundle}", "--opset", "11"], "--opset: got 11; allowed are"),
        (["{bundle}", "--limit", "0"], "--limit: got 0"),
        (["{bundle}", "--reviews", "/no/such.csv"], "no such file"),
        (["{half}"], "no model.safetensors in it"),
        (["{damaged}"], "its SHA-256 is"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(
    arguments: list[str],
    words: str,
    save_bundle: SaveBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = save_bundle("ngram-bag")
    half, damaged = tmp_path / "half", tmp_path / "damaged"
    for copy in (half, damaged):
        copy.mkdir()
        for path in bundle.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
    (half / "model.safetensors").unlink()
    (damaged / "model.safetensors").write_bytes(b"0" * 100)
    places = {"missing": tmp_path / "none", "bundle": bundle, "half": half, "damaged": damaged}
    assert main([argument.format(**places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("opset", [opset for opset in OPSETS if opset != OPSET])
@pytest.mark.parametrize("architecture", ["gru-encoder", "transformer"])
def test_every_allowed_operator_set_is_proved_and_written(
    architecture: str, opset: int, save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.cases.LENGTHS", (1, 9, 256))
    monkeypatch.setattr("export.cases.BATCHES", (1, 3))
    folder = save_bundle(architecture, num_layers=1)
    assert main([str(folder), "--format", "onnx", "--limit", "20", "--opset", str(opset)]) == 0
    model = onnx.load(folder / "model.onnx")
    found = {entry.domain: entry.version for entry in model.opset_import}
    assert found[""] == opset
