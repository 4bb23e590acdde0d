"""Train a masked language model: texts in, a folder for `from_pretrained` out.

The order, the hidden tokens, the coins of the augmentation and the learning rate are functions of
the seed and the step, so that a resumed run equals an uninterrupted one.
"""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.optim import AdamW, Optimizer

from models.files import write_whole
from training.batches import epoch_plan
from training.fingerprint import check_same
from training.folder import alone, begin_folder, check_folder
from training.history import History
from training.interrupt import Interruption
from training.launch import check_environment
from training.loop import Interrupted
from training.measure import device_name, environment
from training.mlm.config import MaskedConfig, as_dict, differences
from training.mlm.counterfactual import read_swaps
from training.mlm.masking import MaskedBatch, masked_batch
from training.mlm.model import MaskedObjective, make_model, save_model
from training.mlm.texts import Piece, Pieces, cut, read_texts
from training.progress import Progress
from training.state import TrainState, load_state, peek_state, save_state
from training.tokenization import SPECIAL_TOKENS, load_tokenizer

MODEL = "model"
_VALIDATION_STEP = 2**31  # of the random numbers: no training step is that late


@alone
def run_masked(config: MaskedConfig, output: Path, restart: bool = False) -> dict[str, Any]:
    """Train to the end, or go on from the last saved state; returns `result.json`.

    Raises:
        ValueError: a folder with another run, texts or settings that do not fit; one line.
        training.loop.Interrupted: a signal asked to stop; the same call goes on from there.
    """
    began = time.perf_counter()
    check_environment()
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    if accelerator.num_processes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("--task mlm trains in one process; start it without accelerate launch, or "
                         "with --num_processes 1")  # fmt: skip
    progress = Progress()
    done = check_folder(output, restart, lambda stored: differences(stored, config))
    if done is not None:
        progress.say(f"already finished: {output / 'result.json'} (--restart trains it again)")
        return done
    trainer = _MaskedTrainer(config, output, accelerator, progress)
    text = yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True)
    facts = environment(torch.device("cpu"), 1, config.seed, sys.orig_argv)
    begin_folder(output, restart, text, facts)
    trainer.resume()
    trainer.train()
    validation = trainer.validate()
    result: dict[str, Any] = {
        "task": "mlm",
        "augment": config.augment,
        "texts": trainer.pieces.texts,
        "texts_with_swaps": trainer.pieces.changed_texts,
        "pieces": {"train": len(trainer.train_rows), "validation": len(trainer.validation_rows)},
        "vocabulary": trainer.tokenizer.get_vocab_size(),
        "parameters": sum(p.numel() for p in trainer.objective.parameters()),
        "steps": trainer.total_steps,
        "validation": validation,
        "seconds": {"train": trainer.state.train_seconds, "total": time.perf_counter() - began},
        "device": device_name(accelerator.device),
    }
    save_model(trainer.objective.model, trainer.tokenizer, config.max_length, output / MODEL)
    write_whole(output / "result.json", json.dumps(result, indent=1))
    progress.say(f"validation perplexity {validation['perplexity']:.2f}; model: {output / MODEL}")
    return result


