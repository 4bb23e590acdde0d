"""TorchServe's management door: which workers are ready, on the loopback interface."""

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.tokens import read_tokens

READY = "READY"


@dataclass(frozen=True)
class Worker:
    """`state` is "READY" once it answers; `pid` is its process, 0 where there is none."""

    pid: int
    state: str


class Management:
    """Asks as the owner of the key file; refreshes its own token when it has expired."""

    def __init__(self, port: int, key_file: Path, timeout: float = 10.0) -> None:
        self.port, self.key_file, self.timeout = port, key_file, timeout

    def workers(self, model: str, version: str) -> list[Worker]:
        """The workers of a model. `ConnectionError` where nobody answers, or not so."""
        described = self._get(f"/models/{model}/{version}")
        return [Worker(int(each["pid"]), str(each["status"])) for each in described[0]["workers"]]

    def all_states(self) -> list[str]:
        """The state of every worker of every model and version. Errors as `workers`'."""
        models = self._get("/models?limit=1000")["models"]
        names = {str(each["modelName"]) for each in models}
        return [
            str(worker["status"])
            for name in sorted(names)
            for version in self._get(f"/models/{name}/all")
            for worker in version["workers"]
        ]

    def refresh(self, kind: str) -> None:
        """Has TorchServe write another token of that kind, "inference" or "management", at once
        the only one that it takes. Errors as `workers`'."""
        path = f"/token?type={kind}"
        status, _ = self._request(path, read_tokens(self.key_file).api)
        if status != 200:
            raise ConnectionError(f"management port {self.port}: status {status} for {path}")

    def _get(self, path: str) -> Any:
        tokens = read_tokens(self.key_file)
        status, body = self._request(path, tokens.management)
        if status == 400:  # so TorchServe refuses a token; it may be another's refresh
            self.refresh("management")
            status, body = self._request(path, read_tokens(self.key_file).management)
        if status != 200:
            raise ConnectionError(f"management port {self.port}: status {status} for {path}")
        return json.loads(body)

    def _request(self, path: str, token: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"management port {self.port}: {type(error).__name__}") from error
        finally:
            connection.close()
