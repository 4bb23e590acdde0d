"""The example of a reverse proxy, really started by its script, in front of a scripted endpoint."""

import http.client
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from serve.client import Client, TokenRefused
from serve.nginx_token import _write

PROGRAMS = "/usr/sbin:/usr/bin:/sbin:/bin"
TOKEN = "the-inner-token"
METRICS = b'classifier_requests{Outcome="200"} 7.0\n'
ANSWER = {
    "predictions": [
        {
            "label": "positive",
            "score": 0.9,
            "probabilities": {"negative": 0.1, "positive": 0.9},
            "truncated": False,
        }
    ],
    "model": "tiny",
    "version": "1.0",
}


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers what carries the inner token on the right path, as TorchServe would."""

    protocol_version = "HTTP/1.1"
    token = TOKEN

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(METRICS)))
        self.end_headers()
        self.wfile.write(METRICS if self.path == "/metrics" else b"x" * len(METRICS))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        right = self.headers["Authorization"] == f"Bearer {Endpoint.token}"
        body = json.dumps(ANSWER if right and self.path == "/predictions/tiny" else {}).encode()
        self.send_response(200 if right else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def proxy() -> Iterator[tuple[int, Path]]:
    """The proxy's port and its certificate, beside which lies its token; the port for metrics is
    in the file `metrics_port`."""
    nginx, openssl = (shutil.which(name, path=PROGRAMS) for name in ("nginx", "openssl"))
    if nginx is None or openssl is None:
        pytest.skip("needs nginx and openssl")
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="nginx") as name:
        run = Path(name)
        key, certificate = run / "key.pem", run / "certificate.pem"
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        with socket.socket() as holder, socket.socket() as other:
            for each in (holder, other):
                each.bind(("127.0.0.1", 0))
            port, metrics_port = (each.getsockname()[1] for each in (holder, other))
        (run / "metrics_port").write_text(str(metrics_port))
        values = {
            "RUN": run, "LISTEN": f"127.0.0.1:{port}", "CERTIFICATE": certificate, "KEY": key,
            "ENDPOINT": f"127.0.0.1:{endpoint.server_port}", "MODEL": "tiny",
            "TOKEN_FILE": run / "token.conf", "METRICS_LISTEN": f"127.0.0.1:{metrics_port}",
            "METRICS": f"127.0.0.1:{endpoint.server_port}",
        }  # fmt: skip
        text = files("serve").joinpath("deploy/nginx.conf").read_text()
        for mark, value in values.items():
            text = text.replace(f"@{mark}@", str(value))
        assert "rate=50r/s" in text
        text = text.replace("rate=50r/s", "rate=1r/s")  # which any machine exceeds
        (run / "nginx.conf").write_text(text)
        script = str(files("serve").joinpath("deploy/proxy.sh"))
        command = ["/bin/sh", script, str(run / "nginx.conf"), str(run / "token.conf")]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={"PATH": PROGRAMS}
        ) as running:
            try:
                time.sleep(0.5)  # without a token it waits
                assert running.poll() is None and not is_listening(port)
                write_token(run, TOKEN)
                wait_for(port, running)
                yield port, certificate
            finally:
                running.terminate()
                assert running.wait(30) == 0
    endpoint.shutdown()
    endpoint.server_close()


def write_token(folder: Path, token: str) -> None:
    """As `python -m serve --nginx-token-file` does."""
    _write(folder / "token.conf", f'set $endpoint_token "{token}";\n')


def is_listening(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def wait_for(port: int, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while running.poll() is None and time.monotonic() < deadline:
        if is_listening(port):
            return
        time.sleep(0.05)
    assert running.stderr is not None
    running.kill()
    pytest.fail(f"nginx did not start: {running.stderr.read()}")


def ask(
    proxy: tuple[int, Path], method: str = "POST", path: str = "/v1/sentiment", body: bytes = b"{}",
    key: str = "change-me", kind: str = "application/json",
) -> tuple[int, Any]:  # fmt: skip
    port, certificate = proxy
    context = ssl.create_default_context(cafile=certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": kind}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_client_with_a_key_is_answered_over_tls(proxy: tuple[int, Path]) -> None:
    port, certificate = proxy
    url = f"https://127.0.0.1:{port}/v1/sentiment"
    found = Client(url, token="change-me", certificates=certificate).predict(["good"])
    assert found[0].score == 0.9
    with pytest.raises(TokenRefused):
        Client(url, token=TOKEN, certificates=certificate).predict(["good"])


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"key": "wrong"}, 401),
        ({"key": TOKEN}, 401),
        ({"method": "GET"}, 405),
        ({"path": "/predictions/tiny"}, 404),
        ({"path": "/models"}, 404),
        ({"path": "/metrics"}, 404),
        ({"kind": "multipart/form-data; boundary=x"}, 415),
        ({"kind": "application/x-www-form-urlencoded"}, 415),
        ({"body": b"a" * 1_500_000}, 413),
    ],
)
def test_everything_else_is_refused_in_json(
    proxy: tuple[int, Path], request_: dict[str, Any], status: int
) -> None:
    found, answer = ask(proxy, **request_)
    assert (found, answer["error"]["status"]) == (status, status)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/sentiment HTTP/1.1\r\n\r\n",
        b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /v1/sentiment HTTP/9.1\r\nHost: x\r\n\r\n",
        b"POST /v1/sentiment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n",
        b"POST /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_json(proxy: tuple[int, Path], sent: bytes) -> None:
    port, certificate = proxy
    context = ssl.create_default_context(cafile=certificate)
    with (
        socket.create_connection(("127.0.0.1", port), 30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as asking,
    ):
        asking.sendall(sent)
        response = http.client.HTTPResponse(asking)
        response.begin()
        assert json.loads(response.read())["error"]["code"] == "malformed_request"
        assert response.status == 400


def test_prometheus_gets_the_metrics_and_nothing_else(proxy: tuple[int, Path]) -> None:
    port = int((proxy[1].parent / "metrics_port").read_text())
    for method, path, status in (
        ("GET", "/metrics", 200),
        ("POST", "/metrics", 403),
        ("GET", "/", 404),
        ("GET", "/models", 404),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        assert response.status == status, path
        assert (content == METRICS) == (status == 200)


def test_another_token_is_taken_up(proxy: tuple[int, Path]) -> None:
    assert ask(proxy)[0] == 200
    Endpoint.token = "another"
    assert ask(proxy)[0] == 400
    write_token(proxy[1].parent, "another")
    deadline = time.monotonic() + 30
    while ask(proxy)[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_client_that_asks_too_much_is_slowed_down(proxy: tuple[int, Path]) -> None:
    outcomes = [ask(proxy) for _ in range(4)]
    assert {status for status, _ in outcomes} == {200}
    port, certificate = proxy
    context = ssl.create_default_context(cafile=certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    headers = {"Authorization": "Bearer change-me", "Content-Type": "application/json"}
    seen = set()
    for _ in range(2000):  # 1 a second and 100 at once are let through
        connection.request("POST", "/v1/sentiment", b"{}", headers)
        response = connection.getresponse()
        response.read()
        seen.add(response.status)
        if 429 in seen:
            break
    connection.close()
    assert seen == {200, 429}
