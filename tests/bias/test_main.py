"""The one command, end to end: a bundle, an endpoint that goes away, and mistakes in the call."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

from bias import answers
from bias.__main__ import main
from models.bundle import Bundle, save
from models.registry import build
from training.embedded import generate

SMALL = ["--reviews", "embedded:2000", "--most-reviews", "15"]


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small axis, so that an audit takes a second."""
    path = tmp_path_factory.mktemp("identities") / "gender.yaml"
    path.write_text(
        "gender:\n  kind: people\n  question: '?'\n  reference: men\n  groups:\n"
        "    women: {standing: minoritised, why: w, terms: [my sister, my aunt]}\n"
        "    men: {standing: normative, why: m, terms: [my brother, my uncle]}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two seeds of one small untrained GRU over the words of the embedded reviews."""
    words = sorted({word for review in generate(200, 1) for word in review.content.lower().split()})
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    arguments = {"vocabulary_size": len(vocabulary), "embedding_size": 8, "hidden_size": 8}
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        config = {"experiment": "tiny", "train": {"seed": seed}}
        folder = tmp_path_factory.mktemp("runs") / f"seed-{seed}" / "best"
        save(
            Bundle(build("gru-encoder", **arguments), tokenizer, "gru-encoder", arguments,
                   ["negative", "positive"], 64, {"config": config}),
            folder,
        )  # fmt: skip
        folders.append(folder)
    return folders[0], folders[1]


def test_an_audit_of_two_seeds_writes_a_report_that_compares_them(
    bundles: tuple[Path, Path], identities: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call = [*map(str, bundles), *SMALL, "--identities", str(identities), "--output", str(tmp_path)]
    assert main(call) == 0
    out, err = capsys.readouterr()
    assert "flip_rate" in out and "audit.html" in out
    assert "not exported to ONNX; auditing the checkpoint itself (eager)" in err
    audit = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert [section["name"] for section in audit["sections"]].count("counterfactual") == 2
    assert {"comparison", "seeds"} <= {section["name"] for section in audit["sections"]}
    assert [target["name"] for target in audit["targets"]] == ["seed-0@eager", "seed-1@eager"]
    assert audit["settings"]["split"] == "test"
    for section in audit["sections"]:
        for estimate in section["estimates"]:
            assert estimate["n"] > 0 and estimate["low"] <= estimate["value"] <= estimate["high"]


def test_the_gate_gives_the_exit_status_and_stored_answers_are_not_asked_again(
    bundles: tuple[Path, Path], identities: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    call = [str(bundles[0]), *SMALL, "--identities", str(identities), "--output", str(tmp_path)]
    assert main([*call, "--fail-over", "flip_rate=1"]) == 0
    monkeypatch.setattr("bias.targets.open_predictor", None)
    assert main([*call, "--fail-over", "flip_rate=1", "group_gap=0"]) == 1
    err = capsys.readouterr().err
    assert "passed: flip_rate" in err and "FAILED: group_gap" in err


class Endpoint:
    """Answers like `serve`, for so many requests; then 503."""

    def __init__(self, positive: Callable[[list[str]], np.ndarray]) -> None:
        self.left, self.texts, self.positive = 10**9, 0, positive
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.left -= 1
                if endpoint.left < 0:
                    return self.answer(503, {})
                texts = json.loads(body)["text"]
                endpoint.texts += len(texts)
                rows = [
                    {"label": "positive" if p >= 0.5 else "negative", "score": max(p, 1 - p),
                     "probabilities": {"negative": 1 - p, "positive": p}, "truncated": False}
                    for p in endpoint.positive(texts).tolist()
                ]  # fmt: skip
                self.answer(200, {"predictions": rows, "model": "m", "version": "1.0"})

            def answer(self, status: int, value: dict[str, Any]) -> None:
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/predictions/m"


@pytest.fixture
def endpoint(additive: Any) -> Iterator[Endpoint]:
    served = Endpoint(additive(0).positive)
    thread = threading.Thread(target=served.server.serve_forever)
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def test_an_endpoint_that_goes_away_midway_is_resumed(
    endpoint: Endpoint, identities: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(answers, "PART", 128)
    call = [endpoint.url, *SMALL, "--identities", str(identities), "--output", str(tmp_path)]
    endpoint.left = 8
    assert main(call) == 3
    err = capsys.readouterr().err
    assert "what it answered before is kept" in err and len(err.splitlines()) == 1
    stored = len(list((tmp_path / "answers").rglob("*.npz"))) * 128
    assert stored > 0
    endpoint.left, endpoint.texts = 10**9, 0
    assert main(call) == 0
    audit = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    total = audit["sections"][0]["facts"]["texts"]
    # besides the rest: one text for the labels, and those that check the model is the same
    assert endpoint.texts == total - stored + 1 + answers.CHECKED


def test_the_gate_does_not_pass_on_answers_of_another_model_or_of_none(
    endpoint: Endpoint, identities: Path, tmp_path: Path, additive: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    call = [endpoint.url, *SMALL, "--identities", str(identities), "--output", str(tmp_path),
            "--fail-over", "flip_rate=1"]  # fmt: skip
    assert main(call) == 0
    endpoint.texts = 0
    assert main(call) == 0
    assert endpoint.texts == 1 + answers.CHECKED  # nothing is missing, and still it is asked
    same, endpoint.positive = endpoint.positive, additive(1).positive
    capsys.readouterr()
    assert main(call) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another model answers under its name" in line
    endpoint.positive, endpoint.left = same, 0
    assert main(call) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "no answer after 5 attempts" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/folder"], "TARGET no/such/folder: no bundle there"),
        (["BUNDLE", "BUNDLE"], "given twice"),
        (["BUNDLE@onxn"], "did you mean 'onnx'"),
        (["BUNDLE", "--fail-over", "flip_rate"], "--fail-over flip_rate: give NAME=THRESHOLD"),
        (
            ["BUNDLE", "--fail-over", "fliprate=1", "--identities", "IDENTITIES", *SMALL],
            "this audit has no fliprate",
        ),
        (["BUNDLE", "--identities", "none.yaml"], "--identities none.yaml: no such file"),
        (["BUNDLE", "--reviews", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    arguments: list[str], message: str, bundles: tuple[Path, Path], identities: Path,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = {"BUNDLE": str(bundles[0]), "IDENTITIES": str(identities)}
    given = [words.get(text, text.replace("BUNDLE", words["BUNDLE"])) for text in arguments]
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "not exported" not in line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not (tmp_path / "out" / "audit.json").exists()


def test_no_targets_and_no_reviews_are_refused_by_the_parser(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for call in (["--output", "x"], ["t", "--output", "x", "--most-reviews", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(call)
        assert stopped.value.code == 2
    assert "give a whole number from 1" in capsys.readouterr().err


def test_stored_logits_of_a_language_model_are_a_target_too(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logits = shared_data / "bert_mask_logits" / "logits.parquet"
    vocabulary = ["--vocabulary", str(shared_data / "bert-base-uncased")]
    assert main([str(logits), *vocabulary, "--output", str(tmp_path)]) == 0
    audit = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert audit["targets"][0]["kind"] == "language model"
    assert {section["name"] for section in audit["sections"]} >= {"fill_mask"}
    assert "reviews" not in audit["settings"]  # no classifier was asked
    assert "the odds of what is expected of the nurse" in " ".join(capsys.readouterr().out.split())
