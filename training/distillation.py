"""A teacher's logits for the training reviews, computed once and kept in the cache.

The teacher is a bundle that reads the same token ids. Its logits are kept a token file, by what
that holds, so that runs that differ in seed, limits, student or place of the reviews share them;
NaN marks a row that nobody asked for yet.
Hinton, Vinyals, Dean 2015, https://arxiv.org/abs/1503.02531.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from filelock import FileLock
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn

from models import bundle
from training.data import ReviewData, cache_folder
from training.evaluation import predict
from training.pool import limited
from training.progress import Progress
from training.settings import Config
from training.splits import occurs_in
from training.token_table import Recipe, TokenFile, TokenTable, tokenised
from training.unlabelled import unlabelled_split

_PART = 8192  # rows between two writes: what an interruption loses


def check_teacher(folder: str, labels: list[str]) -> None:
    """A sound bundle of these labels, in this order: its logits stand beside the student's.

    Raises:
        ValueError, FileNotFoundError: no bundle there, or one of other labels; one line.
    """
    own = bundle.verify(folder)["labels"]
    if own != labels:
        raise ValueError(
            f"distill.teacher={folder}: its labels are {', '.join(map(str, own))}, those of the "
            f"reviews {', '.join(labels)}; give a teacher of the same labels in the same order"
        )


def with_unlabelled(config: Config, data: ReviewData, progress: Progress | None) -> TokenTable:
    """The training reviews and, after them, the texts without labels, whose label is -1.

    A text that is among the validation or test reviews, or repeats another, is left out.
    """
    recipe = Recipe(data.tokenizer, config.data.text, config.data.max_length)
    table = data.train
    for given in config.distill.unlabelled:
        split = unlabelled_split(given)
        if progress:
            progress.say(f"texts without labels: {split.where}")
        own = TokenTable([tokenised(split, recipe, cache_folder(config.data))])
        hashes = own.column("text_hash")
        first = np.zeros(len(own), bool)
        first[np.unique(hashes, return_index=True)[1]] = True
        for other in (table, data.validation, *data.tests.values()):
            first &= ~occurs_in(hashes, other.column("text_hash"))
        own = own.select(np.flatnonzero(first))
        own = limited(own, own.labels, config.distill.limit_unlabelled, config.data.seed)
        table = table.join(own)
    return table


def teacher_logits(
    config: Config,
    data: ReviewData,
    table: TokenTable,
    accelerator: Accelerator,
    progress: Progress,
) -> NDArray[np.float32]:
    """Logits (N, C) of `table`'s N rows in its order, the same on every process.

    Raises:
        ValueError, FileNotFoundError: no bundle there, or one that reads other token ids.
    """
    folder = Path(str(config.distill.teacher))
    teacher = bundle.load(folder)
    _check_fit(config, data, teacher)
    model = _InPrecision(teacher.model, config.distill.precision).to(accelerator.device).eval()
    key = f"{bundle.verify(folder)['weights_sha256'][:16]}-{config.distill.precision}"
    logits = np.empty((len(table), len(teacher.labels)), np.float32)
    for file, rows, places in table.by_file():
        stored = _Stored(file, key, len(teacher.labels), accelerator)
        with stored:
            missing = stored.missing(rows)
            for start in range(0, len(missing), _PART):
                part = missing[start : start + _PART]
                name = f"teacher, {start:,} of {len(missing):,}"
                answers = predict(model, TokenTable([file], part), accelerator, config, progress,
                                  name)  # fmt: skip
                stored.write(part, answers)
            logits[places] = stored.read(rows)
    return logits


class _InPrecision(nn.Module):
    """The teacher in a precision of its own, whatever the student trains in."""

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        device = input_ids.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            logits: Tensor = self.model(input_ids, attention_mask)
        return logits


class _Stored:
    """The logits of one token file on disk; the main process's, told to the others.

    Other runs that want the same wait for the lock.
    """

    def __init__(self, file: TokenFile, key: str, classes: int, accelerator: Accelerator) -> None:
        self.shape = (len(file), classes)
        self.accelerator = accelerator
        if accelerator.is_main_process:
            # Not the file's name: that changes with the date of the source, and hours may lie here.
            content = bundle.sha256(file.path)
            name = hashlib.sha256(f"{content} {key} {classes}".encode()).hexdigest()[:32]
            self.path = file.path.with_name(f"{name}.teacher.npy")
            self.lock = FileLock(self.path.with_suffix(".lock"))

    def __enter__(self) -> None:
        if self.accelerator.is_main_process:
            self.lock.acquire()
            if not self.path.is_file():
                partial = self.path.with_suffix(".partial")
                open_memmap(partial, "w+", np.float32, self.shape)[:] = np.nan
                partial.replace(self.path)
            self.values = open_memmap(self.path, "r+")

    def __exit__(self, *_: object) -> None:
        if self.accelerator.is_main_process:
            self.values.flush()
            self.lock.release()

    def missing(self, rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Those of `rows` that have no logits yet."""
        return self._tell(lambda: rows[np.isnan(self.values[rows, 0])])

    def read(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Logits (M, C) of M rows."""
        return self._tell(lambda: np.array(self.values[rows]))

    def write(self, rows: NDArray[np.integer], logits: NDArray[np.float32]) -> None:
        """Keep them."""
        if self.accelerator.is_main_process:
            self.values[rows] = logits
            self.values.flush()

    def _tell(self, make):  # type: ignore[no-untyped-def]
        told = [make() if self.accelerator.is_main_process else None]
        broadcast_object_list(told)
        return told[0]


def _check_fit(config: Config, data: ReviewData, teacher: bundle.Bundle) -> None:
    where = f"distill.teacher={config.distill.teacher}"
    if teacher.tokenizer.to_str() != data.tokenizer.to_str():
        raise ValueError(
            f"{where}: its tokenizer is another one than the student's; give the student the "
            "teacher's (data.tokenizer), or another teacher"
        )
    if teacher.max_length < config.data.max_length:
        raise ValueError(
            f"{where}: it reads at most {teacher.max_length} tokens, data.max_length is "
            f"{config.data.max_length}; set data.max_length={teacher.max_length}"
        )