class _MaskedTrainer:
    """A model, its pieces and where it stands."""

    def __init__(
        self, config: MaskedConfig, output: Path, accelerator: Accelerator, progress: Progress
    ) -> None:
        self.config, self.output = config, output
        self.accelerator, self.progress = accelerator, progress
        self.tokenizer, self.pieces = _data(config, progress)
        rows = np.random.default_rng([config.seed, 1]).permutation(len(self.pieces.plain))
        held_out = max(1, round(config.validation_fraction * len(rows)))
        self.validation_rows, self.train_rows = rows[:held_out], rows[held_out:]
        if not len(self.train_rows):
            raise ValueError(f"{len(rows)} pieces of text; too few to hold some out for validation")
        self.mask_id = int(self.tokenizer.token_to_id("[MASK]") or 0)  # _data has checked it
        special = {self.tokenizer.token_to_id(name) for name in SPECIAL_TOKENS}
        size = self.tokenizer.get_vocab_size()
        self.ordinary = np.array([i for i in range(size) if i not in special], np.int64)
        torch.manual_seed(config.seed)
        self.objective = MaskedObjective(make_model(config, size)).to(accelerator.device)
        self.optimizer = _optimizer(config, self.objective)
        self.steps_per_epoch = math.ceil(len(self.train_rows) / config.batch_size)
        self.total_steps = self.steps_per_epoch * config.epochs
        self.lengths = self.pieces.lengths[self.train_rows]
        self.state = TrainState()
        self._plan: tuple[int, list[NDArray[np.int64]]] = (-1, [])
        self.history = History(output / "history.jsonl", enabled=True)

    def resume(self) -> None:
        """Go back to the newest saved state, where there is one, and cut the history to it."""
        folder, now = self.output / "state", self.pieces.fingerprint()
        found = peek_state(folder)
        if found is not None:
            # before its tensors, which other texts, by another vocabulary, may not fit
            if unchecked := check_same(found.trained_on, now, f"--output {self.output}"):
                self.progress.say(unchecked)
            found = load_state(folder, self.objective, self.optimizer)
        self.state = found or TrainState()
        self.state.trained_on = now
        self.history.cut(self.state.history_bytes)
        if self.state.step:
            self.progress.say(f"resuming after step {self.state.step} of {self.total_steps}")

    def train(self) -> None:
        """All steps that are left."""
        config, state = self.config, self.state
        bar = self.progress.task("train mlm", self.total_steps, done=state.step)
        self.objective.train()
        loss, count = 0.0, 0
        mark = time.perf_counter()
        with Interruption(self.accelerator) as interruption, bar as task:
            while state.step < self.total_steps:
                summed, hidden = self._step()
                loss, count = loss + summed, count + hidden
                state.step += 1
                if state.step % config.log_every == 0 or state.step == self.total_steps:
                    now = time.perf_counter()
                    state.train_seconds += now - mark
                    mark = now
                    self._log(loss / count)
                    task.advance(0, f"loss {loss / count:.3f}")
                    loss, count = 0.0, 0
                asked = interruption.asked(agree=False)
                if asked or state.step % config.save_every == 0:
                    save_state(self.output / "state", state, self.objective, self.optimizer)
                if asked:
                    raise Interrupted(f"interrupted after step {state.step} of {self.total_steps}")
                task.advance(1)

    def validate(self) -> dict[str, float]:
        """Cross-entropy of the held-out pieces as they were written, never swapped, in nats a
        hidden token; the same tokens are hidden whatever the training was."""
        self.objective.eval()
        random = np.random.default_rng([self.config.seed, _VALIDATION_STEP])
        loss, count = 0.0, 0
        with torch.inference_mode():
            for start in range(0, len(self.validation_rows), self.config.batch_size):
                rows = self.validation_rows[start : start + self.config.batch_size]
                batch = self._batch([self.pieces.plain[i] for i in rows], random)
                loss += float(self.objective(batch))
                count += len(batch.targets)
        return {"loss": loss / count, "perplexity": math.exp(loss / count), "tokens": count}

    def _step(self) -> tuple[float, int]:
        state, config = self.state, self.config
        epoch, position = divmod(state.step, self.steps_per_epoch)
        if self._plan[0] != epoch:
            plan = epoch_plan(self.lengths, config.batch_size, config.seed, epoch)
            self._plan = epoch, plan
        random = np.random.default_rng([config.seed, 2, state.step])
        torch.manual_seed(int(random.integers(2**62)))  # of the dropout
        pieces = []
        for row in self.train_rows[self._plan[1][position]]:
            swap = random.random() < 0.5  # drawn in plain runs too, which so hide the same tokens
            chosen = self.pieces.swapped if swap else self.pieces.plain
            pieces.append(chosen[row])
        batch = self._batch(pieces, random)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(state.step)
        loss = self.objective(batch)
        (loss / len(batch.targets)).backward()
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach()), len(batch.targets)

    def _batch(self, pieces: list[Piece], random: np.random.Generator) -> MaskedBatch:
        batch = masked_batch(
            pieces, random, self.config.mask_probability, self.mask_id, self.ordinary
        )
        return batch.to(self.accelerator.device)

    def _learning_rate(self, step: int) -> float:
        """Up linearly, then down linearly to 0."""
        warmup = round(self.config.warmup_fraction * self.total_steps)
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        return self.config.learning_rate * (1 - (step - warmup) / max(1, self.total_steps - warmup))

    def _log(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise ValueError(
                f"training diverged: the loss before step {self.state.step} is {loss}; lower "
                f"mlm.learning_rate (now {self.config.learning_rate})"
            )
        line: dict[str, object] = {"kind": "train", "step": self.state.step, "loss": loss,
                "seconds": self.state.train_seconds}  # fmt: skip
        self.state.history_bytes = self.history.write(line)


def _data(config: MaskedConfig, progress: Progress) -> tuple[Tokenizer, Pieces]:
    texts = read_texts(config)
    swaps = None
    if config.augment == "counterfactual":
        swaps = read_swaps(Path(config.swaps) if config.swaps else None)
    # The swapped copies are counted in whether or not they are trained on, so that a plain and an
    # augmented model of the same texts have one vocabulary and can be held against each other.
    counted = swaps or read_swaps()
    both = [texts, [counted.apply(text) for text in texts]]
    tokenizer = load_tokenizer(config.tokenizer, lambda: both, config.vocabulary_size)
    missing = [name for name in SPECIAL_TOKENS if tokenizer.token_to_id(name) is None]
    if missing:
        raise ValueError(f"mlm.tokenizer={config.tokenizer}: has no {missing[0]}; give a WordPiece")
    pieces = cut(texts, swaps, tokenizer, config.max_length)
    progress.say(
        f"{pieces.texts:,} texts, {len(pieces.plain):,} pieces, "
        + (f"{pieces.changed_texts:,} texts with words of {swaps.name}" if swaps else "plain")
    )
    return tokenizer, pieces


def _optimizer(config: MaskedConfig, objective: MaskedObjective) -> Optimizer:
    return AdamW(objective.parameters(), lr=config.learning_rate,
                 weight_decay=config.weight_decay, fused=True)  # fmt: skip
