"""The handler as TorchServe calls it, with TorchServe's own context and request headers.

The model is the hand-made one of the fixtures; what it must say is computed by arithmetic.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.utils.util import list_classes_from_module

import serve.handler
import serve.metrics
import serve.responses
from serve.handler import CONFIG, Handler
from serve.metrics import metrics_yaml

JSON = {"Content-Type": "application/json"}


def v2_body(text: str, given: Any) -> bytes:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return json.dumps({"id": given, "inputs": [tensor]}).encode()


SURROGATE = v2_body("good", "\ud800")
# float32 logits and a rounded sum of the tokens, against float64 arithmetic
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def folder(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What TorchServe unpacks of an archive."""
    target = tmp_path_factory.mktemp("archive")
    for name in ("model.onnx", "tokenizer.json"):
        (target / name).write_bytes((bundle / name).read_bytes())
    config = {
        "artefact": "model.onnx",
        "labels": ["negative", "positive"],
        "max_length": 16,
        "threads": 1,
        "skips_padding": True,
        "limits": {"body_bytes": 2000, "text_bytes": 500, "items": 5, "explained_items": 1},
    }
    (target / CONFIG).write_text(json.dumps(config))
    return target


@pytest.fixture(scope="module")
def handler(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Handler:
    path = tmp_path_factory.mktemp("metrics") / "metrics.yaml"
    path.write_text(json.dumps({"model_metrics": metrics_yaml()}))  # YAML is a superset
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # TorchServe leaves the file open
        metrics = MetricsCacheYamlImpl(config_file_path=str(path))
    made = Handler()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve.metrics, "PERIOD", 3600)  # the tests themselves report
        made.initialize(make_context(folder, metrics))
    return made


def make_context(folder: Path, metrics: Any) -> Context:
    manifest = {"model": {"modelVersion": "2.1"}}
    return Context("tiny", str(folder), manifest, 8, None, "0.12.0", metrics=metrics)


def ask(handler: Handler, *requests: tuple[Any, dict[str, str]]) -> list[tuple[int, Any]]:
    """Status and JSON of each of the requests of one batch: (body, headers)."""
    context = make_context(Path(), None)
    context.request_processor = [RequestProcessor(headers) for _, headers in requests]
    data = [{"body": body} if body is not None else {"text": b"form"} for body, _ in requests]
    answers = handler.handle(data, context)
    assert len(answers) == len(requests)
    for index in range(len(requests)):
        assert context.get_response_content_type(index) == "application/json"
    return [(context.get_response_status(i)[0], json.loads(each)) for i, each in enumerate(answers)]


def expected_positive(word_logits: Any, words: list[str]) -> float:
    negative, positive = np.exp(word_logits(words))
    return float(positive / (negative + positive))


def test_the_module_defines_the_one_class_that_torchserve_allows() -> None:
    assert list_classes_from_module(serve.handler) == [Handler]


def test_a_text_gets_label_score_probabilities_and_the_models_name(
    handler: Handler, word_logits: Any
) -> None:
    ((status, body),) = ask(handler, (b'{"text": "a very good book"}', JSON))
    positive = expected_positive(word_logits, ["a", "very", "good", "book"])
    assert status == 200
    assert body == {
        "label": "positive",
        "score": pytest.approx(positive, abs=TOLERANCE),
        "probabilities": {
            "negative": pytest.approx(1 - positive, abs=TOLERANCE),
            "positive": pytest.approx(positive, abs=TOLERANCE),
        },
        "truncated": False,
        "model": "tiny",
        "version": "2.1",
    }


