"""Predictors over what export writes: all engines say what the checkpoint says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from export.__main__ import main as export_main
from models import bundle as bundles
from serve.client import RequestRefused
from serve.predictor import open_predictor

TEXTS = ["a very good book", "bad", "?", "the book is not bad " * 9, "unheard words", "good"] * 7
# float32 logits of engines that add in different orders
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A GRU with the tiny bundle's tokenizer, exported by the export package."""
    from models.registry import build

    torch.manual_seed(0)
    arguments = {"vocabulary_size": 10, "embedding_size": 8, "hidden_size": 8}
    folder = tmp_path_factory.mktemp("exported") / "gru"
    bundles.save(
        bundles.Bundle(
            model=build("gru-encoder", **arguments).eval(),
            tokenizer=Tokenizer.from_file(str(bundle / "tokenizer.json")),
            architecture="gru-encoder",
            arguments=arguments,
            labels=["negative", "positive"],
            max_length=16,
        ),
        folder,
    )
    assert export_main([str(folder), "--format", "onnx", "torchscript"]) == 0
    return folder


@pytest.mark.parametrize("backend", [None, "onnx", "torchscript", "eager"])
def test_every_backend_says_what_the_checkpoint_says(exported: Path, backend: str | None) -> None:
    predictor = open_predictor(exported, backend=backend, threads=1, batch_size=4)
    loaded = bundles.load(exported)
    loaded.tokenizer.enable_truncation(16)
    expected = []
    for text in TEXTS:  # one by one, without any padding
        ids = torch.tensor([loaded.tokenizer.encode(text).ids or [0]])
        mask = (ids != 0).to(torch.int64)
        with torch.inference_mode():
            expected.append(loaded.model(ids, mask).double().softmax(-1)[0].numpy())
    np.testing.assert_allclose(predictor.predict(TEXTS), expected, atol=TOLERANCE)
    assert predictor.labels == ["negative", "positive"]


def test_predicting_by_onnx_imports_no_torch(exported: Path) -> None:
    program = f"""
import sys
from serve.predictor import open_predictor
assert open_predictor({str(exported)!r}, threads=1).predict(["good"]).shape == (1, 2)
assert not {{"torch", "ts", "transformers"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_texts_that_an_endpoint_refuses_are_refused(own_bundle: Path) -> None:
    predictor = open_predictor(own_bundle)
    assert len(predictor.predict(["good " * 50_000])) == 1  # but for their length
    for text, code in (("", "empty_text"), (" \n", "empty_text"), ("a\0b", "invalid_text"),
                       ("\ud800", "invalid_text"), (None, "wrong_type")):  # fmt: skip
        with pytest.raises(RequestRefused, match=r"^text 1: ") as caught:
            predictor.predict(["good", text])  # type: ignore[list-item]
        assert (caught.value.code, caught.value.text) == (code, 1)
    with pytest.raises(TypeError, match="give a list of texts"):
        predictor.predict("good")
    for texts in (np.array(["good", "bad"]), (text for text in ["good", "bad"])):
        assert (predictor.predict(texts).argmax(1) == [1, 0]).all()


def test_a_token_for_a_bundle_is_refused(own_bundle: Path) -> None:
    with pytest.raises(ValueError, match="token_file: is for an endpoint"):
        open_predictor(own_bundle, token_file="key_file.json")


def test_another_tokenizer_than_the_bundles_is_refused(own_bundle: Path) -> None:
    path = own_bundle / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"tokenizer\.json: not the one that config\.json names"):
        open_predictor(own_bundle)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json in it"):
        open_predictor(own_bundle)


@pytest.mark.parametrize(
    ("backend", "match"), [("onxn", "did you mean 'onnx'"), ("torchscript", "model.ts")]
)
def test_a_mistake_is_one_line(own_bundle: Path, backend: str, match: str) -> None:
    (own_bundle / "model.ts").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=match) as caught:
        open_predictor(own_bundle, backend=backend)
    assert "\n" not in str(caught.value)
