"""A run that is killed and started again equals one that was never disturbed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim import AdamW

from models import bundle
from models.files import exclusive
from training.__main__ import main
from training.state import TrainState, load_state, save_state

TIMED = ("seconds", "reviews_per_second", "tokens_per_second", "memory_bytes")


def _history(run: Path) -> list[dict]:
    """Without what a clock or the memory allocator decides."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


def _tensorboard(run: Path) -> list[tuple[int, float]]:
    """Step and train loss, as TensorBoard shows them."""
    events = EventAccumulator(str(run / "tensorboard/text-classifier-audit")).Reload()
    return [(event.step, event.value) for event in events.Scalars("train/loss")]


def _wait_for_step(run: Path, step: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        history = run / "history.jsonl"
        if history.exists() and f'"step": {step},' in history.read_text():
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} never came: exit status {process.poll()}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed") / "run"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_started_again_equals_the_uninterrupted_one(
    number: signal.Signals, undisturbed: Path, tmp_path: Path, train, small, environment
) -> None:
    # dropout on, so that the random state counts; 3 micro-batches a step; killed within an epoch,
    # between two lines of the history, with states saved there too
    settings = ["train.micro_batch_size=11", "model.arguments.dropout=0.3", "train.save_every=4",
                "train.log_every=7", "train.evaluations_per_epoch=1",
                "train.tracker=tensorboard"]  # fmt: skip
    train(undisturbed, *settings)  # returns at once where the other parameter's test has run it
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", *small(run, *settings)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    _wait_for_step(run, 7, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert not (run / "result.json").exists()
    if number == signal.SIGTERM:
        assert process.returncode == 130 and "the same command resumes it" in errors
    time.sleep(1)  # TensorBoard reads files in the order of the second in their names
    # a worker process that builds the batches ahead of the step changes nothing either
    resumed = train(run, *settings, "train.loader_workers=1")
    assert "resuming after step" in resumed.stderr
    assert _history(run) == _history(undisturbed)
    assert _tensorboard(run) == _tensorboard(undisturbed)
    for name in ("best/model.safetensors", "predictions/validation.parquet"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_source_that_changed_under_a_saved_state_is_refused(
    tmp_path: Path, train, small, environment
) -> None:
    run, source = tmp_path / "run", tmp_path / "train.csv"
    rows = [f"{i % 2},review number {i} of many\n" for i in range(300)]
    source.write_text("label,content\n" + "".join(rows))
    command = [sys.executable, "-m", "training", *small(run, "train.epochs=9", data=str(source))]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    _wait_for_step(run, 6, process)
    process.kill()
    process.communicate(timeout=60)
    rows[7] = "1,quite another\n"  # with other words, of another vocabulary
    source.write_text("label,content\n" + "".join(rows))
    refused = train(run, "train.epochs=9", data=str(source), check=False)
    assert refused.returncode == 2
    assert "the data changed since the state was saved" in refused.stderr


@pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.safetensors"])
def test_a_damaged_state_is_named_with_the_way_out(tmp_path: Path, name: str) -> None:
    model = nn.Linear(2, 2)
    optimizer = AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_state(tmp_path, TrainState(step=7), model, optimizer)
    kept = model.weight.detach().clone()
    path = tmp_path / "step-00000007" / name
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(ValueError, match=rf"{name}: damaged .*--restart"):
        load_state(tmp_path, model, optimizer)
    assert torch.equal(model.weight, kept)


def test_two_do_not_train_into_one_folder(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with exclusive(run):
        refused = train(run, check=False)
    assert refused.returncode == 2 and "another process is writing there" in refused.stderr
    assert not list(run.iterdir())


def test_a_finished_run_is_left_alone_and_other_settings_are_refused(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    train(run, "train.epochs=1")
    before = (run / "result.json").read_bytes()
    again = train(run, "train.epochs=1")
    assert "already finished" in again.stderr
    assert (run / "result.json").read_bytes() == before
    other = train(run, "train.epochs=1", "train.seed=3", check=False)
    assert other.returncode == 2
    assert "train.seed: 0 -> 3" in other.stderr and "--restart" in other.stderr


def test_the_run_folder_says_how_it_came_about(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    train(run, "train.epochs=1", "train.tracker=tensorboard")
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["arguments"]["hidden_size"] == 8
    facts = json.loads((run / "environment.json").read_text())
    assert facts["versions"]["torch"] and facts["seed"] == 0
    result = json.loads((run / "result.json").read_text())
    best = max(x["accuracy"] for x in _history(run) if x["kind"] == "validation")
    assert (
        result["best"]["accuracy"]
        == best
        == pytest.approx(result["validation"]["accuracy"]["value"])
    )
    assert result["training"]["steps"] == max(x["step"] for x in _history(run))
    assert list((run / "tensorboard").rglob("events.out.tfevents*"))
    assert not (run / "state").exists(), "a finished run keeps no optimiser state"


def test_the_calibrated_checkpoints_loss_is_said_everywhere(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    settings = ["train.max_steps=30", "train.epochs=20", "train.learning_rate=0.01",
                "initial.deviation=null"]  # fmt: skip
    train(run, *settings, "data.validation_fraction=0.3")
    result = json.loads((run / "result.json").read_text())
    stored = bundle.load(run / "best")
    assert stored.metrics["temperature"] == result["calibration"]["temperature"] != 1
    assert result["calibration"]["fitted_on"] == "validation"
    calibrated = result["validation"]["loss"]["value"]
    assert stored.metrics["validation_loss"] == result["best"]["loss"] == pytest.approx(calibrated)
    seen = next(x["loss"] for x in _history(run)
                if x["kind"] == "validation" and x["step"] == result["best"]["step"])  # fmt: skip
    assert calibrated < seen


def test_out_of_memory_is_answered_by_resuming_with_smaller_micro_batches(
    tmp_path: Path, train, small, environment
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "training", *small(run, "train.epochs=3")]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    _wait_for_step(run, 6, process)
    process.kill()
    process.communicate(timeout=60)
    resumed = train(run, "train.epochs=3", "train.micro_batch_size=8")
    assert "resuming after step" in resumed.stderr
    assert (run / "result.json").exists()


def test_a_mistyped_source_does_not_spoil_the_folder(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    wrong = train(run, "train.epochs=1", data="embeded:400", check=False)
    assert wrong.returncode == 2 and "embeded:400" in wrong.stderr
    train(run, "train.epochs=1")
    assert (run / "result.json").exists()


@pytest.mark.parametrize("architecture", ["gru-encoder", "tfidf"])
def test_restarting_with_a_mistake_loses_nothing(
    architecture: str, tmp_path: Path, small, capsys
) -> None:
    run = tmp_path / "run"
    model = [f"model.architecture={architecture}", "train.epochs=1"]
    if architecture == "tfidf":
        model += ["model.arguments={}"]
    call = small(run, *model)
    assert main(call) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for wrong in (["--data", str(tmp_path / "none.csv")], ["--set", "data.test_fraction=7"]):
        assert main([*call, *wrong, "--restart"]) == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main([*call, "--restart"]) == 0
    assert "already finished" not in capsys.readouterr().err


def test_a_diverging_run_says_so_and_what_to_change(tmp_path: Path, train) -> None:
    diverged = train(tmp_path / "run", "train.learning_rate=1e30", "train.max_gradient_norm=1e30",
                     check=False)  # fmt: skip
    assert diverged.returncode == 2
    assert "training diverged" in diverged.stderr and "train.learning_rate" in diverged.stderr
    for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_reviews_longer_than_the_model_are_refused_before_training(tmp_path: Path, train) -> None:
    refused = train(tmp_path / "run", "model.architecture=transformer", "data.max_length=300",
                    "model.arguments={embed_dim: 8, hidden_dim: 8}", check=False)  # fmt: skip
    assert refused.returncode == 2 and "data.max_length=300" in refused.stderr


def test_a_model_of_other_labels_is_refused_before_training(tmp_path: Path, train) -> None:
    refused = train(tmp_path / "run", "model.arguments.num_labels=3", check=False)
    assert refused.returncode == 2
    assert "error: model.arguments.num_labels=3: the reviews have 2 labels" in refused.stderr


def test_compiling_a_recurrent_model_is_refused_with_the_reason(tmp_path: Path, train) -> None:
    refused = train(tmp_path / "run", "train.compile=true", check=False)
    assert refused.returncode == 2 and "train.compile" in refused.stderr


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_a_compiled_transformer_trains_and_its_bundle_loads(tmp_path: Path, train) -> None:
    run = tmp_path / "run"
    train(run, "model.architecture=transformer", "model.arguments={embed_dim: 8, hidden_dim: 8}",
          "train.compile=true", "train.max_steps=3", "train.evaluations_per_epoch=1")  # fmt: skip
    assert bundle.load(run / "best").architecture == "transformer"
