"""A TorchServe's own folder: configuration, logging, metrics, model store, temporary files.

Everything that TorchServe writes goes in here, so that removing the folder leaves nothing behind,
and two TorchServes on one machine do not meet.
"""

import os
import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import yaml

from serve.archive import JAVA_INT
from serve.metrics import metrics_yaml
from serve.owned_folder import make_folder, owned_folders, remove_abandoned
from serve.tokens import KEY_FILE

# A socket's path has 107 bytes at most: this leaves room for /PREFIX-PID-RANDOM/t/.ts.sock.NUMBER
_LONGEST_BASE = 48
_MANAGEMENT = re.compile(r"^management_address=http://127\.0\.0\.1:(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Ports:
    """All on the loopback interface. TorchServe opens the two of gRPC whether wanted or not."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int


def free_ports(
    inference: int | None = None, management: int | None = None, metrics: int | None = None
) -> Ports:
    """The ports asked for, where they are free, and others that are.

    Raises:
        ValueError: one that was asked for is taken, or asked for twice.
    """
    asked = {"--port": inference, "--management-port": management, "--metrics-port": metrics}
    owners: dict[int, str] = {}
    for flag, port in asked.items():
        if port and owners.setdefault(port, flag) != flag:
            raise ValueError(f"{flag}: got {port}, which is {owners[port]} too; give another port")
    held: list[socket.socket] = []
    try:
        for flag, port in asked.items():
            held.append(_hold(flag, port))
        held += [_hold("gRPC", None) for _ in range(2)]
        return Ports(*(each.getsockname()[1] for each in held))
    finally:
        for each in held:
            each.close()


def _hold(flag: str, port: int | None) -> socket.socket:
    holder = socket.socket()
    try:
        # What TorchServe does too: a port whose last owner has just gone is free.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port or 0))
        holder.listen()  # without it, two with that option may hold one port
    except (OSError, OverflowError) as error:
        holder.close()
        reason = "no port" if isinstance(error, OverflowError) else os.strerror(error.errno or 0)
        raise ValueError(
            f"{flag}: 127.0.0.1:{port} cannot be had ({reason.lower()}); stop what holds it, or "
            "give another port"
        ) from error
    return holder


@dataclass(frozen=True)
class Instance:
    """The folder's places. `lock` says that we live, to those who look for abandoned folders."""

    folder: Path
    logs: Path
    ports: Ports
    lock: BinaryIO

    @property
    def store(self) -> Path:
        """Where the archives lie."""
        return self.folder / "store"

    @property
    def temporary(self) -> Path:
        """TMPDIR; short, because worker sockets lie in it and a socket's path has 107 bytes."""
        return self.folder / "t"

    @property
    def path(self) -> Path:
        """The first place where workers look for modules."""
        return self.folder / "path"

    @property
    def key_file(self) -> Path:
        """The tokens."""
        return self.folder / KEY_FILE

    @property
    def config_file(self) -> Path:
        """TorchServe's configuration."""
        return self.folder / "config.properties"

    def remove(self) -> None:
        """Removes the folder; logs that were asked to be elsewhere stay."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


def make_instance(ports: Ports, logs: Path | None = None) -> Instance:
    """A new folder, readable by its owner alone; first, those that killed processes left are
    removed.

    Raises:
        ValueError: TMPDIR is too long a name, or a strange one; nothing can be written to `logs`.
    """
    remove_abandoned()
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > _LONGEST_BASE:
        raise ValueError(
            f"TMPDIR: {base} is too long for the workers' sockets; set one of at most "
            f"{_LONGEST_BASE} bytes, such as /tmp"
        )
    if not str(base).isascii() or "\\" in str(base):
        raise ValueError(
            f"TMPDIR: {base} has characters under which TorchServe finds no model; set one of "
            "plain letters, such as /tmp"
        )
    if logs is not None:
        logs = _writable(logs)
    folder, lock = make_folder()
    instance = Instance(folder, logs or folder / "logs", ports, lock)
    try:
        for made in (instance.store, instance.temporary, instance.path):
            made.mkdir()
        instance.logs.mkdir(exist_ok=True)
    except BaseException:
        instance.remove()
        raise
    return instance


def _writable(logs: Path) -> Path:
    """The folder, made where it is not there, in full: TorchServe runs in a folder of its own."""
    try:
        logs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=logs):
            return logs.resolve()
    except OSError as error:
        raise ValueError(
            f"--logs: {logs} cannot be written to as a folder ({os.strerror(error.errno or 0)}); "
            "give another"
        ) from error


def running_instances() -> list[tuple[Path, int]]:
    """Folder and management port of each that runs here and that this user may read."""
    found = []
    for folder, alive in owned_folders():
        if not alive:
            continue
        try:
            config = (folder / "config.properties").read_text(encoding="utf-8")
        except OSError:  # not written yet, or removed meanwhile
            continue
        match = _MANAGEMENT.search(config)
        if match:
            found.append((folder, int(match[1])))
    return found


def write_configuration(
    instance: Instance,
    archives: list[Path],
    *,
    body_bytes: int,
    token_minutes: float,
    workers: int,
) -> None:
    """Writes `config.properties`, `log4j2.xml` and `metrics.yaml`; `workers` are of archives that
    do not say how many."""
    ports = instance.ports
    metrics = instance.folder / "metrics.yaml"
    metrics.write_text(yaml.safe_dump(_metrics(), sort_keys=False), encoding="utf-8")
    (instance.folder / "log4j2.xml").write_text(LOGGING, encoding="utf-8")
    properties = {
        "inference_address": f"http://127.0.0.1:{ports.inference}",
        "management_address": f"http://127.0.0.1:{ports.management}",
        "metrics_address": f"http://127.0.0.1:{ports.metrics}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": ports.grpc_inference,
        "grpc_management_port": ports.grpc_management,
        "model_store": instance.store,
        "load_models": ",".join(each.name for each in archives),
        "allowed_urls": "^$",  # nothing is fetched, workflows included
        "enable_model_api": "false",
        "disable_token_authorization": "false",
        "token_expiration_min": token_minutes,
        # Above the handler's own limit, whose error says more than the front end's.
        "max_request_size": min(2 * body_bytes, JAVA_INT),
        "decode_input_request": "false",  # the handler says what is wrong with a body
        "default_workers_per_model": workers,
        "number_of_gpu": 0,
        "number_of_netty_threads": 1,
        "netty_client_threads": 1,
        "metrics_mode": "prometheus",
        "metrics_config": metrics,
        "disable_system_metrics": "true",  # a process a minute, for what a node's exporter knows
    }
    lines = [f"{name}={value}" for name, value in properties.items()]
    instance.config_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _metrics() -> dict[str, object]:
    model = ["model_name", "model_version", "hostname"]
    host = ["Level", "Hostname"]
    counters = [
        {"name": f"Requests{kind}XX", "unit": "Count", "dimensions": host} for kind in (2, 4, 5)
    ]
    counters += [
        {"name": name, "unit": unit, "dimensions": model}
        for name, unit in (
            ("ts_inference_requests_total", "Count"),
            ("ts_inference_latency_microseconds", "Microseconds"),
            ("ts_queue_latency_microseconds", "Microseconds"),
        )
    ]
    worker_time = {
        "name": "PredictionTime",
        "unit": "ms",
        "dimensions": ["ModelName", "Level"],
    }
    return {
        "dimensions": [],
        "ts_metrics": {"counter": counters},
        "model_metrics": {"gauge": [worker_time], **metrics_yaml()},
    }


# Warnings of the front end, and what workers print (they print no request): bounded on disk. No
# access log: it has the addresses of clients, and query strings. Nothing of the package that reads
# requests: its exceptions quote them (a form with a bad escape).
LOGGING = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="off">
  <Appenders>
    <RollingFile name="server" fileName="${env:LOG_LOCATION}/server.log"
                 filePattern="${env:LOG_LOCATION}/server.%i.log">
      <PatternLayout pattern="%d{ISO8601} %-5p %t %c{1} - %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
    <RollingFile name="worker" fileName="${env:LOG_LOCATION}/worker.log"
                 filePattern="${env:LOG_LOCATION}/worker.%i.log">
      <PatternLayout pattern="%d{ISO8601} %t - %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="10 MB"/></Policies>
      <DefaultRolloverStrategy max="3"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="info" additivity="false"><AppenderRef ref="worker"/></Logger>
    <Logger name="ACCESS_LOG" level="off"/>
    <Logger name="org.pytorch.serve.http" level="off"/>
    <Logger name="MODEL_METRICS" level="off"/>
    <Logger name="TS_METRICS" level="off"/>
    <Root level="warn"><AppenderRef ref="server"/></Root>
  </Loggers>
</Configuration>
"""
