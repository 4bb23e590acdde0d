"""The Accelerate configurations that come with the project, each really launched, on CPU."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """Without GPUs, so that the tests ask the same of every machine."""
    return environment | {"CUDA_VISIBLE_DEVICES": ""}


def _launch(config: str, *flags: str) -> list[str]:
    import sys

    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ROOT / config),
            *flags, "-m", "training"]  # fmt: skip


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr


def _result(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


@pytest.fixture
def alone(tmp_path: Path, train) -> Path:
    """The same run in one process: float32, no dropout, so that only the order of sums differs."""
    run = tmp_path / "alone"
    train(run, "model.arguments.dropout=0.0", "train.epochs=1", data="embedded:333")
    return run


def _assert_equal_runs(one: Path, other: Path) -> None:
    a, b = load_file(one / "best/model.safetensors"), load_file(other / "best/model.safetensors")
    for name in a:
        # AdamW divides by the gradient's own size, so float32 rounding is carried over 10 steps
        assert abs(a[name] - b[name]).max() < 2e-4, name
    assert _result(one)["validation"]["n"] == _result(other)["validation"]["n"]
    for name, test in _result(one)["tests"].items():
        assert _result(other)["tests"][name]["n"] == test["n"]
        assert _result(other)["tests"][name]["loss"]["value"] == pytest.approx(
            test["loss"]["value"], abs=1e-3
        )


def test_the_default_configuration_trains_as_the_plain_command_does(
    tmp_path, alone, small, environment
) -> None:
    run = tmp_path / "run"
    arguments = small(run, "model.arguments.dropout=0.0", "train.epochs=1", data="embedded:333")
    _run([*_launch("accelerate_config.yaml"), *arguments], environment)
    _assert_equal_runs(alone, run)


def test_two_cpu_processes_give_the_model_that_one_gives(
    tmp_path, alone, small, environment
) -> None:
    """300 reviews in batches of 32: the last one is short, and odd shares occur."""
    run = tmp_path / "run"
    arguments = small(run, "model.arguments.dropout=0.0", "train.epochs=1", data="embedded:333")
    flags = ("--main_process_port", _free_port())
    _run([*_launch("accelerate_configs/cpu_two_processes.yaml", *flags), *arguments], environment)
    assert _result(run)["machine"]["processes"] == 2
    _assert_equal_runs(alone, run)


def test_a_mistake_in_two_processes_is_what_the_launcher_ends_with(
    tmp_path, small, environment
) -> None:
    flags = ("--main_process_port", _free_port())
    command = _launch("accelerate_configs/cpu_two_processes.yaml", *flags)
    arguments = small(tmp_path / "run", data=str(tmp_path / "none.csv"))
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment, timeout=300
    )
    summary = done.stderr.split("Root Cause")[1]
    assert done.returncode != 0 and f"{tmp_path / 'none.csv'}: no such file" in summary


def test_two_processes_that_are_killed_and_launched_again_give_the_same_model(
    tmp_path, alone, small, environment
) -> None:
    run = tmp_path / "run"
    arguments = small(run, "model.arguments.dropout=0.0", "train.epochs=1", data="embedded:333")

    def command() -> list[str]:
        flags = ("--main_process_port", _free_port())
        return [*_launch("accelerate_configs/cpu_two_processes.yaml", *flags), *arguments]

    killed = subprocess.Popen(
        command(), env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while not list(run.glob("state/step-*")):
        assert killed.poll() is None, "it ended before it saved a state"
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(timeout=60)
    assert not (run / "result.json").exists()
    _run(command(), environment)
    assert _result(run)["training"]["steps"] == 10
    _assert_equal_runs(alone, run)


def test_two_nodes_that_share_no_folder_give_the_model_that_one_process_gives(
    tmp_path, alone, small, environment
) -> None:
    port, nodes = _free_port(), []
    for rank in (0, 1):
        machine = tmp_path / f"machine{rank}"
        machine.mkdir()
        arguments = small(machine / "run", "model.arguments.dropout=0.0", "train.epochs=1",
                          data="embedded:333")  # fmt: skip
        flags = ("--machine_rank", str(rank), "--main_process_ip", "127.0.0.1",
                 "--main_process_port", port, "--mixed_precision", "no")  # fmt: skip
        command = [*_launch("accelerate_configs/two_nodes.yaml", *flags), *arguments]
        nodes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for node in nodes:
        _, errors = node.communicate(timeout=300)
        assert node.returncode == 0, errors
    assert _result(tmp_path / "machine0/run")["machine"]["processes"] == 2
    _assert_equal_runs(alone, tmp_path / "machine0/run")


def test_the_multi_gpu_configuration_trains_in_bf16(tmp_path, small, environment) -> None:
    """Its processes run on CPU here; the precision is the file's own."""
    run = tmp_path / "run"
    flags = ("--main_process_port", _free_port())
    arguments = small(run, "train.epochs=1")
    _run([*_launch("accelerate_configs/multi_gpu_bf16.yaml", *flags), *arguments], environment)
    assert _result(run)["training"]["mixed_precision"] == "bf16"
    assert _result(run)["machine"]["processes"] == 2
