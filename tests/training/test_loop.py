"""One optimiser step over one global batch, however it is cut up."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from models.registry import build
from training.batches import Batch
from training.config import parse
from training.data import load_data
from training.evaluation import predict
from training.loop import Trainer, make_optimizer
from training.progress import Progress
from training.settings import Config

BASE = {
    "experiment": "x",
    "title": "x",
    "model": {"architecture": "gru-encoder"},
    "data": {"sources": ["embedded:120"], "vocabulary_size": 400, "max_length": 32},
    "train": {"batch_size": 50, "learning_rate": 0.01, "tracker": "none", "mixed_precision": "no"},
}


def _config(cache, **train) -> Config:
    return parse(BASE | {"data": BASE["data"] | {"cache_dir": str(cache)},
                         "train": BASE["train"] | train})  # fmt: skip


@pytest.fixture
def make_trainer(cache, tmp_path):
    """A trainer whose model is in float64, so that equal means equal to rounding."""

    def make(**train) -> Trainer:
        config = _config(cache, **train)
        data = load_data(config.data)
        torch.manual_seed(0)
        model = build("gru-encoder", vocabulary_size=data.tokenizer.get_vocab_size(),
                      embedding_size=8, hidden_size=8).double()  # fmt: skip
        accelerator = Accelerator(cpu=True, mixed_precision="no")
        return Trainer(config, model, model, make_optimizer(config, model), accelerator, data.train,
                       data.validation, tmp_path, Progress(False), lambda state: None)  # fmt: skip

    return make


def _gradients(trainer: Trainer, step: int, monkeypatch) -> dict[str, torch.Tensor]:
    """What the optimiser is handed at a step, without taking it."""
    trainer.state.step = step
    seen = {}

    def keep(*_):
        seen.update({n: p.grad.clone() for n, p in trainer.model.named_parameters()})

    monkeypatch.setattr(trainer.optimizer, "step", keep)
    trainer._step(next(iter(trainer._batches())))
    return seen


@pytest.mark.parametrize("step", [0, 2])  # the third and last batch of the epoch is a short one
def test_accumulated_gradients_are_those_of_the_whole_batch(
    make_trainer, monkeypatch, step
) -> None:
    trainer = make_trainer(micro_batch_size=8)
    rows = trainer.schedule.rows(step)
    assert len(rows) % 8 != 0 and (step == 0) == (len(rows) == 50)
    accumulated = _gradients(trainer, step, monkeypatch)

    whole = make_trainer(micro_batch_size=8)
    ids = [whole.train.ids(int(row)) for row in rows]
    longest = max(map(len, ids))
    inputs = torch.tensor(np.stack([np.pad(i, (0, longest - len(i))) for i in ids]).astype(int))
    labels = torch.tensor(whole.train.labels[rows].astype(int))
    loss = F.cross_entropy(whole.model(inputs, (inputs != 0).long()), labels)
    loss.backward()
    for name, parameter in whole.model.named_parameters():
        # float64 sums of 50 terms in another order; cross_entropy itself is taken in float32
        torch.testing.assert_close(accumulated[name], parameter.grad, rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_norm_of_the_whole_gradient(make_trainer, monkeypatch) -> None:
    free = _gradients(make_trainer(), 0, monkeypatch)
    clipped = _gradients(make_trainer(max_gradient_norm=1e-3), 0, monkeypatch)
    norm = torch.stack([g.norm() for g in free.values()]).norm()
    assert norm > 1e-3
    for name in free:
        # clip_grad_norm_ adds 1e-6 to the norm it divides by
        torch.testing.assert_close(clipped[name], free[name] * (1e-3 / norm), rtol=1e-4, atol=1e-12)


def test_evaluation_answers_each_review_in_its_place(make_trainer) -> None:
    trainer = make_trainer()
    logits = predict(trainer.model, trainer.train, trainer.accelerator, trainer.config,
                     Progress(False), "train")  # fmt: skip
    assert len(logits) == len(trainer.train)
    trainer.model.eval()
    for row in (0, 17, len(logits) - 1):
        ids = torch.tensor(trainer.train.ids(row).astype(int))[None]
        alone = trainer.model(ids, torch.ones_like(ids)).detach().numpy()[0]
        np.testing.assert_allclose(logits[row], alone, atol=1e-6)  # logits are kept in float32


def test_a_process_without_reviews_adds_nothing_to_the_gradient(make_trainer) -> None:
    trainer = make_trainer()
    empty = torch.zeros(0, 1, dtype=torch.int64)
    trainer._backward(Batch(empty, empty, torch.zeros(0, dtype=torch.int64)), 1.0)
    gradients = [p.grad for p in trainer.model.parameters()]
    assert all(g is not None and not g.any() for g in gradients)


def test_a_state_is_gone_on_with_on_its_own_data_only(make_trainer, monkeypatch) -> None:
    saved = make_trainer()
    saved.resume()
    saved.state.step = 1
    saved._save()
    make_trainer().resume()  # the same: goes on

    def refused(message: str, **other) -> None:
        trainer = make_trainer()
        for name, value in other.items():
            setattr(trainer, name, value)
        with pytest.raises(ValueError, match=message) as caught:
            trainer.resume()
        assert "the data changed since the state was saved" in str(caught.value)
        assert "--restart" in str(caught.value) and trainer.state.step == 0

    train = saved.train
    refused("training texts", train=train.select(np.arange(len(train) - 1)))
    refused("training texts", train=train.select(np.arange(len(train))[::-1]))
    flipped = train.select(np.arange(len(train)))
    flipped.labels = 1 - train.labels
    refused(r"saved \(training labels\)", train=flipped)
    refused("validation reviews", validation=saved.validation.select(np.array([0])))
    refused("teacher's logits", teacher=np.zeros((len(train), 2), np.float32))
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    refused("number of processes 1 -> 2")
    monkeypatch.undo()
    monkeypatch.setattr(Accelerator, "mixed_precision", "bf16")
    refused("mixed precision no -> bf16")


def test_a_state_from_before_the_check_is_accepted_and_that_is_said(make_trainer) -> None:
    saved = make_trainer()
    saved.state.step = 1
    saved._save()  # it never resumed, so that its state knows nothing of its data
    path = saved.output / "state" / "step-00000001" / "state.json"
    older = json.loads(path.read_text())
    assert older.pop("trained_on") == {}
    path.write_text(json.dumps(older))
    resumed, said = make_trainer(), []
    resumed.progress.say = said.append
    resumed.resume()
    assert resumed.state.step == 1 and "not checked" in said[0]
    assert resumed.state.trained_on  # the next state knows


def test_early_stopping_ends_the_run_and_keeps_the_best(tmp_path, train) -> None:
    """A learning rate too small to change an answer: the first validation stays the best."""
    run = tmp_path / "run"
    train(run, "train.patience=2", "train.learning_rate=1e-12", "train.epochs=9")
    result = json.loads((run / "result.json").read_text())
    assert result["training"]["stopped"] == "early stopping"
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    validations = [line["step"] for line in history if line["kind"] == "validation"]
    assert len(validations) == 3 and result["best"]["step"] == validations[0]
