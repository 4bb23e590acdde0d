"""`python -m training --task mlm`: learns, resumes to the same model, says what is wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from training.__main__ import main

SMALL = ["mlm.vocabulary_size=400", "mlm.hidden_size=16", "mlm.heads=2", "mlm.layers=1",
         "mlm.epochs=2", "mlm.max_length=24", "mlm.batch_size=32", "mlm.save_every=5",
         "mlm.log_every=2"]  # fmt: skip


def _command(output: Path, *more: str, data: str = "embedded:120") -> list[str]:
    return [sys.executable, "-m", "training", "--task", "mlm", "--data", data, "--output",
            str(output), *more, "--set", *SMALL]  # fmt: skip


def _steps(output: Path) -> list[int]:
    lines = (output / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "augmented"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = _run(_command(output, "--augment", "counterfactual"), environment)
    assert done.returncode == 0, done.stderr
    return output


def test_a_run_leaves_a_model_that_transformers_reads(finished: Path) -> None:
    model, report = AutoModelForMaskedLM.from_pretrained(
        finished / "model", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(finished / "model")
    encoded = tokenizer("The [MASK] works.", return_tensors="pt")
    assert tokenizer.mask_token_id in encoded.input_ids[0]
    with torch.no_grad():
        logits = model(**encoded).logits
    assert logits.shape[-1] == len(tokenizer) and logits.isfinite().all()
    assert {path.name for path in (finished / "model").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}  # fmt: skip


def test_it_learns_and_says_what_was_swapped(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["texts"] == 120 and 0 < result["texts_with_swaps"] < 120
    lines = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert result["validation"]["perplexity"] < result["vocabulary"]  # better than a guess
    assert result["steps"] == lines[-1]["step"]


def test_an_interrupted_run_ends_with_the_same_model_to_the_last_bit(
    finished: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "again"
    command = _command(output, "--augment", "counterfactual")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 200
        while not list(output.glob("state/step-*")) and time.monotonic() < until:
            if process.poll() is not None:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert list(output.glob("state/step-*")), "no state before the run ended"
    if (output / "result.json").is_file():
        pytest.skip("the run was over before it could be killed")
    done = _run(command, environment)
    assert done.returncode == 0, done.stderr
    assert "resuming after step" in done.stderr
    first, second = (load_file(p / "model" / "model.safetensors") for p in (finished, output))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert _steps(output) == _steps(finished)


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(_command(finished, "--augment", "counterfactual")[3:]) == 0
    assert "already finished" in capsys.readouterr().err
    assert (finished / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert main(_command(finished)[3:]) == 2
    error = capsys.readouterr().err
    assert "augment: 'counterfactual' -> 'none'" in error and error.count("\n") == 1


def test_a_run_refused_for_its_data_leaves_the_settings_free(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert main(_command(output, data=str(tmp_path / "none.txt"))[3:]) == 2
    assert "no such file" in capsys.readouterr().err
    assert not output.exists()
    assert main(_command(output, "--augment", "counterfactual", data="embedded:40")[3:]) == 0


def test_restarting_with_a_mistake_loses_nothing(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([*_command(run, data=str(tmp_path / "none.txt"))[3:], "--restart"]) == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_state_is_not_gone_on_with_on_other_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "texts.txt", tmp_path / "run"
    lines = [f"the machine {word} works well on day {k}" for k in range(30) for word in "abcdef"]
    source.write_text("\n".join(lines))
    given = _command(output, data=str(source))[3:]
    assert main(given) == 0
    (output / "result.json").unlink()  # as if it had been killed after its last state
    saved = {path: path.read_bytes() for path in output.rglob("*.*") if path.is_file()}
    source.write_text("\n".join([*lines[:-1], "the machine f works badly on day 29"]))
    capsys.readouterr()
    assert main(given) == 2
    assert "the data changed since the state was saved (texts" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in saved} == saved
    source.write_text("\n".join(lines))
    assert main(given) == 0 and "resuming after step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "mlm"], "--output DIR is needed"),
        (["--task", "mlm", "--experiment", "demo", "--output", "x"], "belong to --task classif"),
        (["--augment", "counterfactual", "--experiment", "demo", "--output", "x"], "belong to --t"),
        (["--task", "mlm", "--output", "x", "--data", "none.txt"], "no such file or folder"),
    ],
)
def test_mistakes_are_said_and_exit_with_2(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as exit_:  # argparse's own
        status = exit_.code
    assert status == 2 and message in capsys.readouterr().err
