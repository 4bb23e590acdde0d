"""The audit of an endpoint that really runs: exported, served by `python -m serve`, stopped midway,
started again, and held against the bundle itself."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bias import answers
from bias.__main__ import main
from export.__main__ import main as export
from models.bundle import Bundle, save
from models.registry import build
from serve.predictor import HttpPredictor
from training.embedded import generate
from training.tokenization import load_tokenizer

PART = 64  # texts stored at a time
PARTS_BEFORE_THE_END = 3
IDENTITIES = """
gender:
  kind: people
  question: '?'
  reference: men
  groups:
    women: {standing: minoritised, why: w, terms: [my sister, my aunt]}
    men: {standing: normative, why: m, terms: [my brother, my uncle]}
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GRU whose answers are spread, exported to ONNX by the command."""
    texts = [review.content for review in generate(200, 1)]
    tokenizer = load_tokenizer(None, lambda: [texts], 400)
    arguments = {
        "vocabulary_size": tokenizer.get_vocab_size(), "embedding_size": 8, "hidden_size": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    model = build("gru-encoder", **arguments)
    with torch.no_grad():
        model.head.weight.mul_(20)
    folder = tmp_path_factory.mktemp("runs") / "tiny" / "best"
    labels = ["negative", "positive"]
    save(Bundle(model, tokenizer, "gru-encoder", arguments, labels, 64), folder)
    assert export([str(folder), "--format", "onnx", "--reviews", "embedded:200"]) == 0
    return folder


class Endpoint:
    """A running `python -m serve`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.tokens = ""

    def wait_until_ready(self) -> None:
        """Until it has said where its tokens lie, which it does once it answers."""
        assert self.process.stdout is not None and self.process.stderr is not None
        for line in self.process.stdout:
            if line.startswith("token file"):
                self.tokens = line.split(maxsplit=2)[2].strip()
                return
        raise AssertionError(self.process.stderr.read())

    def end(self) -> None:
        """As an operator ends it."""
        self.process.terminate()
        self.process.communicate(timeout=60)


@contextmanager
def served(bundle: Path, ports: Sequence[int]) -> Iterator[Endpoint]:
    flags = ("--port", "--management-port", "--metrics-port")
    given = [part for flag, port in zip(flags, ports, strict=True) for part in (flag, str(port))]
    with subprocess.Popen(
        [sys.executable, "-m", "serve", f"tiny={bundle}", *given],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        try:
            endpoint = Endpoint(process)
            endpoint.wait_until_ready()
            yield endpoint
        finally:
            if process.poll() is None:
                endpoint.end()


@pytest.fixture
def ports() -> list[int]:
    """Free just now, so that a second server can take the place of the first."""
    held = [socket.socket() for _ in range(3)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    free = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return free


def test_an_endpoint_that_ends_midway_is_resumed_and_serves_what_its_bundle_answers(
    bundle: Path, ports: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(answers, "PART", PART)
    asked: list[int] = []
    predict = HttpPredictor.predict
    (tmp_path / "identities.yaml").write_text(IDENTITIES, encoding="utf-8")
    call = [
        f"{bundle}@onnx", f"http://127.0.0.1:{ports[0]}/predictions/tiny",
        "--reviews", "embedded:1000", "--most-reviews", "5",
        "--identities", str(tmp_path / "identities.yaml"), "--output", str(tmp_path / "audit"),
        "--fail-over", "label_disagreement=0", "--token-file",
    ]  # fmt: skip

    with served(bundle, ports) as endpoint:

        def until_it_ends(http: HttpPredictor, texts: Sequence[str]) -> NDArray[np.float64]:
            if len(asked) == PARTS_BEFORE_THE_END:
                endpoint.end()
            asked.append(len(texts))
            return predict(http, texts)

        monkeypatch.setattr(HttpPredictor, "predict", until_it_ends)
        assert main([*call, endpoint.tokens]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "no answer after 5 attempts" in line and "the same command goes on from there" in line
    assert not (tmp_path / "audit" / "audit.json").exists()

    kept = PARTS_BEFORE_THE_END * PART
    asked.clear()

    def counted(http: HttpPredictor, texts: Sequence[str]) -> NDArray[np.float64]:
        asked.append(len(texts))
        return predict(http, texts)

    monkeypatch.setattr(HttpPredictor, "predict", counted)
    with served(bundle, ports) as endpoint:
        assert main([*call, endpoint.tokens]) == 0
    assert "passed: label_disagreement" in capsys.readouterr().err
    audit = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    texts = next(s["facts"]["texts"] for s in audit["sections"] if s["name"] == "counterfactual")
    assert sum(asked) == texts - kept + answers.CHECKED  # the rest, and a check of the kept ones
    comparison = next(s for s in audit["sections"] if s["name"] == "comparison")
    (disagreeing,) = comparison["estimates"]
    # of the pairs' texts; reviews as they were written are asked too, and compared elsewhere
    assert disagreeing["value"] == 0 and 0.99 * texts < disagreeing["n"] <= texts
    assert f"serves is what was audited as {audit['targets'][0]['name']}" in str(comparison)


def test_an_endpoint_that_refuses_the_token_is_one_line(
    bundle: Path, ports: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{ports[0]}/predictions/tiny"
    call = [url, "--reviews", "embedded:1000", "--most-reviews", "5", "--output", str(tmp_path)]
    with served(bundle, ports):
        assert main(call) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "give --token-file" in line
