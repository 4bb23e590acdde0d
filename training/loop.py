"""Train, validate, keep the best, resume: one optimiser step over one global batch at a time.

B reviews in a micro-batch, T tokens in its longest.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from models.classifier import Classifier
from training.batches import Batch
from training.data import TokenTable
from training.evaluation import predict
from training.feed import feed
from training.fingerprint import check_same, fingerprint
from training.history import History
from training.interrupt import Interruption
from training.measure import MemoryMeter
from training.metrics import cross_entropy
from training.objective import Objective, known_labels
from training.progress import Progress, Task
from training.row_wise import RowWise
from training.schedule import Schedule
from training.settings import Config
from training.state import TrainState, load_state, peek_state, save_state


class Interrupted(Exception):
    """A signal asked to stop; the state is saved."""


@dataclass
class Trainer:
    """A model, its data and where it stands. `run` trains to the end or raises `Interrupted`."""

    config: Config
    model: nn.Module
    """As it runs: compiled, wrapped for several processes."""
    bare: Classifier
    """The same model, without wrapping: what is saved and loaded."""
    optimizer: Optimizer
    accelerator: Accelerator
    train: TokenTable
    validation: TokenTable
    output: Path
    progress: Progress
    save_best: Callable[[TrainState], None]
    """Called on the main process whenever validation improves."""
    objective: Objective = field(default_factory=Objective)
    teacher: NDArray[np.float32] | None = None
    """A teacher's logits (N, C) for all N training reviews."""
    state: TrainState = field(default_factory=TrainState)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.config.train, self.train.lengths)
        self.memory = MemoryMeter(self.accelerator.device)
        self.history = History(self.output / "history.jsonl", self.accelerator.is_main_process)
        # Loss, correct, reviews and tokens since the last line of the history, left on the device:
        # reading them waits for it.
        self._window = self._zeros()
        self._mark = 0.0, 0.0
        # the schedule is looked up when it is asked: `learn_from` may set another
        self.row_wise = RowWise.of(
            self.config, self.bare, self.optimizer, lambda step: self.schedule.learning_rate(step)
        )

    def learn_from(self, train: TokenTable, teacher: NDArray[np.float32]) -> None:
        """Train on these N reviews instead, some without labels, with a teacher's logits (N, C)."""
        self.train, self.teacher = train, teacher
        self.schedule = Schedule(self.config.train, train.lengths)

    def resume(self) -> None:
        """Go back to the newest saved state, where there is one, and cut the history to it.

        Raises:
            ValueError: several machines, not all of which see the saved state; or other data,
                processes or precision than it was saved with.
        """
        folder = self.output / "state"
        found = peek_state(folder)
        if len(set(gather_object([found.step if found else 0]))) > 1:
            raise ValueError(
                f"--output {self.output}: not every machine sees the saved state in it; resuming "
                "needs a folder that they share (or --restart)"
            )
        processes, precision = self.accelerator.num_processes, self.accelerator.mixed_precision
        now = fingerprint(self.train, self.validation, self.teacher, processes, precision)
        if found:
            # before its tensors, which other data, by another vocabulary, may not fit
            if unchecked := check_same(found.trained_on, now, f"--output {self.output}"):
                self.progress.say(unchecked)
            self.state = load_state(folder, self.bare, self.optimizer) or found
            if self.accelerator.scaler is not None and found.scaler:
                self.accelerator.scaler.load_state_dict(found.scaler)
            self.progress.say(f"resuming after step {found.step} of {self.schedule.total_steps}")
        self.state.trained_on = now
        if self.accelerator.is_main_process:
            self._window += torch.tensor(self.state.window, dtype=torch.float64).to(
                self.accelerator.device
            )
        self.history.cut(self.state.history_bytes)

    def run(self) -> None:
        """All steps that are left."""
        config, state = self.config.train, self.state
        total = self.schedule.total_steps
        self.model.train()
        bar = self.progress.task(f"train {self.config.experiment}", total, done=state.step)
        with Interruption(self.accelerator) as interruption, bar as task:
            self._mark = time.perf_counter(), time.process_time()
            for micro in self._batches():
                if state.stopped:
                    break
                self._step(micro)
                state.step += 1
                validate = state.step in self.schedule.validation_steps
                log = validate or state.step % config.log_every == 0
                if log:
                    self._log(task)
                if validate:
                    self._validate()
                asked = interruption.asked(agree=log)
                if validate or asked or state.step % config.save_every == 0:
                    self._save()
                if asked:
                    raise Interrupted(f"interrupted after step {state.step} of {total}")
                task.advance(1)

    def _batches(self) -> Iterator[list[Batch]]:
        return feed(self.schedule, self.train, self.teacher, self.config, self.accelerator,
                    self.state.step)  # fmt: skip

    def _step(self, micro: list[Batch]) -> None:
        """One optimiser step; the gradient is that of the mean loss over the whole global batch.

        Each micro-batch's summed loss is divided by the global count, so that accumulating, or
        sharing a short last batch among processes, gives the larger batch's gradient exactly.
        """
        config, accelerator, state = self.config.train, self.accelerator, self.state
        rows = self.schedule.rows(state.step)
        # DistributedDataParallel takes the mean over processes; the sum is wanted
        scale = accelerator.num_processes / len(rows)
        torch.manual_seed(_step_seed(config.seed, state.step, accelerator.process_index))
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(state.step)
        if self.row_wise:
            self.row_wise.begin(state.step, self.train, rows)
        for i, batch in enumerate(micro):
            sync = i == len(micro) - 1
            with nullcontext() if sync else accelerator.no_sync(self.model):
                self._backward(batch, scale)
        if self.row_wise:
            self.row_wise.reduce(accelerator.num_processes)
        if config.max_gradient_norm is not None:
            accelerator.clip_grad_norm_(self.model.parameters(), config.max_gradient_norm)
        self.optimizer.step()
        if self.row_wise:
            self.row_wise.end(state.step)
        self.optimizer.zero_grad()
        state.train_reviews += len(rows)
        state.train_tokens += int(self.train.lengths[rows].sum())

    def _backward(self, batch: Batch, scale: float) -> None:
        count = len(batch.labels)
        if count == 0:  # this process has no review left: one made-up token, weight zero
            batch = Batch.blank(self.accelerator.device)
        if self.row_wise:
            batch = replace(batch, input_ids=self.row_wise.local(batch.input_ids))
        logits, losses = self.objective(self.model, batch)  # (B, C), (B,)
        loss = losses.sum() * (scale if count else 0.0)
        self.accelerator.backward(loss)
        if count:
            with torch.no_grad():
                correct = (logits.argmax(-1) == known_labels(batch)).sum()
                self._window[0] += losses.sum()
                self._window[1] += correct
                self._window[2] += count
                self._window[3] += batch.attention_mask.sum()

    def _gather_window(self) -> None:
        """Move all processes' sums to the main one, which waits for the device; stop the clock."""
        summed = self.accelerator.reduce(self._window, "sum")
        self._window = summed if self.accelerator.is_main_process else self._zeros()
        self.state.window = summed.tolist()
        wall, cpu = time.perf_counter(), time.process_time()
        self.state.train_seconds += wall - self._mark[0]
        self.state.train_cpu_seconds += cpu - self._mark[1]
        self._mark = wall, cpu

    def _zeros(self) -> Tensor:
        return torch.zeros(4, device=self.accelerator.device, dtype=torch.float64)

    def _log(self, task: Task) -> None:
        """A line of history for the steps since the last one."""
        self._gather_window()
        state = self.state
        loss, correct, count, tokens = state.window
        if not math.isfinite(loss):
            raise ValueError(
                f"training diverged: the loss before step {state.step} is {loss}; lower "
                f"train.learning_rate (now {self.config.train.learning_rate}) or bound the "
                "gradient by train.max_gradient_norm (now "
                f"{self.config.train.max_gradient_norm}); the best checkpoint before it is kept"
            )
        state.running_loss += loss
        state.running_correct += correct
        state.running_reviews += int(count)
        held = self.memory.sample()
        state.peak_bytes = max(state.peak_bytes, self.memory.peak(held))
        if self.accelerator.is_main_process:
            seconds = state.train_seconds - state.window_began
            figures = {
                "loss": loss / count,
                "learning_rate": self.schedule.learning_rate(state.step - 1),
                "seconds": state.train_seconds,
                "reviews_per_second": count / seconds,
                "tokens_per_second": tokens / seconds,
                "memory_bytes": held,
            }
            self._write("train", figures)
            speed = f"{count / seconds:,.0f} reviews/s  {tokens / seconds:,.0f} tokens/s"
            task.advance(0, f"loss {loss / count:.3f}  accuracy {correct / count:.3f}  {speed}")
        state.window = [0.0] * 4
        self._window = self._zeros()
        state.window_began = state.train_seconds

    def _validate(self) -> None:
        """Validate, and keep what is better."""
        state, started = self.state, time.perf_counter()
        if self.row_wise:
            self.row_wise.flush(state.step)
        logits = predict(self.model, self.validation, self.accelerator, self.config,
                         self.progress, "validation")  # fmt: skip
        accuracy = float((logits.argmax(-1) == self.validation.labels).mean())
        loss = cross_entropy(logits, self.validation.labels)
        self._mark = time.perf_counter(), time.process_time()
        state.evaluation_seconds += self._mark[0] - started
        reviews = max(1, state.running_reviews)
        figures = {
            "loss": loss,
            "accuracy": accuracy,
            "seconds": state.evaluation_seconds,
            "train_loss": state.running_loss / reviews,
            "train_accuracy": state.running_correct / reviews,
        }
        self._write("validation", figures)
        state.running_loss = state.running_correct = 0.0
        state.running_reviews = 0
        better = accuracy > state.best_accuracy
        if better:
            state.best_accuracy, state.best_loss, state.best_step = accuracy, loss, state.step
            state.validations_since_best = 0
            if self.accelerator.is_main_process:
                self.save_best(state)
        else:
            state.validations_since_best += 1
        self.progress.say(
            f"step {state.step:>6}/{self.schedule.total_steps}  "
            f"epoch {self.schedule.epoch(state.step):.2f}  "
            f"train loss {figures['train_loss']:.4f}  validation loss {loss:.4f}  "
            f"accuracy {accuracy:.4f}{'  best so far' if better else ''}"
        )
        patience = self.config.train.patience
        if state.step >= self.schedule.total_steps:
            state.stopped = "finished"
        elif patience and state.validations_since_best >= patience:
            state.stopped = "early stopping"

    def _write(self, kind: str, figures: dict[str, float]) -> None:
        step = self.state.step
        where: dict[str, object] = {"step": step, "epoch": self.schedule.epoch(step),
                 "reviews": self.schedule.reviews(step)}  # fmt: skip
        self.state.history_bytes = self.history.write({"kind": kind} | where | figures)
        self.accelerator.log({f"{kind}/{name}": value for name, value in figures.items()}, step)

    def _save(self) -> None:
        self._gather_window()
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.state.scaler = scaler.state_dict() if scaler is not None else None
            save_state(self.output / "state", self.state, self.bare, self.optimizer)
        self.accelerator.wait_for_everyone()
        self._mark = time.perf_counter(), time.process_time()  # writing is not training


def make_optimizer(config: Config, model: nn.Module) -> Optimizer:
    """AdamW over the parameters that learn, fused where the device has it."""
    c = config.train
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return AdamW(learning, lr=c.learning_rate, betas=c.adam_betas, eps=c.adam_epsilon,
                 weight_decay=c.weight_decay, fused=True)  # fmt: skip


def _step_seed(seed: int, step: int, rank: int) -> int:
    """A seed for the dropout of this step on this process: nothing to save, nothing to restore."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)
