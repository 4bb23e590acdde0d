"""A server's own folder and ports, and what is refused before anything starts."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serve.instance import PREFIX, free_ports, make_instance, running_instances, write_configuration
from serve.requests import Limits
from serve.server import Model, Server, ServerConfig, ServerError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, short enough for sockets."""
    monkeypatch.setattr("serve.instance._LONGEST_BASE", 200)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_a_killed_servers_folder_is_removed_and_a_living_ones_kept(temporary: Path) -> None:
    stale = temporary / f"{PREFIX}-{dead_process()}-abc"
    living = temporary / f"{PREFIX}-{os.getpid()}-abc"
    other = temporary / f"{PREFIX}-notes-abc"
    for folder in (stale, living, other):
        folder.mkdir()
    instance = make_instance(free_ports())
    assert not stale.exists() and living.exists() and other.exists()
    assert instance.folder.stat().st_mode & 0o077 == 0  # tokens lie in it
    instance.remove()
    assert not instance.folder.exists()


def test_the_configuration_closes_every_door_but_the_asked_for(temporary: Path) -> None:
    instance = make_instance(free_ports())
    limits = Limits(body_bytes=1000)
    write_configuration(instance, [Path("store/a.mar"), Path("store/b.mar")], limits, 60)
    lines = instance.config_file.read_text().splitlines()
    config = dict(line.split("=", 1) for line in lines)
    assert config["load_models"] == "a.mar,b.mar"
    assert config["allowed_urls"] == "^$"
    assert config["enable_model_api"] == config["disable_token_authorization"] == "false"
    assert config["max_request_size"] == "2000"
    addresses = [value for name, value in config.items() if name.endswith("address")]
    assert len(addresses) == 5 and all("127.0.0.1" in each for each in addresses)
    assert running_instances() == [(instance.folder, instance.ports.management)]
    instance.remove()


@pytest.mark.parametrize("port", [-1, 70_000])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"--port: 127.0.0.1:{port}"):
        free_ports(port)


def test_a_port_asked_for_twice_is_refused() -> None:
    port = free_ports().inference
    with pytest.raises(ValueError, match=f"--metrics-port: 127.0.0.1:{port}"):
        free_ports(port, metrics=port)


def test_too_little_memory_is_told_before_anything_starts(
    bundle: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = SimpleNamespace(available=100 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with (
        pytest.raises(ServerError, match="too little memory: 100 MB are free"),
        Server([Model(bundle, "tiny")], ServerConfig()),
    ):
        pass
    assert list(temporary.glob(f"{PREFIX}-*")) == []


@pytest.mark.parametrize("names", [[], [("a", "1.0"), ("a", "1.0")]])
def test_models_must_be_given_and_differ(bundle: Path, names: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"nothing to serve|given twice"):
        Server([Model(bundle, name, version) for name, version in names])
