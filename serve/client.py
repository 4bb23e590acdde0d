"""A client of a running endpoint: tokens, retries of what is safe, errors as exceptions."""

import contextlib
import http.client
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serve.connections import Connections, Target
from serve.tokens import Tokens, read_tokens

TOKEN_VARIABLE = "TEXT_CLASSIFIER_TOKEN"
# A prediction changes nothing, so that asking again is safe whenever it may help: a worker died
# (500, 507), the queue is full or no worker is there (503), a proxy is busy or lost its server.
RETRIED = (429, 500, 502, 503, 504, 507)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds; doubled each time, and spread at random
TOKEN_PATIENCE = 2.0  # seconds for a token file that is being written


class ClientError(Exception):
    """The endpoint did not answer as asked. `status` is HTTP's, 0 where nobody answered."""

    def __init__(self, message: str, status: int = 0, code: str = "", field: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.field = status, code, field


class RequestRefused(ClientError):
    """The request is wrong (4xx): asking again gives the same. `text` is the index of the text that
    is not taken, None where it is the request as a whole; `reason` is the message without it."""

    def __init__(
        self, reason: str, status: int = 0, code: str = "", field: str = "", text: int | None = None
    ) -> None:
        place = "" if text is None else f"text {text}: "
        super().__init__(place + reason, status, code, field)
        self.reason, self.text = reason, text

    def moved(self, start: int) -> "RequestRefused":
        """The same of a longer list, in which the request's first text is number `start`."""
        text = None if self.text is None else self.text + start
        return RequestRefused(self.reason, self.status, self.code, self.field, text)


class TokenRefused(ClientError):
    """The token is wrong or has expired, and there is no newer one."""


class ModelChanged(ClientError):
    """Another model, or another version of it, answers than before."""


class Unavailable(ClientError):
    """Nobody answered, or only with errors of its own, however often it was asked."""


@dataclass(frozen=True)
class Attribution:
    """A token, where it lies in the text, and what the label's probability loses without it."""

    token: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True)
class Prediction:
    """`score` is the label's probability; `attributions` only where asked for."""

    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool
    model: str
    version: str
    attributions: tuple[Attribution, ...] = ()


class Client:
    """Asks one model. May be shared by threads; connections are kept alive and used again.

    Args:
        url: where the model answers, such as http://127.0.0.1:8080/predictions/reviews, or with a
            version: .../reviews/2.0, or what a proxy makes of it.
        token: what is sent as the bearer; None takes it from `token_file`, else from the
            environment's TEXT_CLASSIFIER_TOKEN, else sends none.
        token_file: TorchServe's key file, read again whenever the token is refused.
        management_url: where an expired token of `token_file` can be refreshed, such as
            http://127.0.0.1:8081. Refreshing takes the old one from all who use it.
        timeout: seconds for one attempt.
        attempts: of a request with one token, at most.
        certificates: a file of authorities for https; None is the system's.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: str | Path | None = None,
        management_url: str | None = None,
        timeout: float = 30.0,
        attempts: int = 5,
        certificates: str | Path | None = None,
    ) -> None:
        self._url = url
        self._connections = Connections(Target.parse(url, certificates), timeout)
        self._management = (
            None if management_url is None else Target.parse(management_url, certificates)
        )
        self._token_file = None if token_file is None else Path(token_file)
        self._token = token
        if token is None and self._token_file is None:
            self._token = os.environ.get(TOKEN_VARIABLE)
        self._timeout, self._attempts = timeout, attempts
        self._refreshing = threading.Lock()

    def predict(self, texts: Iterable[str]) -> list[Prediction]:
        """The predictions of some texts, in order; one request.

        Raises:
            RequestRefused: a text or the request is not taken; nothing is returned for the others.
            TypeError: one text, and no list of it.
            TokenRefused, Unavailable: see there.
            FileNotFoundError, ValueError: the token file is missing, or cannot be read as one.
        """
        asked = several(texts)
        answer = self._ask({"text": asked})
        with self._understood():
            identity = {name: answer[name] for name in ("model", "version")}
            found = [_prediction(each | identity) for each in answer["predictions"]]
            if len(found) != len(asked):
                raise ValueError
            return found

    def explain(self, text: str) -> Prediction:
        """The prediction of a text with its attributions. Errors as `predict`'s."""
        answer = self._ask({"text": text, "explain": True})
        with self._understood():
            return _prediction(answer)

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """What reads an answer; one of another kind, as a page to sign in at, is a mistake."""
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ClientError(f"{self._url}: answers, but not as a served model does; check the "
                              "URL", 200) from None  # fmt: skip

    def close(self) -> None:
        """Closes the connections that are not in use; the next request opens another."""
        self._connections.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer, to all of it; with another token where the first is refused."""
        body = _body(question)
        token = self._current_token()
        status, answer = self._patiently(self._url, lambda: self._post(body, token))
        if _is_token_refused(status, answer):
            newer = self._newer_token(token)
            if newer is not None:
                status, answer = self._patiently(self._url, lambda: self._post(body, newer))
        if _is_token_refused(status, answer):
            raise TokenRefused(
                f"{self._url}: the token is wrong, missing or has expired; give --token-file"
                f" (and --management-url, to refresh it), or set {TOKEN_VARIABLE}",
                status,
            )
        refused = _refused(status, answer)
        if refused is not None and status in (404, 405):
            raise RequestRefused(f"{self._url}: {refused.reason}; check the URL", status)
        if refused is not None:
            raise refused
        return answer

    def _patiently(
        self, url: str, ask: Callable[[], tuple[int, dict[str, Any]]]
    ) -> tuple[int, dict[str, Any]]:
        """What `ask` brings: a good answer, or one that asking again would not better."""
        pause = FIRST_PAUSE
        for attempt in range(1, self._attempts + 1):
            try:
                status, answer = ask()
                if status not in RETRIED:
                    return status, answer
                problem = f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                status, problem = 0, f"{type(error).__name__}: {error}"
            if attempt < self._attempts:
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE)
        raise Unavailable(f"{url}: no answer after {self._attempts} attempts ({problem})", status)

    def _post(self, body: bytes, token: str | None) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        status, content = self._connections.post(body, headers)
        try:
            answer = json.loads(content)
        except ValueError:  # a proxy's own page
            answer = {}
        return status, answer if isinstance(answer, dict) else {}

    def _current_token(self) -> str | None:
        if self._token is None and self._token_file is not None:
            self._token = self._read_tokens(self._token_file).inference
        return self._token

    def _newer_token(self, refused: str | None) -> str | None:
        """Another token than the refused one: another's refresh, or our own."""
        if self._token_file is None:
            return None
        with self._refreshing:
            tokens = self._read_tokens(self._token_file)
            expired = tokens.inference_expires <= datetime.now(UTC)
            if tokens.inference == refused and expired and self._management is not None:
                self._refresh(self._management, tokens)
                tokens = self._read_tokens(self._token_file)
            self._token = tokens.inference
            return self._token if self._token != refused else None

    def _read_tokens(self, path: Path) -> Tokens:
        """A file that is being written is waited for; one that is not there will not come."""
        return read_tokens(path, patience=TOKEN_PATIENCE if path.is_file() else 0)

    def _refresh(self, management: Target, tokens: Tokens) -> None:
        """Has TorchServe write another token; whether it did, the file says."""

        def ask() -> tuple[int, dict[str, Any]]:
            with contextlib.closing(management.connect(self._timeout)) as connection:
                path = management.path.rstrip("/") + "/token?type=inference"
                connection.request("GET", path, headers={"Authorization": f"Bearer {tokens.api}"})
                connection.getresponse().read()
            return 200, {}

        self._patiently(f"{management.host}:{management.port}", ask)


