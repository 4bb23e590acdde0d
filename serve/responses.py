"""Answers to requests that came together: one computation, each request answered by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.attributions import attributions
from serve.classifier import Scores, TextClassifier, joined
from serve.problems import Problem, internal_problem
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

    The texts of all requests are computed together. A request that is a problem is answered as one,
    and one that cannot be answered with 500: no request takes others with it.
    """
    try:
        scores = classifier.score([text for each in requests for text in _texts(each)])
    except Exception as error:
        if len(requests) > 1:  # one of them may be the reason: each by itself
            alone = [answer([each], classifier, identity) for each in requests]
            parts = [scores for _, scores in alone]
            return [response for responses, _ in alone for response in responses], joined(parts)
        return [_refusal(internal_problem(error))], classifier.score([])
    predictions = iter(_predictions(scores, classifier.labels))
    responses = []
    for request in requests:
        own = [next(predictions) for _ in _texts(request)]
        try:
            responses.append(_respond(request, own, classifier, identity))
        except Exception as error:
            responses.append(_refusal(internal_problem(error)))
    return responses, scores


def _respond(
    request: Request | Problem,
    own: list[dict[str, Any]],
    classifier: TextClassifier,
    identity: Identity,
) -> Response:
    """One request's answer; `own` is what is said of its texts."""
    if isinstance(request, Problem):
        return _refusal(request)
    if request.explain:
        for text, each in zip(_texts(request), own, strict=True):
            whole = np.array(list(each["probabilities"].values()))
            each["attributions"] = attributions(classifier, text, whole)
    if request.protocol == "v2":
        return Response(200, _v2(request, own, identity))
    return _listed(request, own, identity)


def _refusal(problem: Problem) -> Response:
    return Response(problem.status, problem.as_dict(), (problem.code,))


def _texts(request: Request | Problem) -> list[str]:
    if isinstance(request, Problem):
        return []
    return [item for item in request.items if isinstance(item, str)]


def _predictions(scores: Scores, labels: Sequence[str]) -> list[dict[str, Any]]:
    """What is said of each text. Lists first: taking numbers from an array one by one is slow."""
    best = scores.probabilities.argmax(axis=1).tolist()
    return [
        {
            "label": labels[index],
            "score": row[index],
            "probabilities": dict(zip(labels, row, strict=True)),
            "truncated": truncated,
        }
        for index, row, truncated in zip(
            best, scores.probabilities.tolist(), scores.truncated.tolist(), strict=True
        )
    ]


def _listed(request: Request, own: list[dict[str, Any]], identity: Identity) -> Response:
    model = {"model": identity.model, "version": identity.version}
    if request.single:
        return Response(200, own[0] | model)
    good = iter(own)
    problems = [item for item in request.items if isinstance(item, Problem)]
    predictions = [
        item.as_dict() if isinstance(item, Problem) else next(good) for item in request.items
    ]
    # A list with a good item is answered: its bad items stand in their places.
    status = 200 if own else problems[0].status
    codes = tuple(problem.code for problem in problems)
    return Response(status, {"predictions": predictions} | model, codes)


def _v2(request: Request, own: list[dict[str, Any]], identity: Identity) -> dict[str, Any]:
    rows = [list(each["probabilities"].values()) for each in own]  # (N, 2)
    count = len(own)
    outputs = [
        _tensor("label", "BYTES", [count], [each["label"] for each in own]),
        _tensor("score", "FP64", [count], [each["score"] for each in own]),
        _tensor("probabilities", "FP64", [count, len(rows[0])], [p for row in rows for p in row]),
        _tensor("truncated", "BOOL", [count], [each["truncated"] for each in own]),
    ]
    if request.explain:
        found = own[0]["attributions"]
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
