"""A TorchServe over some bundles: started, waited for, watched, drained and cleaned up after."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from serve import buffered_socket, lazy_torch
from serve.archive import write_archive
from serve.drain import drain, wait_until_alone
from serve.failure import Logs
from serve.instance import Instance, free_ports, make_instance, write_configuration
from serve.java import Java, find_java
from serve.management import READY, Management
from serve.nginx_token import NginxToken, prepare_token_file
from serve.processes import die_with_parent, end_process
from serve.served_model import Model, check_distinct
from serve.server_config import ServerConfig
from serve.tokens import read_tokens

JAVA_HEAP_MB = 160
# Heap and what a JVM needs besides; a worker with its engine, with torch or not, without a model.
JAVA_MB, WORKER_MB, LEAN_WORKER_MB = 260, 300, 120
_POLL = 0.1


class ServerError(Exception):
    """The server did not start, or ended by itself: one line says why."""


class Server:
    """A context manager: ready once entered, drained and gone once left.

    Raises:
        ServerError: on entering, the server does not come up; nothing is left behind.
        ValueError, FileNotFoundError: no Java, a port taken, a bundle or an archive that cannot be
            served.
    """

    def __init__(self, models: Sequence[Model], config: ServerConfig | None = None) -> None:
        self.models = [model.checked() for model in models]
        self.config = config or ServerConfig()
        self.instance: Instance
        self.process: subprocess.Popen[bytes]
        self.logs: Logs
        self._nginx_token: NginxToken | None = None
        check_distinct(self.models)

    @property
    def url(self) -> str:
        """Of the inference door."""
        return f"http://127.0.0.1:{self.instance.ports.inference}"

    @property
    def key_file(self) -> Path:
        """The file with the tokens."""
        return self.instance.key_file

    def __enter__(self) -> Self:
        java, config = find_java(), self.config
        if config.nginx_token_file is not None:
            prepare_token_file(config.nginx_token_file)
        self.instance = make_instance(
            free_ports(config.port, config.management_port, config.metrics_port), config.logs
        )
        try:
            archives = [self._archive(model) for model in self.models]
            worker_mb = LEAN_WORKER_MB if self._is_onnx_alone() else WORKER_MB
            _check_memory(archives, [self._workers(model) for model in self.models], worker_mb)
            write_configuration(
                self.instance,
                archives,
                body_bytes=self._body_bytes(),
                token_minutes=config.token_minutes,
                workers=config.serving.workers,
            )
            self._start(java)
            self._wait_until_ready()
            if config.nginx_token_file is not None:
                self._nginx_token = NginxToken(
                    config.nginx_token_file, self._management(), config.token_minutes
                )
                self._nginx_token.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def alive(self) -> bool:
        """Whether the front end runs."""
        return self.process.poll() is None

    def ready(self) -> bool:
        """Whether every worker of every model is ready."""
        return self._unready() is None

    def worker_pids(self) -> list[int]:
        """The workers' processes."""
        return [
            worker.pid
            for model in self.models
            for worker in self._management().workers(model.name, model.version)
            if worker.pid > 0
        ]

    def stop(self) -> bool:
        """Takes no more requests, answers those taken, ends; whether all were answered in time."""
        answered = True
        if self.alive():
            place = self.process.pid, self.instance.ports.inference, self.config.drain_timeout
            try:
                answered = drain(*place)
            except (OSError, AttributeError) as error:  # AttributeError: no pidfd on this system
                print(
                    f"cannot refuse new requests here ({error}): waiting up to "
                    f"{self.config.drain_timeout:.0f} s until the clients have gone",
                    file=sys.stderr,
                )
                answered = sys.platform == "linux" and wait_until_alone(*place)
        self._end()
        return answered

    def _management(self) -> Management:
        return Management(self.instance.ports.management, self.key_file)

    def _unready(self) -> str | None:
        """The first model with a worker that is not ready, and what it has instead."""
        management = self._management()
        for model in self.models:
            name, wanted = f"{model.name} {model.version}", self._workers(model)
            try:
                states = [each.state for each in management.workers(model.name, model.version)]
            except (OSError, ValueError) as error:
                return f"{name} is not known yet ({type(error).__name__})"
            if len(states) < wanted or set(states) != {READY}:
                return f"{name} has workers {', '.join(states) or 'none'}, wanted are {wanted}"
        return None

    def _workers(self, model: Model) -> int:
        return int(model.packed.get("workers", self.config.serving.workers))

    def _body_bytes(self) -> int:
        """The most that a model takes in a request: the front end is the same for all."""
        standard = self.config.serving.limits.body_bytes
        return max(int(model.packed.get("max_body_bytes", standard)) for model in self.models)

    def _archive(self, model: Model) -> Path:
        if model.is_archive:  # whose names were not checked: they make no path
            target = self.instance.store / f"ready-made-{self.models.index(model)}.mar"
            shutil.copyfile(model.source, target)
            return target
        target = self.instance.store / f"{model.name}-{model.version}.mar"
        return write_archive(
            model.source,
            target,
            name=model.name,
            version=model.version,
            backend=self.config.backend,
            config=self.config.serving,
        )

    def _start(self, java: Java) -> None:
        site = Path(str(distribution("torchserve").locate_file("")))
        instance = self.instance
        command = [
            str(java.program),
            f"-Dmodel_server_home={site}",
            f"-Djava.io.tmpdir={instance.temporary}",
            f"-Dlog4j.configurationFile={instance.folder / 'log4j2.xml'}",
            # Two of its threads work at a time: a parallel collector's would only take the cores.
            "-XX:+UseSerialGC",
            f"-Xmx{JAVA_HEAP_MB}m",
            "-XX:MaxDirectMemorySize=64m",
            "-XX:+ExitOnOutOfMemoryError",
            *(["-XX:TieredStopAtLevel=1"] if self.config.fast_start else []),
            *java.allowances,
            "-cp",
            str(site / "ts" / "frontend" / "*"),
            "org.pytorch.serve.ModelServer",
            "--python",
            str(self.config.python),
            "-f",
            str(instance.config_file),
            "-ncs",  # no snapshots of the configuration
        ]
        with (instance.logs / "java.log").open("wb") as output:
            self.logs = Logs(instance.logs)
            self.process = subprocess.Popen(
                command,
                cwd=instance.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A terminal's Ctrl+C is for us, who drain first.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def _environment(self) -> dict[str, str]:
        """Ours, without what would lead TorchServe or its workers elsewhere."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "TS_CONFIG_FILE", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
        }
        temporary = str(self.instance.temporary)
        if self._is_onnx_alone():
            shutil.copyfile(lazy_torch.__file__, self.instance.path / "sitecustomize.py")
        return kept | {
            "PYTHONPATH": str(self.instance.path),
            "TMPDIR": temporary,
            "TEMP": temporary,
            "LOG_LOCATION": str(self.instance.logs),
            "METRICS_LOCATION": str(self.instance.logs),
            "OMP_NUM_THREADS": str(self.config.serving.threads),
            "TOKENIZERS_PARALLELISM": "false",  # a batch is small, the cores are the workers'
            "PYTHONDONTWRITEBYTECODE": "1",
            buffered_socket.SWITCH: "1" if self.config.buffered_socket else "0",
        }

    def _is_onnx_alone(self) -> bool:
        """Whether no worker can need torch; what is in a ready-made archive is not known."""
        packed = any(model.is_archive for model in self.models)
        return self.config.backend.startswith("onnx") and not packed

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.config.start_timeout
        while not self.key_file.exists() or not self.ready():
            reason = self.logs.explain_failure(self.process.poll())
            if reason:
                raise ServerError(reason)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"not ready after {self.config.start_timeout:g} s: {self._unready()}; the "
                    f"log ends with {self.logs.last_line()!r}; keep the logs by --logs, or "
                    "give a longer --start-timeout"
                )
            time.sleep(_POLL)
        read_tokens(self.key_file)

    def _end(self) -> None:
        if self._nginx_token is not None:
            self._nginx_token.stop()
        if hasattr(self, "process"):
            end_process(self.process)
        self.instance.remove()


def _check_memory(archives: list[Path], workers: list[int], worker_mb: int) -> None:
    """Refuses to start what would be killed; artefacts count twice: as read, and as prepared."""
    wanted = float(JAVA_MB)
    for path, count in zip(archives, workers, strict=True):
        wanted += count * (worker_mb + 2 * path.stat().st_size / 2**20)
    available = psutil.virtual_memory().available / 2**20
    if available < wanted:
        raise ServerError(
            f"too little memory: {available:.0f} MB are free, {len(archives)} model(s) with "
            f"{sum(workers)} worker(s) together need about {wanted:.0f} MB; serve fewer, or free "
            "some"
        )
