"""A run's folder is taken back whenever its run was killed, and nobody else's is touched."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from models import files
from training.config import load_experiment
from training.folder import begin_folder, begin_run, check_folder, check_run
from training.mlm.config import as_dict, differences, masked_config


class Killed(BaseException):
    """Stands for `kill -9`."""


def _prepare(task: str, output: Path, restart: bool) -> None:
    """What a run does with its folder before the first step."""
    if task == "mlm":
        config = masked_config([])
        check_folder(output, restart, lambda stored: differences(stored, config))
        begin_folder(output, restart, yaml.safe_dump(as_dict(config)), {"command": sys.orig_argv})
    else:
        check_run(load_experiment("demo"), output, restart)
        begin_run(load_experiment("demo"), output, restart)


def _kill_at(nth: int, task: str, output: Path) -> None:
    """End at the nth file that the run makes sure is on the disk, and clean nothing up."""
    left = iter(range(nth - 1, -1, -1))

    def fsync(_: int) -> None:
        if next(left) == 0:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "fsync", fsync)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        _prepare(task, output, False)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("task", ["classification", "mlm"])
def test_a_run_killed_in_its_first_moments_starts_again(
    task: str, nth: int, restart: bool, tmp_path: Path
) -> None:
    _kill_at(nth, task, tmp_path / "run")
    assert any(".partial-" in path.name for path in (tmp_path / "run").iterdir())
    _prepare(task, tmp_path / "run", restart)
    assert {"config.yaml", "environment.json"} <= {p.name for p in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("task", ["classification", "mlm"])
def test_a_folder_of_something_else_is_refused_and_kept(task: str, tmp_path: Path) -> None:
    for name in ("thesis.tex", ".thesis.tex.partial", ".partial-7"):
        output = tmp_path / name.strip(".")
        files.write_whole(output / name, "years of work")
        for restart in (False, True):
            with pytest.raises(ValueError, match="is not empty and not a run"):
                _prepare(task, output, restart)
        assert os.listdir(output) == [name]
    with pytest.raises(ValueError, match="is not empty and not a run"):
        _prepare(task, output / name, False)


def test_the_record_of_a_run_does_not_say_where_the_interpreter_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["-m", "training", "--set", "data.max_length=9", "--output", "x"]
    monkeypatch.setattr(sys, "orig_argv", ["/home/me/.venv/bin/python3.11", *words])
    _prepare("classification", tmp_path / "run", False)
    record = (tmp_path / "run" / "environment.json").read_text()
    assert json.loads(record)["command"] == ["python", *words]
    assert "/home/me" not in record
