"""A page to try models on: one file, served on the loopback interface beside the endpoint.

The page's server holds the token and asks the endpoint, so that no browser gets the token.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from serve.client import Client, ClientError

LONGEST_BODY = 1 << 18
_INLINE = {
    kind: re.compile(rf"<{kind}>(.*?)</{kind}>".encode(), re.DOTALL) for kind in ("script", "style")
}


class PageServer:
    """Holds the port, serves the page once started; `clients` by the names that the page shows.

    Raises:
        ValueError: the port is taken, or none.
    """

    def __init__(self, clients: Mapping[str, Client], port: int = 0) -> None:
        self.content = files("serve").joinpath("page.html").read_bytes()
        self.policy = content_security_policy(self.content)
        self.clients = dict(clients)
        try:
            handler = type("Handler", (_Handler,), {"page": self})
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"--page-port: 127.0.0.1:{port} cannot be had; stop what holds it, or give another"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """On the loopback interface."""
        return self._server.server_port

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and frees the port; also where it has not begun to answer."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def ask(self, question: Any) -> tuple[int, dict[str, Any]]:
        """Status and answer for {"model": name, "text": text}.

        What the endpoint refuses is an answer too: status 200 with an `error`.
        """
        model = question.get("model") if isinstance(question, dict) else None
        if not isinstance(model, str) or model not in self.clients:
            return 422, {"error": {"message": "no such model"}}
        if not isinstance(question.get("text"), str):
            return 422, {"error": {"message": "no text"}}
        try:
            return 200, asdict(self.clients[model].explain(question["text"]))
        except (ClientError, ValueError, OSError) as error:  # the key file may be gone
            return 200, {"error": {"message": str(error)}}


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request to the page's server; `page` is set by the server on a class of its own."""

    page: PageServer
    timeout = 30

    def do_GET(self) -> None:
        if not self._is_ours():
            self._send(403, b"", "text/plain")
        elif self.path == "/":
            self._send(200, self.page.content, "text/html; charset=utf-8")
        elif self.path == "/models":
            self._json(200, {"models": list(self.page.clients)})
        else:
            self._send(404, b"", "text/plain")

    def do_POST(self) -> None:
        # Another site's page can send a form, but no JSON without asking first.
        length = self.headers.get("Content-Length", "")
        if not self._is_ours() or self.headers.get("Content-Type") != "application/json":
            self._send(403, b"", "text/plain")
        elif self.path != "/ask":
            self._send(404, b"", "text/plain")
        elif not length.isdecimal() or int(length) > LONGEST_BODY:
            self._json(413, {"error": {"message": "the text is too long"}})
        else:
            try:
                question = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                question = None
            self._json(*self.page.ask(question))

    def _is_ours(self) -> bool:
        """Whether the browser believes to be here: a name that someone points to this
        machine is not us."""
        return self.headers.get("Host") == f"127.0.0.1:{self.page.port}"

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.page.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: no log of what people try."""


def content_security_policy(page: bytes) -> str:
    """Only the page's own script and style, by their hashes, and requests to where it came from."""
    sources = {}
    for kind, pattern in _INLINE.items():
        digests = (hashlib.sha256(each).digest() for each in pattern.findall(page))
        sources[kind] = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in digests)
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
