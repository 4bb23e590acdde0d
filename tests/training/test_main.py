"""`python -m training`: what a newcomer sees, and what a mistake gives."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import __main__ as command
from training import run as run_module


def _main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = command.main(list(arguments))
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_and_list_need_no_torch() -> None:
    """They answer at once: importing torch takes seconds."""
    code = ("import sys\nfrom training.__main__ import main\nmain(['--list'])\n"
            "assert 'torch' not in sys.modules, 'torch was imported'\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1-gru-reference" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "demo"], "--output DIR are needed"),
        (["--experiment", "dmeo", "--output", "x"], "did you mean demo"),
        (["--experiment", "demo", "--output", "x", "--set", "train.epoch=1"], "train.epochs"),
        (["--experiment", "demo", "--output", "x", "--data", "nowhere.csv"], "nowhere.csv"),
        (["--experiment", "demo", "--output", "x", "--set", "model.architecture=lstm"], "lstm"),
        (["--experiment", "demo", "--output", "x", "--set", "train.tracker=tensorbord"],
         "known are none"),
        (["--experiment", "demo", "--output", "x", "--set", "train.mixed_precision=fp16"],
         "needs a GPU"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_status_2(
    arguments, message, capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if "model.architecture=lstm" in arguments:
        arguments = [*arguments, "--data", "embedded:40"]
        arguments += ["--set", f"data.cache_dir={tmp_path}", "data.vocabulary_size=300"]
    status, _, errors = _main(capsys, *arguments)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    status, _, errors = _main(capsys, "--experiment", "demo", "--output", str(tmp_path),
                              "--restart")  # fmt: skip
    assert status == 2 and "not a run" in errors
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_setting_to_change(
    error: Exception, tmp_path: Path, capsys, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(run_module, "run", fail)
    status, _, errors = _main(capsys, "--experiment", "demo", "--output", str(tmp_path / "x"))
    assert status == 1
    assert "train.micro_batch_size=16 (now 64)" in errors  # of batches of 32


def test_another_runtime_error_is_not_taken_for_it(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(run_module, "run", fail)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        command.main(["--experiment", "demo", "--output", str(tmp_path / "x")])


def test_processes_that_do_not_know_of_one_another_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(run_module, "Accelerator", lambda **_: type("A", (), {
        "num_processes": 1, "log_with": ["x"], "mixed_precision": "no"})())  # fmt: skip
    config = command.load_experiment("demo")
    with pytest.raises(ValueError, match=r"WORLD_SIZE=2, but Accelerate found 1"):
        run_module.make_accelerator(config, tmp_path)


def test_show_prints_settings_that_can_be_given_back(tmp_path: Path, capsys) -> None:
    status, shown, _ = _main(capsys, "--experiment", "1-gru", "--output", "x", "--show",
                             "--data", "a.csv", "--set", "train.epochs=7")  # fmt: skip
    assert status == 0
    path = tmp_path / "again.yaml"
    path.write_text(shown)
    again = command.load_experiment(str(path))
    assert (again.train.epochs, again.data.sources) == (7, ["a.csv"])


def test_a_distilled_experiment_without_a_teacher_says_which_flag(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    status, _, error = _main(capsys, "--experiment", "1-gru-distilled", "--data", "embedded:200",
                             "--output", str(run))  # fmt: skip
    assert status == 2
    assert "distill.teacher=FOLDER" in error and len(error.strip().splitlines()) == 1
    assert not run.exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.architecture=nope", "architecture: got 'nope'"),
        ("model.arguments.pooling=nope", "pooling"),
        ("model.arguments.hidden=8", "argument 'hidden' is not one of"),
        ("model.arguments.frozn=true", "argument 'frozn' is not one of bert's"),
        ("model.arguments.backbone=/no/encoder", "backbone: got '/no/encoder', which cannot be"),
    ],
)
def test_a_mistyped_model_is_told_before_any_review_is_read(
    setting: str, said: str, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(run_module, "load_data", lambda *_: pytest.fail("data was read"))
    experiment = "6-bert-finetuned" if "bert" in said or "backbone" in said else "demo"
    status, _, error = _main(capsys, "--experiment", experiment, "--output", str(tmp_path / "run"),
                             "--set", setting, "data.tokenizer=x")  # fmt: skip
    assert status == 2 and said in error and len(error.strip().splitlines()) <= 2
