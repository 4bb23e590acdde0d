"""The int8 loop that the float32 operator is measured against computes the same recurrence."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from export.__main__ import main as export
from export.int8_gru import main, step_wise

SaveBundle = Callable[..., Path]


@pytest.mark.parametrize("architecture", ["gru-encoder", "gru-encoder-decoder"])
def test_the_loop_over_steps_answers_as_the_operator(
    architecture: str, save_bundle: SaveBundle
) -> None:
    folder = save_bundle(architecture, embedding_size=16, hidden_size=32)
    assert export([str(folder), "--format", "onnx", "--limit", "20"]) == 0
    whole = onnx.load(folder / "model.onnx")
    loop = step_wise(whole)
    kinds = {node.op_type for node in loop.graph.node}
    assert "Scan" in kinds and "GRU" not in kinds
    random = np.random.default_rng(0)
    answers = {}
    for name, model in (("operator", whole), ("loop", loop)):
        answers[name] = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    for lengths, steps in (([1], 1), ([20, 3, 11], 20), ([0, 40], 40)):
        ids = random.integers(1, 17, (len(lengths), steps))
        mask = (np.arange(steps) < np.array(lengths)[:, None]).astype(np.int64)
        feeds = {"input_ids": ids, "attention_mask": mask}
        found, expected = (answers[name].run(None, feeds)[0] for name in ("loop", "operator"))
        # int8's steps of 1/127 of a row's largest activation, over steps that forget
        np.testing.assert_allclose(found, expected, atol=0.01, rtol=0)
        other = answers["operator"].run(None, {**feeds, "input_ids": ids[:, ::-1].copy()})[0]
        if steps > 1:  # and far less apart than the answers to another order of the same tokens
            assert np.abs(found - expected).max() < 0.5 * np.abs(other - expected).max()


def test_what_was_measured_is_written(
    save_bundle: SaveBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("gru-encoder")
    assert export([str(folder), "--format", "onnx", "--limit", "20"]) == 0
    output = tmp_path / "int8_gru.json"
    arguments = [str(folder), "--output", str(output), "--reviews", "embedded:100"]
    assert main([*arguments, "--rounds", "1"]) == 0
    rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 7 and all(row["ms"]["int8"] > 0 for row in rows)
    capsys.readouterr()
    assert main([*arguments, "--rounds", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
