"""The gates let through what answers as the checkpoint does, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.__main__ import main
from export.cases import BATCHES, LENGTHS, MASKS, TOKENS, Case, cases
from export.certificate import read_certificate
from export.formats import Gate
from export.parity import ParityError, Reference, check, measure
from export.statistics import wilson_interval

SaveBundle = Callable[..., Path]
STRICT = Gate(max_abs_difference=1e-4, label_agreement=1.0)
COARSE = Gate(None, 0.99, max_accuracy_loss=0.3, max_mean_difference=0.2)


def by_content(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Any:
    """A model of one's own: logits that depend on the real tokens and their positions."""
    weight = np.arange(1, input_ids.shape[1] + 1) % 7 - 3
    score = (np.sin(input_ids) * weight * attention_mask).sum(axis=1) + 0.5
    return np.stack([score, -score], axis=1).astype(np.float32)


def reference(rows: list[list[int]] | None = None) -> Reference:
    rows = [[i, i + 1, 3] for i in range(40)] if rows is None else rows
    labels = np.array([0, 1] * (len(rows) // 2))
    return Reference.of(by_content, cases(50), rows, labels, "made up")


def test_the_cases_cover_every_length_batch_mask_and_kind_of_ids() -> None:
    made = cases(100)
    assert {case.input_ids.shape[1] for case in made} >= set(LENGTHS) >= {1, 256}
    assert {case.input_ids.shape[0] for case in made} >= set(BATCHES) >= {1, 64}
    names = [case.name for case in made]
    for words in (*MASKS, *TOKENS):
        assert sum(words in name for name in names) > 5
    for case in made:
        assert case.input_ids.dtype == case.attention_mask.dtype == np.int64
        assert case.input_ids.min() >= 0 and case.input_ids.max() < 100
        assert case.attention_mask[:, 0].all()
    again = cases(100)
    assert all((a.input_ids == b.input_ids).all() for a, b in zip(made, again, strict=True))


def test_what_answers_alike_passes_and_is_measured() -> None:
    known = reference()
    findings = measure(known, lambda ids, mask: by_content(ids, mask) + np.float32(1e-5), "x")
    check(findings, STRICT, "x")
    entry = findings.entry()
    assert entry["max_abs_difference"] == pytest.approx(1e-5, rel=0.5)
    assert entry["label_agreement"] == 1.0
    assert entry["reviews"] == 40


@pytest.mark.parametrize("gate", [STRICT, COARSE])
@pytest.mark.parametrize(
    "broken",
    [
        lambda ids, mask: by_content(ids, np.ones_like(mask)),  # reads padding
        lambda ids, mask: by_content(ids[:, ::-1], mask[:, ::-1]),  # reads backwards
        lambda ids, mask: -by_content(ids, mask),  # labels exchanged
        lambda ids, mask: by_content(ids, mask) * 0,  # says nothing
    ],
)
def test_a_systematic_mistake_passes_no_gate(broken: Any, gate: Gate) -> None:
    with pytest.raises(ParityError):
        check(measure(reference(), broken, "x"), gate, "x")


def test_a_mistake_at_one_length_alone_is_named() -> None:
    def frozen(ids: Any, mask: Any) -> Any:
        return by_content(ids, mask) + (np.float32(0.01) if ids.shape[1] == 129 else 0)

    with pytest.raises(ParityError, match=r"by 0\.01, allowed is 0\.0001 \(.*length 129"):
        check(measure(reference(), frozen, "model.onnx"), STRICT, "model.onnx")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda ids, mask: by_content(ids, mask)[:, :1], "shape"),
        (lambda ids, mask: by_content(ids, mask) * np.nan, "not finite"),
        (lambda ids, mask: by_content(ids[:, :100], mask), "fails on batch"),
    ],
)
def test_an_export_that_cannot_answer_is_named(broken: Any, words: str) -> None:
    with pytest.raises(ParityError, match=words):
        measure(reference(), broken, "x")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_checkpoint_that_gives_no_finite_logits_proves_nothing(value: float) -> None:
    def broken(ids: Any, mask: Any) -> Any:
        return by_content(ids, mask) + np.float32(value if ids.shape[1] == 65 else 0)

    with pytest.raises(ParityError, match=r"its own logits are not finite \(batch .* length 65"):
        Reference.of(broken, cases(50), [[2, 3], [4, 5]], np.array([0, 1]), "made up")


