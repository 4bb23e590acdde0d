"""A real TorchServe, whose workers run in an environment without this project.

The module starts one server; its last test stops it under load.
"""

import http.client
import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.__main__ import curl_line
from serve.archive import ServingConfig, write_archive
from serve.client import Client, TokenRefused
from serve.predictor import HttpPredictor, open_predictor
from serve.requests import Limits
from serve.served_model import Model
from serve.server import Server
from serve.server_config import ServerConfig
from serve.tokens import read_tokens

TEXTS = ["a very good book", "bad", "the book is not bad", "good " * 40, "ünknown ☃ words", "a"]
# float32 logits of another engine against float64 arithmetic
TOLERANCE = 1e-6
V2 = (
    b'{"id": %b, "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["good"]}]}'
)
LIMITS = Limits(body_bytes=1 << 16, text_bytes=1 << 15, items=300)
RESTART = 60  # seconds a worker may take to come back on a busy machine


@pytest.fixture(scope="module")
def server(
    bundle: Path, bare_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    serving = ServingConfig(workers=1, limits=LIMITS)
    scripted = write_archive(
        bundle,
        tmp_path_factory.mktemp("archives") / "scripted.mar",
        name="tiny",
        version="2.0",
        backend="torchscript",
        config=serving,
    )
    config = ServerConfig(python=bare_python, serving=serving, logs=tmp_path_factory.mktemp("logs"))
    with Server([Model(bundle, "tiny"), Model(scripted, "tiny", "2.0")], config) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Client:
    return Client(url_of(server), token_file=server.key_file)


def url_of(server: Server, version: str = "1.0") -> str:
    return f"{server.url}/predictions/tiny/{version}"


def post(server: Server, body: bytes, path: str = "/predictions/tiny", **headers: str) -> tuple:
    """Status and JSON, by the standard library alone."""
    sent = {
        "Authorization": f"Bearer {read_tokens(server.key_file).inference}",
        "Content-Type": "application/json",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", server.instance.ports.inference)
    try:
        connection.request("POST", path, body, sent)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def expected(word_logits: Callable[[list[str]], np.ndarray], text: str) -> float:
    logits = word_logits(text.split()[:16])
    return float(1 / (1 + np.exp(logits[0] - logits[1])))


def test_the_workers_environment_lacks_this_project(bare_python: Path, tmp_path: Path) -> None:
    for module, found in (("models", False), ("serve", False), ("ts", True), ("torch", True)):
        program = f"import importlib.util as u; print(u.find_spec({module!r}) is not None)"
        done = subprocess.run(
            [bare_python, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{found}\n", module


def test_both_engines_answer_as_arithmetic_does(
    server: Server, word_logits: Callable[[list[str]], np.ndarray]
) -> None:
    wanted = [expected(word_logits, text) for text in TEXTS]
    answers = []
    for version in ("1.0", "2.0"):
        predictor = open_predictor(url_of(server, version), token_file=server.key_file)
        assert predictor.labels == ["negative", "positive"]
        answers.append(predictor.predict(TEXTS * 30))
        np.testing.assert_allclose(answers[-1][:, 1], wanted * 30, atol=TOLERANCE)
    np.testing.assert_allclose(answers[0], answers[1], atol=TOLERANCE)


def test_the_predictor_sends_no_more_than_the_endpoint_takes(
    server: Server, client: Client
) -> None:
    predictor = HttpPredictor(client)
    # All together are far above the limit, where TorchServe refuses by itself; their parts come to
    # lie between that and the handler's limit, then below it.
    words = ["дом", "good", "bad"]
    texts = [" ".join([*words[: i % 3 + 1], "д" * 15_000]) for i in range(64)]
    assert sum(len(text.encode()) for text in texts) > 20 * LIMITS.body_bytes
    found = predictor.predict(texts)
    np.testing.assert_array_equal(found, [predictor.predict([text])[0] for text in texts])


def test_the_line_that_is_shown_works(server: Server) -> None:
    done = subprocess.run(
        ["bash", "-c", curl_line(server)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["model"] == "tiny"


def test_kserves_paths_answer(server: Server) -> None:
    status, v1 = post(server, b'{"instances": ["good", "bad"]}', "/v1/models/tiny:predict")
    assert (status, [each["label"] for each in v1["predictions"]]) == (
        200,
        ["positive", "negative"],
    )
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["good", "bad"]}
    body = json.dumps({"id": "7", "inputs": [tensor]}).encode()
    status, v2 = post(server, body, "/v2/models/tiny/infer")
    assert (status, v2["id"], v2["outputs"][0]["data"]) == (200, "7", ["positive", "negative"])


def test_explanations_come_over_http(client: Client) -> None:
    found = client.explain("a very good book")
    weights = {each.token: each.weight for each in found.attributions}
    assert max(weights, key=weights.__getitem__) == "good"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"[" * 60_000, {}, 400),
        (b'{"text": "\xff"}', {}, 400),
        (b'{"text": ""}', {}, 422),
        (b'{"text": null}', {}, 422),
        (b'{"text": "\\ud800"}', {}, 422),
        (b'{"text": "a\\u0000b"}', {}, 422),
        (V2 % b'"\\ud800"', {}, 422),
        (b"\xff\xfe", {"Content_Type": "text/plain"}, 422),
        (b"good", {"Content_Type": "text/html"}, 415),
        (b"text=good", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b"good", {"Content_Type": "text/plain", "Content_Encoding": "gzip"}, 415),
        (b'{"text": "' + b"a" * 40_000 + b'"}', {}, 413),
        (json.dumps(["a"] * 10_000).encode(), {}, 413),
        (json.dumps({"instances": ["a"] * 400}).encode(), {}, 413),
    ],
)
def test_what_is_wrong_is_said_in_json(
    server: Server, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, answer = post(server, body, **headers)
    assert (found, answer["error"]["status"]) == (status, status)
    assert answer["error"]["message"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["text", "instances", "inputs", "explain"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
    # whole requests, whose ids come back
    | st.text(st.characters(), max_size=20).map(lambda given: V2 % json.dumps(given).encode()),
    kind=st.sampled_from(["application/json", "text/plain", "text/csv", "multipart/form-data"]),
)
def test_nothing_that_is_sent_is_answered_by_5xx(server: Server, body: bytes, kind: str) -> None:
    status, answer = post(server, body, Content_Type=kind)
    assert status in (200, 400, 413, 415, 422)
    assert isinstance(answer, dict)


def test_ten_megabytes_are_refused_by_the_front_end(server: Server) -> None:
    head = (
        "POST /predictions/tiny HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {read_tokens(server.key_file).inference}\r\n"
        "Content-Length: 10000012\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.instance.ports.inference), 30) as asking:
        asking.sendall(head.encode() + b'{"text": "')
        assert asking.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_wrong_or_missing_token_is_refused(server: Server) -> None:
    for token in ("wrong", None):
        with pytest.raises(TokenRefused, match="token"):
            Client(url_of(server), token=token).predict(["good"])


def test_requests_texts_errors_and_scores_are_counted(bundle: Path) -> None:
    # A server of its own: what other tests ask is counted late, and would be counted here.
    with Server([Model(bundle, "tiny")], ServerConfig()) as server:
        _assert_counted(server)


def _assert_counted(server: Server) -> None:
    Client(url_of(server), token_file=server.key_file).predict(["a good book", "bad", "very good"])
    post(server, b"{", "/predictions/tiny/1.0")
    deadline = time.monotonic() + 30
    wanted = {
        'classifier_requests{ModelName="tiny",ModelVersion="1.0",Outcome="200"': 1,
        'classifier_requests{ModelName="tiny",ModelVersion="1.0",Outcome="400"': 1,
        'classifier_errors{ModelName="tiny",ModelVersion="1.0",Code="not_json"': 1,
        'classifier_texts{ModelName="tiny",ModelVersion="1.0",Truncated="false"': 3,
        'classifier_positive_scores{ModelName="tiny",ModelVersion="1.0",UpTo="0.1"': 1,
        'classifier_positive_scores{ModelName="tiny",ModelVersion="1.0",UpTo="0.8"': 1,
        'classifier_positive_scores{ModelName="tiny",ModelVersion="1.0",UpTo="1.0"': 1,
        'classifier_tokens{ModelName="tiny",ModelVersion="1.0"': 6,
    }
    grown: dict[str, float] = {}
    while grown != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
        after = metrics(server)
        grown = {name: after.get(name, 0) for name in wanted}
    assert grown == wanted


def metrics(server: Server, prefix: str = "classifier_") -> dict[str, float]:
    """Sums by metric and its labels but the host's, from TorchServe's Prometheus page."""
    url = f"http://127.0.0.1:{server.instance.ports.metrics}/metrics"
    lines = urllib.request.urlopen(url, timeout=10).read().decode().splitlines()
    return {
        line.partition(",Hostname")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(prefix)
    }


def test_a_thousand_idle_connections_keep_nobody_out(server: Server, client: Client) -> None:
    address = ("127.0.0.1", server.instance.ports.inference)
    idle = [socket.create_connection(address) for _ in range(1000)]
    try:
        for each in idle[::2]:
            each.sendall(b"POST /predictions/tiny HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert client.predict(["good"])[0].label == "positive"
    finally:
        for each in idle:
            each.close()


def test_a_killed_worker_loses_no_request_and_comes_back(
    server: Server, word_logits: Callable[[list[str]], np.ndarray]
) -> None:
    stop = threading.Event()

    def ask_on(text: str) -> tuple[int, set[float]]:
        client, scores, count = Client(url_of(server), token_file=server.key_file), set(), 0
        while not stop.is_set():
            scores.add(round(client.predict([text])[0].probabilities["positive"], 5))
            count += 1
        client.close()
        return count, scores

    texts = ["good", "bad book", "very good"]
    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask_on, text) for text in texts]
        try:
            time.sleep(0.5)
            killed = server.worker_pids()[0]
            os.kill(killed, 9)
            deadline = time.monotonic() + RESTART
            while not server.ready() or killed in server.worker_pids():
                assert time.monotonic() < deadline, "no worker came back"
                time.sleep(0.2)
            time.sleep(0.5)
        finally:
            stop.set()
        for text, each in zip(texts, asking, strict=True):
            count, scores = each.result()
            assert count > 0
            assert scores == {round(expected(word_logits, text), 5)}


def test_no_text_and_no_token_is_in_any_log(server: Server, client: Client) -> None:
    secret = "Geheimnis"
    client.predict([f"good {secret}"])
    for body in (f'{{"{secret}": 1}}', f"{{{secret}", f'{{"text": "{secret}\\u0000"}}'):
        post(server, body.encode(), X_Secret=secret)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    # The front end itself fails on this form, and quotes it in its exception.
    assert post(server, f"text={secret}%zz".encode(), **form)[0] == 500
    post(server, b"{}", f"/models/tiny/invoke?text={secret}")
    tokens = read_tokens(server.key_file)
    for path in server.instance.logs.iterdir():
        content = path.read_text(errors="replace")
        for word in (secret, tokens.inference, tokens.management, tokens.api):
            assert word not in content, path


def test_only_the_loopback_interface_is_listened_on(server: Server) -> None:
    listening = [
        each.laddr.ip
        for each in psutil.Process(server.process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(listening) == 5
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_stopping_answers_every_request_that_was_accepted(server: Server) -> None:
    """A stopped worker makes the requests wait while the server is told to stop."""
    workers = [psutil.Process(pid) for pid in server.worker_pids()]
    for worker in workers:
        worker.suspend()
    before = received(server)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(post, server, b'{"text": "very good"}') for _ in range(8)]
        deadline = time.monotonic() + 30
        while received(server) < before + 8:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not any(each.done() for each in waiting)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        deadline = time.monotonic() + 10
        while is_listening(server):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for worker in workers:
            worker.resume()
        answers = [each.result(timeout=30) for each in waiting]
        stopping.join()
    assert [status for status, _ in answers] == [200] * 8
    assert {answer["label"] for _, answer in answers} == {"positive"}
    assert not server.alive() and not server.instance.folder.exists()
    assert not any(worker.is_running() for worker in workers)


def received(server: Server) -> float:
    """The requests that the front end has taken in."""
    return sum(value for name, value in metrics(server, "ts_inference_requests_total").items())


def is_listening(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.instance.ports.inference), 1).close()
    except ConnectionRefusedError:
        return False
    return True