def test_all_protocols_say_the_same(handler: Handler) -> None:
    texts = ["good", "a bad book " * 9]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": texts}
    (_, native), (_, v1), (_, v2), (_, plain) = ask(
        handler,
        (json.dumps(texts).encode(), JSON),
        (json.dumps({"instances": [{"text": text} for text in texts]}).encode(), JSON),
        (json.dumps({"id": "x", "inputs": [tensor]}).encode(), JSON),
        (texts[1].encode(), {"content-type": "text/plain"}),
    )
    assert native == v1
    assert [each["label"] for each in v1["predictions"]] == ["positive", "negative"]
    assert (v2["id"], v2["model_name"], v2["model_version"]) == ("x", "tiny", "2.1")
    outputs = {each["name"]: each for each in v2["outputs"]}
    assert outputs["label"]["data"] == ["positive", "negative"]
    assert outputs["truncated"] | {"data": [False, True]} == outputs["truncated"]
    flat = [p for each in v1["predictions"] for p in each["probabilities"].values()]
    assert outputs["probabilities"] == {
        "name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": flat
    }  # fmt: skip
    assert plain == v1["predictions"][1] | {"model": "tiny", "version": "2.1"}


def test_a_bad_request_fails_alone(handler: Handler) -> None:
    answers = ask(
        handler,
        (b'{"text": "good"}', JSON),
        (b"{", JSON),
        (b'{"text": "good"}', {}),
        (b'{"text": "good"}', JSON | {"content-encoding": "gzip"}),
        (b'{"text": ""}', JSON),
        (b'{"text": "' + b"a" * 3000 + b'"}', JSON),
        (SURROGATE, JSON),
        # what TorchServe says of a parameter that is called like a header
        (b'{"text": "good"}', {"content-encoding": {"content-type": None}}),
        (None, {"content-type": "application/x-www-form-urlencoded"}),
        (b'{"text": "bad"}', JSON),
    )
    assert [status for status, _ in answers] == [200, 400, 415, 415, 422, 413, 422, 415, 415, 200]
    assert [answers[0][1]["label"], answers[-1][1]["label"]] == ["positive", "negative"]
    for status, body in answers[1:-1]:
        assert body["error"]["status"] == status
        assert body["error"].keys() == {"status", "code", "message", "field"}


