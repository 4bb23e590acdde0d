"""Answers to requests that came together: one computation, each request answered by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.attributions import attributions
from serve.classifier import Scores, TextClassifier
from serve.problems import Problem
from serve.requests import Request


@dataclass(frozen=True)
class Response:
    """`status` of HTTP, `body` as JSON. `problems` are the codes of what failed in it."""

    status: int
    body: dict[str, Any]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identity:
    """Which model answers."""

    model: str
    version: str


def answer(
    requests: Sequence[Request | Problem], classifier: TextClassifier, identity: Identity
) -> tuple[list[Response], Scores]:
    """Answers of all requests, in order, and the scores of all their good texts.

    The texts of all requests are computed together. A request that is a problem is answered as one.
    """
    texts = [
        item
        for request in requests
        if isinstance(request, Request)
        for item in request.items
        if isinstance(item, str)
    ]
    scores = classifier.score(texts)
    responses, place = [], 0
    for request in requests:
        if isinstance(request, Problem):
            responses.append(Response(request.status, request.as_dict(), (request.code,)))
            continue
        count = sum(isinstance(item, str) for item in request.items)
        rows = np.arange(place, place + count)
        place += count
        responses.append(_respond(request, rows, scores, classifier, identity))
    return responses, scores


def _respond(
    request: Request,
    rows: NDArray[np.int64],
    scores: Scores,
    classifier: TextClassifier,
    identity: Identity,
) -> Response:
    if request.protocol == "v2":
        return Response(200, _v2(request, rows, scores, classifier, identity))
    remaining = iter(rows)
    predictions, problems = [], []
    for item in request.items:
        if isinstance(item, Problem):
            predictions.append(item.as_dict())
            problems.append(item)
            continue
        row = int(next(remaining))
        prediction = _prediction(row, scores, classifier.labels)
        if request.explain:
            prediction["attributions"] = attributions(classifier, item, scores.probabilities[row])
        predictions.append(prediction)
    model = {"model": identity.model, "version": identity.version}
    codes = tuple(problem.code for problem in problems)
    if request.single:
        return Response(200, predictions[0] | model)
    # A list with a good item is answered: its bad items stand in their places.
    status = problems[0].status if len(problems) == len(predictions) else 200
    return Response(status, {"predictions": predictions} | model, codes)


def _prediction(row: int, scores: Scores, labels: Sequence[str]) -> dict[str, Any]:
    probabilities = scores.probabilities[row]
    best = int(np.argmax(probabilities))
    return {
        "label": labels[best],
        "score": float(probabilities[best]),
        "probabilities": {
            label: float(value) for label, value in zip(labels, probabilities, strict=True)
        },
        "truncated": bool(scores.truncated[row]),
    }


def _v2(
    request: Request,
    rows: NDArray[np.int64],
    scores: Scores,
    classifier: TextClassifier,
    identity: Identity,
) -> dict[str, Any]:
    probabilities = scores.probabilities[rows]  # (N, 2)
    labels = [classifier.labels[best] for best in probabilities.argmax(axis=1)]
    count = len(rows)
    outputs = [
        _tensor("label", "BYTES", [count], labels),
        _tensor("score", "FP64", [count], probabilities.max(axis=1).tolist()),
        _tensor("probabilities", "FP64", list(probabilities.shape), probabilities.ravel().tolist()),
        _tensor("truncated", "BOOL", [count], scores.truncated[rows].tolist()),
    ]
    if request.explain:
        found = attributions(classifier, str(request.items[0]), probabilities[0])
        for name, kind, key in (
            ("attribution_token", "BYTES", "token"),
            ("attribution_start", "INT64", "start"),
            ("attribution_end", "INT64", "end"),
            ("attribution_weight", "FP64", "weight"),
        ):
            outputs.append(_tensor(name, kind, [len(found)], [each[key] for each in found]))
    body = {"model_name": identity.model, "model_version": identity.version, "outputs": outputs}
    return body if request.id is None else body | {"id": request.id}


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