def _is_token_refused(status: int, answer: dict[str, Any]) -> bool:
    """TorchServe says it by 400 and a type of its own; a proxy by 401 or 403."""
    return status in (401, 403) or (status == 400 and answer.get("type") == "InvalidKeyException")


def several(texts: Iterable[str]) -> list[str]:
    """The texts, of a list, an array or a generator; `TypeError` for a single one, whose characters
    would be taken for texts."""
    if isinstance(texts, str):
        raise TypeError("texts: got one str; give a list of texts, such as [text]")
    return list(texts)


def _body(question: dict[str, Any]) -> bytes:
    """In UTF-8: escaped, most of the world's texts take twice or three times the bytes."""
    try:
        return json.dumps(question, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which the endpoint would refuse, too
        several = isinstance(question["text"], list)
        for index, text in enumerate(question["text"] if several else [question["text"]]):
            found = re.search("[\ud800-\udfff]", text) if isinstance(text, str) else None
            if found:
                reason = f"a lone surrogate at character {found.start()}; send valid Unicode"
                place = index if several else None
                raise RequestRefused(reason, 0, "invalid_text", "text", place) from None
        raise


def _refused(status: int, answer: dict[str, Any]) -> RequestRefused | None:
    """What is wrong with the request, or with its first bad text: of a list, each has its error in
    its place, be it among answers (200) or alone (4xx)."""
    several = answer.get("predictions")
    for index, each in enumerate(several if isinstance(several, list) else ()):
        if isinstance(each, dict) and isinstance(each.get("error"), dict):
            return _refusal(each["error"], status, index)
    if status == 200:
        return None
    error = answer.get("error", answer)
    return _refusal(error if isinstance(error, dict) else {}, status, None)


def _refusal(error: dict[str, Any], status: int, text: int | None) -> RequestRefused:
    field = str(error.get("field", ""))
    reason = str(error.get("message") or f"refused with status {status}")
    if text is not None:  # which names the text, by its place in the request, once more
        reason = reason.removeprefix(f"{field}: ")
    status = error["status"] if isinstance(error.get("status"), int) else status
    return RequestRefused(reason, status, str(error.get("code", "")), field, text)


def _prediction(value: dict[str, Any]) -> Prediction:
    return Prediction(
        label=value["label"],
        score=value["score"],
        probabilities=value["probabilities"],
        truncated=value["truncated"],
        model=value["model"],
        version=value["version"],
        attributions=tuple(Attribution(**each) for each in value.get("attributions", ())),
    )