@pytest.mark.parametrize("place", ["read_request", "_to_json", "score", "attributions"])
def test_a_request_that_breaks_the_handler_itself_fails_alone(
    handler: Handler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Wherever an error that nobody foresaw is raised: 500 to its request, in JSON, counted."""
    secret = "book"
    good, bad = b'{"text": "good"}', json.dumps({"text": secret, "explain": True}).encode()
    alone = ask(handler, (good, JSON))[0]
    owner: Any = {
        "score": handler.classifier, "attributions": serve.responses
    }.get(place, serve.handler)  # fmt: skip
    honest = getattr(owner, place)

    def broken(*given: Any) -> Any:
        if secret in repr(given) and "internal_error" not in repr(given):
            raise RuntimeError(secret)
        return honest(*given)

    monkeypatch.setattr(owner, place, broken)
    handler.tally.flush()
    caplog.clear()
    first, failed, last = ask(handler, (good, JSON), (bad, JSON), (good, JSON))
    assert first == last == alone
    assert (failed[0], failed[1]["error"]["code"]) == (500, "internal_error")
    with caplog.at_level(logging.INFO):
        handler.tally.flush()
    assert any("Code:internal_error" in line for line in caplog.messages)
    assert any("RuntimeError at test_handler.py" in line for line in caplog.messages)
    assert not any(secret in line for line in caplog.messages)


def test_a_bad_item_stands_in_its_place_and_all_bad_is_an_error(handler: Handler) -> None:
    (some, body), (none, all_bad) = ask(
        handler, (b'["good", null, "bad"]', JSON), (b'[null, ""]', JSON)
    )
    assert (some, none) == (200, 422)
    assert [each.get("label") for each in body["predictions"]] == ["positive", None, "negative"]
    assert body["predictions"][1]["error"]["field"] == "body[1]"
    assert [each["error"]["code"] for each in all_bad["predictions"]] == [
        "wrong_type",
        "empty_text",
    ]


def test_an_attribution_is_what_the_label_loses_without_the_token(
    handler: Handler, word_logits: Any
) -> None:
    words = ["not", "a", "good", "Book"]
    body = json.dumps({"text": " ".join(words), "explain": True}).encode()
    ((_, answer),) = ask(handler, (body, JSON))
    whole = expected_positive(word_logits, words)
    for index, found in enumerate(answer["attributions"]):
        without = expected_positive(word_logits, words[:index] + words[index + 1 :])
        # rounded to six places in the answer
        assert found["weight"] == pytest.approx(whole - without, abs=2e-6)
        assert " ".join(words)[found["start"] : found["end"]] == words[index]
    assert len(answer["attributions"]) == len(words)


def test_a_lone_token_is_left_out_of_nothing_without_failing(handler: Handler) -> None:
    ((status, answer),) = ask(handler, (b'{"text": "good", "explain": true}', JSON))
    assert status == 200
    assert [each["token"] for each in answer["attributions"]] == ["good"]


def test_torchserves_decoded_bodies_get_the_same_answers(handler: Handler) -> None:
    plain = {"content-type": "text/plain"}
    raw = ask(handler, (b'["good", 3]', JSON), (b"bad", plain), (b'"good"', JSON))
    decoded = ask(handler, (["good", 3], JSON), ("bad", plain), ("good", JSON))
    assert raw == decoded


BODIES = st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["text", "instances", "explain", "other"]), inner)
    ),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())
V2_BODIES = st.builds(
    lambda given, text: v2_body(text, given),
    st.text(st.characters()) | st.none() | st.integers(),  # lone surrogates too
    st.text(st.characters(), max_size=20),
)
TYPES = st.sampled_from(["application/json", "text/plain", "text/csv", ""])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batch=st.lists(st.tuples(BODIES | V2_BODIES, TYPES), max_size=6))
def test_no_batch_breaks_the_handler_or_a_good_neighbour(
    handler: Handler, batch: list[tuple[bytes, str]]
) -> None:
    good = (b'{"text": "very good"}', JSON)
    alone = ask(handler, good)[0]
    answers = ask(handler, *((body, {"Content-Type": kind}) for body, kind in batch), good)
    assert answers[-1] == alone
    assert all(status in (200, 400, 413, 415, 422) for status, _ in answers)


def test_what_is_counted_is_reported_once_without_any_text(
    handler: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    handler.tally.flush()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        ask(
            handler,
            (b'["a good book", "bad", 1]', JSON | {"Authorization": "Bearer secret"}),
            (b"{ secret text", JSON),
        )
        handler.tally.flush()
        handler.tally.flush()
    lines = [line.split("|#type")[0] for line in caplog.messages if "[METRICS]" in line]
    counted = {line for line in lines if "microseconds" not in line}
    assert counted == {
        "[METRICS]classifier_requests.Count:1|#ModelName:tiny,ModelVersion:2.1,Outcome:200",
        "[METRICS]classifier_requests.Count:1|#ModelName:tiny,ModelVersion:2.1,Outcome:400",
        "[METRICS]classifier_errors.Count:1|#ModelName:tiny,ModelVersion:2.1,Code:wrong_type",
        "[METRICS]classifier_errors.Count:1|#ModelName:tiny,ModelVersion:2.1,Code:not_json",
        "[METRICS]classifier_texts.Count:2|#ModelName:tiny,ModelVersion:2.1,Truncated:false",
        "[METRICS]classifier_tokens.Count:4|#ModelName:tiny,ModelVersion:2.1",
        "[METRICS]classifier_batches.Count:1|#ModelName:tiny,ModelVersion:2.1,UpTo:2",
        "[METRICS]classifier_positive_scores.Count:1|#ModelName:tiny,ModelVersion:2.1,UpTo:0.8",
        "[METRICS]classifier_positive_scores.Count:1|#ModelName:tiny,ModelVersion:2.1,UpTo:0.1",
    }
    assert not any("good" in line or "secret" in line for line in caplog.messages)
