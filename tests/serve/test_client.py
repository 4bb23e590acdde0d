"""The client against a scripted endpoint."""

import http.client
import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import serve.client
from serve.client import Client, ClientError, RequestRefused, TokenRefused, Unavailable
from serve.problems import Problem
from serve.tokens import read_tokens

REFUSED_TOKEN = {"code": 400, "type": "InvalidKeyException", "message": "Token"}


def answer_for(texts: list[str]) -> dict[str, Any]:
    """Says of a text "0.7" that it is positive by 0.7."""
    predictions = []
    for text in texts:
        p = float(text)
        predictions.append(
            {
                "label": "positive" if p > 0.5 else "negative",
                "score": max(p, 1 - p),
                "probabilities": {"negative": 1 - p, "positive": p},
                "truncated": False,
            }
        )
    return {"predictions": predictions, "model": "tiny", "version": "1.0"}


def good(path: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
    return 200, answer_for(question["text"])


def test_predictions_come_typed_and_in_order(endpoint: Any) -> None:
    found = Client(endpoint(good).url, token="x").predict(["0.9", "0.2"])
    assert [(each.label, each.score, each.version) for each in found] == [
        ("positive", 0.9, "1.0"),
        ("negative", 0.8, "1.0"),
    ]


@pytest.mark.parametrize("failure", [(503, {}), (500, b"<html>"), (507, {}), (429, {}), None])
def test_what_may_pass_is_tried_again(endpoint: Any, failure: tuple[int, Any] | None) -> None:
    outcomes = iter([failure, failure, (200, answer_for(["0.9"]))])
    served = endpoint(lambda *_: next(outcomes))
    assert Client(served.url, token="x").predict(["0.9"])[0].score == 0.9
    assert len(served.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [b"<html>sign in</html>", {}, [], {"model": "a", "version": "1"}, answer_for(["0.9", "0.9"]),
     {"model": "a", "version": "1", "predictions": [{"label": "positive"}]},
     {"model": "a", "version": "1", "predictions": ["positive"]}],
)  # fmt: skip
@pytest.mark.parametrize("ask", ["predict", "explain"])
def test_an_answer_of_something_else_is_an_error_of_ours(
    endpoint: Any, answer: Any, ask: str
) -> None:
    client = Client(endpoint(lambda *_: (200, answer)).url, token="x")
    with pytest.raises(ClientError, match="answers, but not as a served model does; check the URL"):
        client.predict(["0.9"]) if ask == "predict" else client.explain("0.9")


def test_it_gives_up_after_its_attempts(endpoint: Any) -> None:
    served = endpoint(lambda *_: (503, {}))
    with pytest.raises(Unavailable, match="3 attempts") as caught:
        Client(served.url, token="x", attempts=3).predict(["0.9"])
    assert caught.value.status == 503 and len(served.asked) == 3


def keep_idle(client: Client, url: str, count: int) -> None:
    """Leaves connections in the client's pool, as threads that asked at once do."""
    target = urlsplit(url)
    for _ in range(count):
        connection = http.client.HTTPConnection(target.hostname or "", target.port)
        connection.connect()
        client._connections.idle.append(connection)


def test_connections_that_the_server_closed_meanwhile_cost_no_attempt(endpoint: Any) -> None:
    served = endpoint(good)
    client = Client(served.url, token="x", attempts=1)
    with socket.create_server(("127.0.0.1", 0)) as closing:
        keep_idle(client, f"http://127.0.0.1:{closing.getsockname()[1]}", 8)
        for _ in range(8):
            closing.accept()[0].close()
    assert client.predict(["0.9"])[0].score == 0.9
    assert len(client._connections.idle) == 1 and served.connections == 1


def test_a_connection_that_failed_is_asked_again_but_once(endpoint: Any) -> None:
    served = endpoint(lambda *_: None)
    client = Client(served.url, token="x", attempts=2)
    keep_idle(client, served.url, 3)
    with pytest.raises(Unavailable, match="2 attempts"):
        client.predict(["0.9"])
    assert len(served.asked) == 3  # reused, at once again, and the second attempt
    assert not client._connections.idle


def test_a_slow_answer_is_not_asked_for_again_at_once(endpoint: Any) -> None:
    ended = threading.Event()
    served = endpoint(lambda *_: ended.wait(60) and None)
    client = Client(served.url, token="x", attempts=1, timeout=0.2)
    keep_idle(client, served.url, 3)
    for connection in client._connections.idle:
        connection.sock.settimeout(0.2)
    with pytest.raises(Unavailable, match="TimeoutError"):
        client.predict(["0.9"])
    ended.set()
    assert len(served.asked) == 1 and not client._connections.idle


def test_a_refused_request_is_not_tried_again_and_says_why(endpoint: Any) -> None:
    error = {"status": 413, "code": "too_large", "message": "text: too large", "field": "text"}
    served = endpoint(lambda *_: (413, {"error": error}))
    with pytest.raises(RequestRefused, match="too large") as caught:
        Client(served.url, token="x").predict(["0.9"])
    assert (caught.value.status, caught.value.code, caught.value.field) == (
        413,
        "too_large",
        "text",
    )
    assert len(served.asked) == 1


@pytest.mark.parametrize("good_ones", [0, 1])
def test_a_refused_text_of_several_is_named(endpoint: Any, good_ones: int) -> None:
    """Whether there is an answer to any of them (200) or to none: the status of the first then."""
    problem = Problem(422, "empty_text", "text[1]: empty; send a text with a word in it", "text[1]")
    answer = answer_for(["0.9"] * good_ones)
    answer["predictions"] += [problem.as_dict(), Problem(413, "too_large", "x").as_dict()]
    served = endpoint(lambda *_: (200 if good_ones else 422, answer))
    with pytest.raises(RequestRefused) as caught:
        Client(served.url, token="x").predict(["0.9", "", "x"])
    assert str(caught.value) == f"text {good_ones}: empty; send a text with a word in it"
    found = caught.value
    assert (found.status, found.code, found.field) == (422, "empty_text", "text[1]")
    assert (found.text, found.reason) == (good_ones, "empty; send a text with a word in it")
    assert len(served.asked) == 1


def write_tokens(path: Path, inference: str, minutes: float) -> None:
    expires = (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
    door = {"key": inference, "expiration time": expires}
    path.write_text(
        json.dumps({"inference": door, "management": door | {"key": "m"}, "API": {"key": "api"}})
    )


def test_a_token_that_another_refreshed_is_read_again(endpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    served = endpoint(
        lambda path, question, token: (
            good(path, question, token) if token == "new" else (400, REFUSED_TOKEN)
        )
    )
    write_tokens(path, "old", minutes=60)
    client = Client(served.url, token_file=path)
    with pytest.raises(TokenRefused):
        client.predict(["0.9"])
    write_tokens(path, "new", minutes=60)
    assert client.predict(["0.9"])[0].score == 0.9


def test_an_expired_token_is_refreshed_by_its_owner(endpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    write_tokens(path, "old", minutes=-1)

    def script(url: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
        if url == "/token?type=inference":
            assert token == "api"
            write_tokens(path, "new", minutes=60)
            return 200, {}
        return good(url, question, token) if token == "new" else (401, {})

    served = endpoint(script)
    management = served.url.removesuffix("/predictions/tiny")
    client = Client(served.url, token_file=path, management_url=management)
    assert client.predict(["0.9"])[0].score == 0.9
    assert [url for url, _, _ in served.asked].count("/token?type=inference") == 1


@pytest.mark.parametrize("problem", ["not there", "cannot be read"])
@pytest.mark.parametrize("moment", ["before", "after it was refused"])
def test_a_token_file_that_cannot_be_read_is_an_error_at_once(
    endpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str, moment: str
) -> None:
    monkeypatch.setattr(serve.client, "FIRST_PAUSE", 60)
    path, waited = tmp_path / "key_file.json", []
    monkeypatch.setattr(serve.client.time, "sleep", waited.append)

    def spoil() -> None:
        path.unlink(missing_ok=True)
        if problem == "cannot be read":
            path.mkdir()

    def script(*_: Any) -> tuple[int, Any]:
        spoil()
        return 400, REFUSED_TOKEN

    served = endpoint(script)
    if moment == "before":
        spoil()
    else:
        write_tokens(path, "old", minutes=-1)
    with pytest.raises((FileNotFoundError, ValueError), match=f"token file .*{problem}"):
        Client(served.url, token_file=path).predict(["0.9"])
    assert len(served.asked) == (0 if moment == "before" else 1)
    assert not waited


def test_a_management_that_does_not_answer_is_named(endpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    write_tokens(path, "old", minutes=-1)
    served = endpoint(lambda *_: (400, REFUSED_TOKEN))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        client = Client(served.url, token_file=path, management_url=f"http://{where}", attempts=2)
        with pytest.raises(Unavailable, match=f"{where}: no answer after 2 attempts"):
            client.predict(["0.9"])
    assert len(served.asked) == 1


def test_the_environments_token_is_sent(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT_CLASSIFIER_TOKEN", "from-outside")
    served = endpoint(good)
    Client(served.url).predict(["0.9"])
    assert served.asked[0][2] == "from-outside"


def test_tokens_never_show() -> None:
    path_like = Client("http://127.0.0.1:1/x", token="secret-token")
    assert "secret-token" not in repr(path_like) + str(path_like)


def test_a_key_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "key_file.json"
    path.write_text('{"inference": {"ke')
    threading.Timer(0.1, write_tokens, (path, "whole", 60)).start()
    assert read_tokens(path, patience=30).inference == "whole"
    assert "whole" not in repr(read_tokens(path))


@pytest.mark.parametrize("content", [None, "", "[]", '{"inference": {}}', "\0"])
def test_no_key_file_is_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key_file.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match="token file"):
        read_tokens(path, patience=0)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x/y", "http://", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Client(url)


def test_texts_are_sent_in_utf8_and_not_escaped(endpoint: Any) -> None:
    sizes = []

    def script(path: str, question: dict[str, Any], token: str) -> tuple[int, Any]:
        sizes.append(len(json.dumps(question, ensure_ascii=False).encode()))
        assert question["text"] == ["дом " * 750 + "\N{GRINNING FACE}\0\u2028"] * 64
        return 200, answer_for(["0.9"] * 64)

    served = endpoint(script)
    Client(served.url, token="x").predict(["дом " * 750 + "\N{GRINNING FACE}\0\u2028"] * 64)
    assert served.received == sizes


@pytest.mark.parametrize("ask", ["predict", "explain"])
def test_a_lone_surrogate_is_refused_before_anything_is_sent(endpoint: Any, ask: str) -> None:
    served = endpoint(good)
    client = Client(served.url, token="x")
    with pytest.raises(RequestRefused, match="a lone surrogate at character 2") as caught:
        client.predict(["0.9", "0.\ud800"]) if ask == "predict" else client.explain("0.\ud800")
    assert caught.value.code == "invalid_text"
    assert caught.value.text == (1 if ask == "predict" else None)
    assert served.asked == []
