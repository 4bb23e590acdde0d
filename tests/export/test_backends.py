"""Every backend answers as the checkpoint does, for every architecture, or refuses in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.__main__ import main
from export.backends import BACKENDS, open_backend
from export.cases import LENGTHS
from export.formats import FORMATS, MAX_LENGTH
from export.pt2 import export_pt2
from export.torch_engine import exported_module
from models.bundle import load
from models.config_digest import KEY, config_digest
from models.registry import ARCHITECTURES

SaveBundle = Callable[..., Path]

# Of logits of about 0.5: float32 sums of 12 terms at most, added in another order; float16's steps
# of 5e-4, and int8's of 1/127 of the largest activation, through a few layers.
TOLERANCES = {"onnx-fp16": 5e-3, "onnx-int8": 5e-2}
FLOAT32_TOLERANCE = 1e-5


def batch(lengths: list[int], steps: int) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    input_ids = random.integers(0, 17, (len(lengths), steps))
    mask = (np.arange(steps) < np.array(lengths)[:, None]).astype(np.int64)
    return input_ids, mask


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_export_answers_as_the_checkpoint(
    architecture: str, save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_bundle(architecture)
    # parity over all cases is proved elsewhere; here the artefact as a user opens it
    monkeypatch.setattr("export.cases.LENGTHS", (1, 9, 256))
    monkeypatch.setattr("export.cases.BATCHES", (1, 3))
    assert main([str(folder), "--limit", "20"]) == 0
    model = load(folder).model
    names = [n for n, kind in BACKENDS.items() if kind.format and FORMATS[kind.format].by_default]
    assert names
    threads = [(name, 1) for name in names] + [("onnx", 2), ("onnx-int8", 2)]
    for name, count in threads:
        backend = open_backend(folder, name, threads=count)
        for lengths, steps in (([1], 1), ([4, 9, 1], 9), ([0, 5], 5), ([256, 17], 256)):
            input_ids, mask = batch(lengths, steps)
            with torch.inference_mode():
                expected = model(torch.from_numpy(input_ids), torch.from_numpy(mask)).numpy()
            found = backend(input_ids, mask)
            assert found.dtype == np.float32
            tolerance = TOLERANCES.get(name, FLOAT32_TOLERANCE)
            np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_torch_export_file_runs_wholly_on_another_device(
    architecture: str, save_bundle: SaveBundle
) -> None:
    folder = save_bundle(architecture)
    module = exported_module(export_pt2(load(folder), {}), "meta")
    # meta: a device that every machine has, and which mixes with the CPU no more than CUDA does
    ids = torch.ones(3, 7, dtype=torch.int64, device="meta")
    with torch.inference_mode():
        logits = module(ids, torch.ones_like(ids))
    assert (logits.device.type, tuple(logits.shape)) == ("meta", (3, 2))


def test_eager_is_the_checkpoint(save_bundle: SaveBundle) -> None:
    folder = save_bundle("gru-encoder")
    backend = open_backend(folder, "eager")
    input_ids, mask = batch([3, 7], 7)
    with torch.inference_mode():
        expected = load(folder).model(torch.from_numpy(input_ids), torch.from_numpy(mask))
    # not bit for bit: torch chooses kernels by the alignment of its buffers
    np.testing.assert_allclose(backend(input_ids, mask), expected.numpy(), atol=1e-6, rtol=0)
    assert backend.labels == ["negative", "positive"]


@pytest.mark.parametrize(
    ("input_ids", "mask", "words"),
    [
        (np.array([[99]]), np.array([[1]]), "token id 99"),
        (np.array([[-1]]), np.array([[1]]), "token id -1"),
        (np.zeros((1, 257), np.int64), np.ones((1, 257), np.int64), "1 to 256 tokens"),
        (np.zeros((0, 3), np.int64), np.ones((0, 3), np.int64), "at least one row"),
        (np.zeros((1, 0), np.int64), np.ones((1, 0), np.int64), "at least one row"),
        (np.zeros((2, 3), np.int64), np.ones((2, 4), np.int64), "one mask value a token"),
        (np.zeros((2, 3), np.int32), np.ones((2, 3), np.int64), "int64"),
        (np.zeros(3, np.int64), np.ones(3, np.int64), "(B, T)"),
    ],
)
def test_a_wrong_batch_is_refused_in_one_line(
    input_ids: Any, mask: Any, words: str, save_bundle: SaveBundle
) -> None:
    backend = open_backend(save_bundle("ngram-bag"), "eager")
    with pytest.raises(ValueError) as error:
        backend(input_ids, mask)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "onx"}, "did you mean 'onnx'"),
        ({"name": "eager", "device": "tensorrt"}, "runs on cpu, cuda"),
        ({"name": "eager", "threads": 0}, "at least 1"),
    ],
)
def test_a_wrong_choice_is_refused_in_one_line(
    arguments: dict[str, Any], words: str, save_bundle: SaveBundle
) -> None:
    with pytest.raises(ValueError, match=words):
        open_backend(save_bundle("ngram-bag"), **arguments)


def test_a_bundle_of_longer_reviews_than_any_proof_has_its_checkpoint_alone(
    save_bundle: SaveBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert max(LENGTHS) == MAX_LENGTH
    folder = save_bundle("ngram-bag")
    arguments = [str(folder), "--format", "torchscript", "--limit", "20"]
    assert main(arguments) == 0
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["max_length"] = 512
    text = json.dumps({**config, KEY: config_digest(config)})
    (folder / "config.json").write_text(text, encoding="utf-8")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "max_length is 512 tokens, exports are proved up to 256" in error
    assert error.count("\n") == 1
    # nor is one that was exported before this was checked
    with pytest.raises(ValueError, match="exports are proved up to 256"):
        open_backend(folder, "torchscript")
    eager = open_backend(folder, "eager")
    assert eager.max_length == 512
    assert eager(*batch([512], 512)).shape == (1, 2)
    with pytest.raises(ValueError, match="1 to 512 tokens"):
        eager(*batch([513], 513))


def test_an_artefact_that_was_not_exported_is_named(save_bundle: SaveBundle) -> None:
    with pytest.raises(FileNotFoundError, match="python -m export"):
        open_backend(save_bundle("ngram-bag"), "onnx")