@pytest.mark.parametrize("gate", [STRICT, COARSE])
def test_no_gate_lets_differences_pass_that_are_no_numbers(gate: Gate) -> None:
    known = reference()
    known.case_logits = [logits * np.float32(np.nan) for logits in known.case_logits]
    with pytest.raises(ParityError):
        check(measure(known, by_content, "x"), gate, "x")


@pytest.mark.parametrize(("count", "few"), [(40, "one review is 2.5 points"), (400, None)])
def test_lost_accuracy_fails_the_int8_gate(count: int, few: str | None) -> None:
    rows = [[i % 40 + 1] * (i % 9 + 1) for i in range(count)]
    labels = by_content(*_batch(rows)).argmax(axis=1)
    known = Reference.of(by_content, cases(50), rows, labels, "made up")
    review_batches = {case.input_ids.tobytes() for case in known.reviews}

    def worse(ids: Any, mask: Any) -> Any:
        logits = by_content(ids, mask)
        if ids.tobytes() in review_batches:
            # within the 99% of labels that have to agree, yet 1 in 133 reviews wrong
            return logits * np.where(np.arange(len(ids)) % 133 == 7, -1, 1)[:, None]
        return logits

    gate = Gate(None, 0.9, max_accuracy_loss=0.3)
    with pytest.raises(ParityError, match=r"points lost, allowed are 0\.3") as caught:
        check(measure(known, worse, "x"), gate, "x")
    assert few in str(caught.value) if few else "one review" not in str(caught.value)


def _batch(rows: list[list[int]]) -> tuple[Any, Any]:
    from export.cases import padded

    return padded(rows)


def test_wilson_interval_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, trials in ((0, 5), (5, 5), (81, 263), (915, 1000)):
        wanted = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx((wanted.low, wanted.high))
    with pytest.raises(ValueError, match="trials"):
        wilson_interval(1, 0)


def _swap_gates(model: onnx.ModelProto) -> None:
    """What one gets from the layer's weights in torch's order of gates, unconverted."""
    gru = next(node for node in model.graph.node if node.op_type == "GRU")
    weights = next(each for each in model.graph.initializer if each.name == gru.input[1])
    array = numpy_helper.to_array(weights)
    z, r, n = np.split(array, 3, axis=1)
    weights.CopyFrom(numpy_helper.from_array(np.concatenate([r, z, n], 1), weights.name))


def _reset_before(model: onnx.ModelProto) -> None:
    """ONNX's default, with which the reset gate multiplies the state before the product."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 0


@pytest.mark.parametrize("damage", [_swap_gates, _reset_before])
def test_a_broken_onnx_export_is_not_written(
    damage: Callable[[onnx.ModelProto], None],
    save_bundle: SaveBundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from export import onnx as exporter

    whole = exporter.export_onnx

    def broken(*arguments: Any, **options: Any) -> onnx.ModelProto:
        model = whole(*arguments, **options)
        damage(model)
        return model

    monkeypatch.setattr(exporter, "export_onnx", broken)
    folder = save_bundle("gru-encoder")
    before = sorted(path.name for path in folder.iterdir())
    assert main([str(folder), "--format", "onnx", "--limit", "20"]) == 1
    error = capsys.readouterr().err
    assert "not written: model.onnx: a logit differs" in error and ", row " in error
    assert sorted(path.name for path in folder.iterdir()) == before
    assert read_certificate(folder) == {}


def test_a_failed_export_leaves_the_earlier_artefact_and_its_proof(
    save_bundle: SaveBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_bundle("ngram-bag")
    arguments = [str(folder), "--format", "torchscript", "--limit", "20"]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(
        "export.write.check", lambda *_: (_ for _ in ()).throw(ParityError("broken"))
    )
    assert main(arguments) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_case_is_what_its_name_says() -> None:
    for case in cases(20):
        if "one real token" in case.name:
            assert (case.attention_mask.sum(axis=1) == 1).all()
        if "mask: none" in case.name:
            assert case.attention_mask.all()
        assert isinstance(case, Case)
