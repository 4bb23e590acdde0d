"""HTTP connections to one place, kept alive and used again; shared by threads."""

import contextlib
import http.client
import ssl
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Target:
    """A URL, taken apart."""

    host: str
    port: int | None
    path: str
    context: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str, certificates: str | Path | None) -> "Target":
        """Raises `ValueError` where it is no URL of HTTP."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"URL: got {url!r}; give http://HOST:PORT/... or https://HOST/...")
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=certificates)
        return cls(parts.hostname, parts.port, parts.path or "/", context)

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """Opened by its first request; `timeout` in seconds."""
        if self.context is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        return http.client.HTTPSConnection(
            self.host, self.port, timeout=timeout, context=self.context
        )


class Connections:
    """Posts to `target`; `timeout` in seconds for each wait."""

    def __init__(self, target: Target, timeout: float) -> None:
        self._target, self._timeout = target, timeout
        self.idle: deque[http.client.HTTPConnection] = deque()
        weakref.finalize(self, _close_all, self.idle)

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and content. What is posted must bear being asked twice.

        Raises:
            OSError, http.client.HTTPException: nobody answered.
        """
        try:
            connection, reused = self.idle.pop(), True
        except IndexError:
            connection, reused = self._target.connect(self._timeout), False
        try:
            return self._exchange(connection, body, headers)
        except (OSError, http.client.HTTPException) as error:
            if not reused:
                raise
            # A server closes what was idle for long: the others are no better then.
            self.close()
            if isinstance(error, TimeoutError):  # it is slow, which asking again makes worse
                raise
        return self._exchange(self._target.connect(self._timeout), body, headers)

    def close(self) -> None:
        """Closes those that are not in use."""
        _close_all(self.idle)

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            connection.request("POST", self._target.path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self.idle.append(connection)
        return response.status, content


def _close_all(connections: deque[http.client.HTTPConnection]) -> None:
    with contextlib.suppress(IndexError):  # threads may take the last one meanwhile
        while True:
            connections.pop().close()
