"""The systems that are measured, each started in its own processes and suspended while others are
measured."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from serve.archive import ServingConfig
from serve.benchmark.peers import PATH, PEERS
from serve.served_model import Model
from serve.server import Server, ServerError
from serve.server_config import ServerConfig
from serve.tokens import read_tokens

START = 120.0  # seconds a peer may take
STANDARD = ServingConfig()
ENDPOINTS = {
    "torchserve": ServerConfig(),
    "torchserve-stock-socket": ServerConfig(buffered_socket=False),
    "torchserve-fast-start": ServerConfig(fast_start=True),
    "torchserve-one-worker": ServerConfig(serving=replace(STANDARD, workers=1)),
    "torchserve-one-by-one": ServerConfig(serving=replace(STANDARD, batch_size=1)),
}
"""The endpoint as `python -m serve` starts it, and with one setting changed."""


def settings(name: str) -> dict[str, Any]:
    """What is set of one of `ENDPOINTS`, of what matters to its speed."""
    config = ENDPOINTS[name]
    serving = asdict(config.serving)
    chosen = {key: serving[key] for key in ("workers", "threads", "batch_size", "batch_delay")}
    return {
        "buffered_socket": config.buffered_socket, "fast_start": config.fast_start, **chosen
    }  # fmt: skip


@dataclass
class System:
    """A running server: where to ask it, and its processes."""

    name: str
    port: int
    path: str
    process: psutil.Process
    ready_seconds: float
    token: str | None = None

    def processes(self) -> list[psutil.Process]:
        """The server's process first, then its children."""
        return [self.process, *self.process.children(recursive=True)]

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of each process, by name and number."""
        return {
            f"{each.name()}-{index}": each.memory_info().rss / 2**20
            for index, each in enumerate(self.processes())
        }

    def cpu_seconds(self) -> dict[str, float]:
        """Of the server's process ("front"), of its children ("workers") and of ours ("client")."""
        first, *others = [_cpu_seconds(each) for each in self.processes()]
        return {"front": first, "workers": sum(others), "client": _cpu_seconds(psutil.Process())}

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Runs within, where it was suspended before and is again after."""
        for each in self.processes():
            each.resume()
        try:
            yield
        finally:
            for each in self.processes():
                each.suspend()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Takes no time of the processor within."""
        processes = self.processes()
        for each in processes:
            each.suspend()
        try:
            yield
        finally:
            for each in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.resume()


@contextmanager
def endpoint(name: str, bundle: Path) -> Iterator[System]:
    """One of `ENDPOINTS`."""
    start = time.perf_counter()
    config = replace(ENDPOINTS[name], token_minutes=24 * 60)
    with Server([Model(bundle, "model")], config) as server:
        yield System(
            name,
            server.instance.ports.inference,
            "/predictions/model",
            psutil.Process(server.process.pid),
            time.perf_counter() - start,
            read_tokens(server.key_file).inference,
        )


@contextmanager
def peer(name: str, bundle: Path) -> Iterator[System]:
    """One of `peers.PEERS`.

    Raises:
        ServerError: it does not come up.
    """
    assert name in PEERS
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    start = time.perf_counter()
    command = [sys.executable, "-m", "serve.benchmark.peers", name, str(bundle), str(port)]
    command.append(str(STANDARD.workers))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        try:
            while not _listens(port):
                if running.poll() is not None or time.perf_counter() > start + START:
                    raise ServerError(f"{name} did not start; what it said is above")
                time.sleep(0.05)
            ready = time.perf_counter() - start
            yield System(name, port, PATH, psutil.Process(running.pid), ready)
        finally:
            _end(running)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _end(running: subprocess.Popen[bytes]) -> None:
    try:
        processes = psutil.Process(running.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        processes = []
    running.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(5)
    running.kill()
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
