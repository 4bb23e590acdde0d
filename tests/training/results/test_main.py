"""The command as its user types it."""

import subprocess
import sys

import pytest

from training.results.__main__ import main


def test_the_command_prints_the_table_and_the_paths(write_run, tmp_path):
    folder = write_run("1", accuracy=0.9)
    done = subprocess.run(
        [sys.executable, "-m", "training.results", str(folder), "--output", str(tmp_path / "out")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "90.00%" in done.stdout and "1-gru" in done.stdout
    for name in ("learning_curves.png", "accuracy_and_cost.png", "results.md", "results.json"):
        assert (tmp_path / "out" / name).is_file()
        assert str(tmp_path / "out" / name) in done.stdout


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_wrong_folder_is_one_line_and_status_two(tmp_path, folder, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / folder), "--output", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {tmp_path / folder}: ")
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(write_run, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert main([str(write_run("1")), "--output", str(tmp_path / "out")]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "python -m training.results runs/* --output docs" in capsys.readouterr().out
