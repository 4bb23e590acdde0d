"""Texts -> probabilities, from whatever answers: a bundle's backend, or an endpoint over HTTP.

N texts. Importing this imports neither torch nor TorchServe.
"""

import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from export.backends import open_backend
from export.certificate import read_config, read_tokenizer
from serve.classifier import TextClassifier
from serve.client import Client, ModelChanged, Prediction, RequestRefused, several
from serve.problems import Problem
from serve.requests import Limits, checked_text

DEFAULT_BACKEND = "onnx"
TEXTS_A_REQUEST = 64
REQUESTS_AT_ONCE = 4
_ANY_LENGTH = Limits(text_bytes=sys.maxsize)


class Predictor(Protocol):
    """What the audit and the benchmarks ask. `labels[i]` names column i."""

    @property
    def labels(self) -> list[str]:
        """The names of the two columns."""

    def predict(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Probabilities (N, 2) of any number of texts, in their order."""


def open_predictor(
    target: str | Path,
    *,
    backend: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    batch_size: int = 32,
    token: str | None = None,
    token_file: str | Path | None = None,
    management_url: str | None = None,
) -> Predictor:
    """A predictor over a bundle's folder, or over a running endpoint.

    Args:
        target: a bundle's folder; or a model's URL, such as
            http://127.0.0.1:8080/predictions/reviews, to which only the tokens apply.
        backend: one of `export.backends.BACKENDS`; None is "onnx".
        threads: of the engine; None lets the engine choose.
        device: "cpu", "cuda" or "tensorrt".
        batch_size: texts computed at a time, at most.
        token, token_file, management_url: see `serve.client.Client`.

    Raises:
        FileNotFoundError, ValueError: no bundle, or an artefact that is missing or does not fit.
    """
    if str(target).startswith(("http://", "https://")):
        if backend is not None:
            raise ValueError(
                f"backend: got {backend!r} with a URL; the endpoint has one, so leave it out"
            )
        return HttpPredictor(
            Client(str(target), token=token, token_file=token_file, management_url=management_url)
        )
    own = {"token": token, "token_file": token_file, "management_url": management_url}
    if given := [name for name, value in own.items() if value is not None]:
        raise ValueError(f"{', '.join(given)}: is for an endpoint, and {target} is a bundle's "
                         "folder; leave it out")  # fmt: skip
    engine = open_backend(target, backend or DEFAULT_BACKEND, threads=threads, device=device)
    tokenizer = Tokenizer.from_buffer(read_tokenizer(target, read_config(target)))
    return BundlePredictor(
        tokenizer, engine, engine.labels, engine.max_length, batch_size=batch_size
    )


class BundlePredictor(TextClassifier):
    """A bundle in this process. Texts that an endpoint would not take raise
    `serve.client.RequestRefused`, as `HttpPredictor` does; they may be of any length."""

    def predict(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Probabilities (N, 2), in order."""
        asked = several(texts)
        for index, text in enumerate(asked):
            try:
                checked_text(text, "text", _ANY_LENGTH)
            except Problem as problem:
                reason = problem.message.removeprefix("text: ")
                raise RequestRefused(
                    reason, problem.status, problem.code, problem.field, index
                ) from None
        return super().predict(asked)


class HttpPredictor:
    """The model behind an endpoint. Texts that it does not take (empty ones among them) raise
    `serve.client.RequestRefused`, whose `text` is the index in what was asked; another model than
    the one that answered first raises `serve.client.ModelChanged`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._first: Prediction | None = None
        self._lock = threading.Lock()

    @property
    def labels(self) -> list[str]:
        """As the endpoint orders them."""
        return list(self._known().probabilities)

    @property
    def identity(self) -> dict[str, str]:
        """`model` and `version`, as the endpoint gives them."""
        return _identity(self._known())

    def _known(self) -> Prediction:
        """An answer; asked for by a text where nothing was predicted yet."""
        if self._first is None:
            self._rows(["a"])
        assert self._first is not None
        return self._first

    def predict(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Probabilities (N, 2); several requests at once, each of several texts."""
        asked = several(texts)
        starts = range(0, len(asked), TEXTS_A_REQUEST)
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            parts = pool.map(
                lambda start: self._rows(asked[start : start + TEXTS_A_REQUEST], start), starts
            )
            return np.concatenate([np.zeros((0, 2)), *parts])

    def _rows(self, texts: Sequence[str], start: int = 0) -> NDArray[np.float64]:
        """Of the texts from number `start` on: one request, or as many as its limits ask for."""
        try:
            predictions = self._client.predict(texts)
        except RequestRefused as error:
            if error.text is not None:
                raise error.moved(start) from None
            if error.status != 413:
                raise
            if len(texts) == 1:  # so that it is this text
                size = len(texts[0].encode())
                raise RequestRefused(
                    f"{size} bytes, more than a request to this endpoint may have; cut it",
                    error.status, error.code, error.field, start,
                ) from None  # fmt: skip
            half = len(texts) // 2  # too many texts, or too many bytes together
            return np.concatenate(
                [self._rows(texts[:half], start), self._rows(texts[half:], start + half)]
            )
        with self._lock:
            first = self._first = self._first or predictions[0]
        now = predictions[0]
        if _identity(now) != _identity(first) or list(now.probabilities) != list(
            first.probabilities
        ):
            raise ModelChanged(
                f"the endpoint answered by {_said(first)}, and now by {_said(now)}: what it "
                "predicts would be of two models; ask a URL with a version, or begin again"
            )
        return np.array([_row(each) for each in predictions])


def _identity(prediction: Prediction) -> dict[str, str]:
    return {"model": prediction.model, "version": prediction.version}


def _said(prediction: Prediction) -> str:
    labels = ", ".join(prediction.probabilities)
    return f"{prediction.model} {prediction.version} ({labels})"


def _row(prediction: Prediction) -> list[float]:
    return list(prediction.probabilities.values())
