"""A server's own folder and ports, and what is refused before anything starts."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from serve.instance import free_ports, make_instance, running_instances, write_configuration
from serve.owned_folder import LOCK, PREFIX, remove_abandoned
from serve.served_model import Model
from serve.server import Server, ServerError
from serve.server_config import ServerConfig


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, short enough for sockets."""
    monkeypatch.setattr("serve.instance._LONGEST_BASE", 200)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


OWNER = """
import os, subprocess, time
os.getpid = lambda: {number}  # as in a container, where it is always the same
from serve import instance
instance._LONGEST_BASE = 200
made = instance.make_instance(instance.free_ports())
made.config_file.write_text("management_address=http://127.0.0.1:7\\n")
child = subprocess.Popen(["sleep", "600"])
print(made.folder, child.pid, flush=True)
time.sleep(600)
"""


def test_java_compiles_lightly_where_a_fast_start_is_asked_for(bundle: Path) -> None:
    with Server([Model(bundle, "tiny")], ServerConfig(fast_start=True)) as server:
        command = psutil.Process(server.process.pid).cmdline()
        assert "-XX:TieredStopAtLevel=1" in command
        assert server.ready()


def test_a_killed_owners_folder_is_removed_though_its_number_lives_again(temporary: Path) -> None:
    other = temporary / f"{PREFIX}-notes-abc"
    other.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(number=os.getpid())],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        name, child = owner.stdout.readline().split()
        folder = Path(name)
        assert folder.name.startswith(f"{PREFIX}-{os.getpid()}-")
        remove_abandoned()
        assert running_instances() == [(folder, 7)]
        owner.kill()
        owner.wait()
    try:
        assert folder.exists() and running_instances() == []
        instance = make_instance(free_ports())  # though a process that the owner started lives on
    finally:
        os.kill(int(child), 9)
    assert not folder.exists() and other.exists()
    instance.remove()


def test_a_folder_is_its_owners_alone_and_goes_with_it(temporary: Path) -> None:
    instance = make_instance(free_ports())
    assert instance.folder.stat().st_mode & 0o077 == 0  # tokens lie in it
    remove_abandoned()
    assert (instance.folder / LOCK).exists()
    instance.remove()
    instance.remove()  # as where it was stopped before the block's end
    assert list(temporary.iterdir()) == []


def test_what_was_killed_before_it_had_a_name_is_removed_later(temporary: Path) -> None:
    young, old = (temporary / f".{PREFIX}-{name}" for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    remove_abandoned()
    assert young.exists() and not old.exists()


def test_the_configuration_closes_every_door_but_the_asked_for(temporary: Path) -> None:
    instance = make_instance(free_ports())
    archives = [Path("store/a.mar"), Path("store/b.mar")]
    write_configuration(instance, archives, body_bytes=1000, token_minutes=60, workers=3)
    lines = instance.config_file.read_text().splitlines()
    config = dict(line.split("=", 1) for line in lines)
    assert config["load_models"] == "a.mar,b.mar"
    assert config["allowed_urls"] == "^$"
    assert config["enable_model_api"] == config["disable_token_authorization"] == "false"
    assert config["max_request_size"] == "2000"
    assert config["default_workers_per_model"] == "3"
    addresses = [value for name, value in config.items() if name.endswith("address")]
    assert len(addresses) == 5 and all("127.0.0.1" in each for each in addresses)
    assert running_instances() == [(instance.folder, instance.ports.management)]
    instance.remove()


@pytest.mark.parametrize("where", ["file", "file/logs"])
def test_logs_that_cannot_be_written_are_refused_and_leave_nothing(
    bundle: Path, temporary: Path, where: str
) -> None:
    (temporary / "file").touch()
    config = ServerConfig(logs=temporary / where)
    with (
        pytest.raises(ValueError, match=r"--logs: .* cannot be written to as a folder"),
        Server([Model(bundle, "tiny")], config),
    ):
        pass
    assert [path.name for path in temporary.iterdir()] == ["file"]


def test_logs_lie_where_the_caller_says_and_not_below_torchserves_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(temporary)
    instance = make_instance(free_ports(), Path("some/logs"))
    assert instance.logs == temporary / "some" / "logs"
    instance.remove()
    assert instance.logs.is_dir()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("token_minutes", 0), ("token_minutes", float("nan")), ("token_minutes", 10**9),
     ("start_timeout", -1), ("start_timeout", 0), ("drain_timeout", float("nan"))],
)  # fmt: skip
def test_settings_that_would_let_nobody_in_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"--{setting.replace('_', '-')}: got {value}"):
        ServerConfig(**{setting: value})


@pytest.mark.parametrize("port", [-1, 70_000])
def test_what_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match=f"--port: 127.0.0.1:{port}"):
        free_ports(port)


def test_a_port_asked_for_twice_is_refused() -> None:
    port = free_ports().inference
    with pytest.raises(ValueError, match=f"--metrics-port: got {port}, which is --port too"):
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


@pytest.mark.parametrize("name", ["oü", "o\\d"])
def test_a_folder_under_which_torchserve_finds_no_model_is_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(temporary / name))
    with pytest.raises(ValueError, match=r"TMPDIR: .* finds no model"):
        make_instance(free_ports())
