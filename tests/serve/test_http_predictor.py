"""The predictor over HTTP against a scripted endpoint: its requests, and the endpoint's limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serve.client import ModelChanged, RequestRefused
from serve.predict_command import main
from serve.predictor import TEXTS_A_REQUEST, HttpPredictor, open_predictor
from serve.problems import Problem
from serve.rows import read_rows


def good(path: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
    """Says of a text "0.7" that it is positive by 0.7, and of "a", which asks who is there, 0.5."""
    values = [0.5 if text == "a" else float(text) for text in question["text"]]
    return 200, {
        "predictions": [
            {
                "label": "positive" if value > 0.5 else "negative",
                "score": max(value, 1 - value),
                "probabilities": {"negative": 1 - value, "positive": value},
                "truncated": False,
            }
            for value in values
        ],
        "model": "tiny",
        "version": "1.0",
    }


def test_the_predictor_cuts_into_requests_and_keeps_order_and_connections(endpoint: Any) -> None:
    served = endpoint(good)
    predictor = open_predictor(served.url, token="x")
    assert isinstance(predictor, HttpPredictor)
    values = np.round(np.linspace(0, 1, 5 * TEXTS_A_REQUEST + 3), 6)
    for _ in range(2):
        found = predictor.predict([str(value) for value in values])
        np.testing.assert_allclose(found, np.stack([1 - values, values], axis=1))
    assert predictor.labels == ["negative", "positive"]
    assert [len(question["text"]) for _, question, _ in served.asked].count(TEXTS_A_REQUEST) == 10
    assert served.connections <= 4
    assert predictor.predict([]).shape == (0, 2)


class Replaced:
    """An endpoint whose model is replaced after some requests."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, path: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
        status, answer = good(path, question, token)
        self.left -= 1
        return status, answer | ({"version": "2.0"} if self.left < 0 else {})


def test_a_model_that_is_replaced_while_it_is_asked_is_told(endpoint: Any) -> None:
    predictor = open_predictor(endpoint(Replaced(2)).url, token="x")
    predictor.predict(["0.1"])
    predictor.predict(["0.2"])
    with pytest.raises(ModelChanged, match=r"by tiny 1\.0 .*, and now by tiny 2\.0 \(negative"):
        predictor.predict(["0.3"])


def test_a_file_of_another_version_is_not_gone_on_with(
    endpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "0.1"}\n')
    served = endpoint(Replaced(2))  # who is there, and the row
    assert main([str(source), str(target), "--url", served.url]) == 0
    source.write_text('{"text": "0.1"}\n{"text": "0.9"}\n')
    assert main([str(source), str(target), "--url", served.url]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "its rows are by version 1.0, this run is by version 2.0" in line
    assert len(list(read_rows(target))) == 1


def test_an_endpoint_takes_no_backend() -> None:
    with pytest.raises(ValueError, match="backend"):
        open_predictor("http://127.0.0.1:1/x", backend="onnx")


def limited(texts: int, size: int) -> Callable[..., tuple[int, Any]]:
    """Takes so many texts and so many characters of them a request, and no text "bad"."""

    def script(path: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
        asked = question["text"]
        if len(asked) > texts:
            return 413, Problem(413, "too_many_items", "text: too many", "text").as_dict()
        if sum(map(len, asked)) > size:
            return 413, b""  # as TorchServe refuses by itself
        scored = [text if text != "bad" else "0" for text in asked]
        _, answer = good(path, {"text": scored}, token)
        for index, text in enumerate(asked):
            if text == "bad":
                problem = Problem(413, "too_large", "text[0]: too large", f"text[{index}]")
                answer["predictions"][index] = problem.as_dict()
        return (413 if asked == ["bad"] else 200), answer

    return script


@pytest.mark.parametrize(("texts", "size"), [(32, 10_000), (5, 10_000), (64, 40), (1, 10_000)])
def test_the_predictor_keeps_to_an_endpoints_limits(endpoint: Any, texts: int, size: int) -> None:
    values = np.round(np.linspace(0, 1, 2 * TEXTS_A_REQUEST + 3), 6)
    predictor = open_predictor(endpoint(limited(texts, size)).url, token="x")
    found = predictor.predict([str(value) for value in values])
    np.testing.assert_allclose(found, np.stack([1 - values, values], axis=1))


def test_one_text_that_is_too_large_is_refused(endpoint: Any) -> None:
    served = endpoint(limited(64, 10))
    with pytest.raises(RequestRefused) as caught:
        open_predictor(served.url, token="x").predict(["0.12345678901"] * 2)
    assert caught.value.status == 413 and len(served.asked) <= 3


@pytest.mark.parametrize("texts", [64, 32, 1])
def test_a_refused_text_is_named_by_its_place_in_all_of_them(endpoint: Any, texts: int) -> None:
    values = ["0.5"] * 100
    values[77] = "bad"
    served = endpoint(limited(texts, 10_000))
    with pytest.raises(RequestRefused, match=r"^text 77: ") as caught:
        open_predictor(served.url, token="x").predict(values)
    assert caught.value.text == 77
    # a text's own 413 is no reason to halve
    assert texts != 64 or len(served.asked) == 2


def test_a_file_by_an_endpoint_is_gone_on_with_by_the_same_url_alone(
    endpoint: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = endpoint(good).url, endpoint(good).url
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"text": "0.9"}\n{"text": "0.2"}\n')
    assert main([str(source), str(target), "--url", first]) == 0
    before = target.read_bytes()
    assert [row["predicted_label"] for row in read_rows(target)] == ["positive", "negative"]
    assert main([str(source), str(target), "--url", first]) == 0
    assert main([str(source), str(target), "--url", second]) == 2
    assert f"are by url {first}, this run is by url {second}" in capsys.readouterr().err
    assert target.read_bytes() == before
