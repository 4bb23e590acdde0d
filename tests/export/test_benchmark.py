"""The benchmark writes what it measured, of peers too, and only of peers that answer alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.__main__ import main as export
from export.backends import open_backend
from export.benchmark import main
from export.onnx import quiet_exporter
from export.peers import PEERS, check_answers, check_peers, open_peer
from export.timing import cold_start
from models.benchmarks.gru import LoopGRU
from models.bundle import load

SaveBundle = Callable[..., Path]

REVIEWS = ["--reviews", "embedded:100", "--limit", "6"]


def answers_apart(folder: Path, peer: str) -> float:
    """The largest |Δlogit| of a peer from eager, over ragged batches."""
    eager = open_backend(folder, "eager", threads=1)
    other = open_peer(peer, folder, eager, 1)
    random = np.random.default_rng(0)
    found = []
    for lengths, steps in (([1], 1), ([4, 9, 1], 9), ([40, 17], 40)):
        ids = random.integers(1, 17, (len(lengths), steps))
        mask = (np.arange(steps) < np.array(lengths)[:, None]).astype(np.int64)
        found.append(float(np.abs(other(ids, mask) - eager(ids, mask)).max()))
    return max(found)


@pytest.mark.parametrize(
    ("peer", "architecture"), [("loop", "custom-gru"), ("plain-onnx", "transformer")]
)
def test_a_peer_is_the_same_model(peer: str, architecture: str, save_bundle: SaveBundle) -> None:
    # float32 sums in another order
    assert answers_apart(save_bundle(architecture), peer) < 1e-5


def test_the_loop_is_a_loop(save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = LoopGRU.forward

    def counted(rnn: LoopGRU, inputs: Any, states: Any) -> Any:
        calls.append(inputs.shape)
        return whole(rnn, inputs, states)

    monkeypatch.setattr(LoopGRU, "forward", counted)
    folder = save_bundle("custom-gru", num_layers=2)
    loop = open_peer("loop", folder, open_backend(folder, "eager"), 1)
    loop(np.ones((3, 5), np.int64), np.ones((3, 5), np.int64))
    assert [tuple(shape[:2]) for shape in calls] == [(3, 5)] * 4, "two directions a layer"


def test_an_encoder_exported_elsewhere_is_pooled_and_classified_as_the_bundle_does(
    save_bundle: SaveBundle, tmp_path: Path
) -> None:
    folder = save_bundle("bert", pooling="mean")
    encoder = load(folder).model.backbone.encoder  # type: ignore[union-attr]

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.encoder(input_ids, attention_mask).last_hidden_state  # type: ignore[operator]

    ids = torch.ones(2, 3, dtype=torch.int64)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=1, max=256)}
    with quiet_exporter():
        torch.onnx.export(
            Hidden().eval(), (ids, torch.ones_like(ids)), tmp_path / "encoder.onnx", dynamo=True,
            input_names=["input_ids", "attention_mask"], dynamic_shapes=(sizes, sizes),
            verbose=False,
        )  # fmt: skip
    assert answers_apart(folder, f"optimum={tmp_path / 'encoder.onnx'}") < 1e-5


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("lop", "did you mean 'loop'"),
        ("loop=x", "give it as loop"),
        ("optimum", "give it as optimum=FILE"),
        ("optimum=/no/such.onnx", "there is no file"),
    ],
)
def test_a_wrong_peer_is_refused_in_one_line(given: str, words: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        check_peers([given])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_of_another_architecture_is_refused(
    peer: str, save_bundle: SaveBundle, tmp_path: Path
) -> None:
    folder = save_bundle("gru-encoder")
    eager = open_backend(folder, "eager")
    (tmp_path / "x.onnx").write_bytes(b"")
    given = f"{peer}={tmp_path / 'x.onnx'}" if PEERS[peer].takes_file else peer
    with pytest.raises(ValueError, match=r"--peers: "):
        open_peer(given, folder, eager, 1)


def test_backends_and_peers_are_measured_side_by_side(
    save_bundle: SaveBundle, tmp_path: Path
) -> None:
    folder, output = save_bundle("custom-gru"), tmp_path / "report"
    assert export([str(folder), "--format", "onnx", *REVIEWS[:2], "--limit", "20"]) == 0
    arguments = ["--rounds", "1", "--starts", "0", "--batches", "3", "--threads", "1", "2"]
    given = [str(folder), "--output", str(output), "--peers", "loop", *REVIEWS, *arguments]
    assert main(given) == 0
    measured = json.loads((output / "benchmark.json").read_text(encoding="utf-8"))
    for found in measured["threads"].values():
        assert set(found["latency_ms"]) == {"eager", "onnx", "loop"}
        assert set(found["latency_after_pause_ms"]) == {"eager", "onnx", "loop"}
        assert set(found["reviews_per_second"]) == {"3"}
        # float32 sums in another order
        assert 0 <= found["max_abs_difference"]["loop"] < 1e-5
        assert 0 <= found["max_abs_difference"]["onnx"] < 1e-5
    table = (output / "benchmark.md").read_text(encoding="utf-8")
    assert "| loop |" in table and "Start, memory" not in table
    assert (output / "benchmark.png").read_bytes().startswith(b"\x89PNG")


def test_on_another_device_what_cannot_be_opened_there_is_left_out_and_named(
    save_bundle: SaveBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder, output = save_bundle("ngram-bag"), tmp_path / "report"
    assert export([str(folder), "--format", "onnx", "torchscript", *REVIEWS[:2]]) == 0
    opened = []

    def on_a_gpu(folder: Path, name: str, *, threads: int | None = None, device: str) -> Any:
        opened.append((name, device))
        if name == "onnx":
            raise ValueError("device: its provider cannot be loaded here")
        return replace(open_backend(folder, name, threads=threads), device=device)

    monkeypatch.setattr("export.benchmark.open_backend", on_a_gpu)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    given = [str(folder), "--output", str(output), "--device", "cuda", *REVIEWS]
    given += ["--rounds", "1", "--starts", "0", "--batches", "3"]
    capsys.readouterr()
    assert main(given) == 0
    measured = json.loads((output / "benchmark.json").read_text(encoding="utf-8"))
    assert {device for _, device in opened} == {"cuda"}
    assert measured["device"] == "cuda" and measured["machine"]["gpu"] == "a GPU"
    assert set(measured["threads"]["1"]["latency_ms"]) == {"eager", "torchscript"}
    assert measured["left_out"] == {"onnx": "device: its provider cannot be loaded here"}
    assert "left out onnx: device" in capsys.readouterr().err
    assert main([*given, "--backends", "onnx"]) == 2, "one that was named is not left out"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rounds", "0"),
        ("--batches", "0"),
        ("--batches", "257"),  # of 256 reviews
        ("--threads", "9999"),
        ("--starts", "-1"),
        ("--peers", "lop"),
    ],
)
def test_a_users_mistake_is_one_line(
    option: str,
    value: str,
    save_bundle: SaveBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), "--output", str(tmp_path / "x"), option, value]) == 2
    error = capsys.readouterr().err
    assert option in error and error.count("\n") == 1 and not (tmp_path / "x").exists()


def test_a_batch_larger_than_the_reviews_there_are_is_refused(
    save_bundle: SaveBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bundle("ngram-bag")
    given = ["--reviews", "embedded:100", "--limit", "500", "--batches", "400"]
    assert main([str(folder), "--output", str(tmp_path / "x"), *given]) == 2
    error = capsys.readouterr().err
    assert "--batches: got 400, embedded:100 has" in error and error.count("\n") == 1


def test_what_cannot_be_written_to_is_found_out_before_anything_is_timed(
    save_bundle: SaveBundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("export.benchmark.measure", lambda *_: pytest.fail("timed"))
    folder = save_bundle("ngram-bag")
    (tmp_path / "file").write_bytes(b"")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main([str(folder), "--output", str(output)]) == 2
        error = capsys.readouterr().err
        assert str(tmp_path / "file") in error and error.count("\n") == 1


def test_a_foreign_config_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("config.json", "metrics.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text('{"model_type": "bert"}', encoding="utf-8")
    assert main([str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert "has no labels, max_length" in error and error.count("\n") == 1


def test_a_process_that_fails_is_one_line_with_what_it_said_last(
    save_bundle: SaveBundle, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"onnx: .* status 1 \(FileNotFoundError: .*") as error:
        cold_start(save_bundle("ngram-bag"), "onnx", 8, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "words"), [("loop", "a logit of loop"), ("optimum-int8", "50.0%")]
)
def test_a_peer_that_is_another_model_is_not_timed(
    name: str, words: str, save_bundle: SaveBundle
) -> None:
    eager = open_backend(save_bundle("ngram-bag"), "eager")
    rows = [[1, 2, 3]] * 40

    def half_wrong(ids: Any, mask: Any) -> Any:
        return eager(ids, mask) * np.where(np.arange(len(ids)) % 2, 1, -1)[:, None]

    with pytest.raises(ValueError, match=f"--peers: {words}"):
        check_answers(replace(eager, name=name, engine=half_wrong), eager, rows)
    check_answers(replace(eager, name=name), eager, rows)


def test_an_int8_peer_may_be_coarse(save_bundle: SaveBundle) -> None:
    eager = open_backend(save_bundle("ngram-bag"), "eager")
    coarse = replace(eager, name="optimum-int8", engine=lambda *batch: eager(*batch) * 1.01)
    check_answers(coarse, eager, [[1, 2, 3]] * 4)
    with pytest.raises(ValueError, match="a logit of optimum differs"):
        check_answers(replace(coarse, name="optimum"), eager, [[1, 2, 3]] * 4)
