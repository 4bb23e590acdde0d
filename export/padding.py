"""Runs a batch as smaller ones of like length: padding costs little, and several threads have work.

In float32 the logits stay what they were but for rounding, since no review reads padding or another
review. In int8 they do not: a product's activations share one scale, so that a review's logits move
a little with those it is computed with (`export.int8_batches` measures by how much). So an artefact
is proved in these parts as well as in whole batches (`export.write.ways`).
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]
Engine = Callable[[Ids, Ids], Logits]

# Measured on ONNX Runtime's CPU kernels: from four rows on, a row costs the same.
ROWS = 4
# Several calls cost more than one; below this saving, in computed tokens, one call it is.
WORTH = 0.1


def skip_padding(engine: Engine, rows: int = ROWS) -> Engine:
    """`engine` on `rows` reviews at a time, sorted by length and cut to the longest of them; the
    logits come in the order of the input."""

    def run(input_ids: Ids, attention_mask: Ids) -> Logits:
        lengths = _lengths(attention_mask)
        groups = _groups(lengths, rows)
        longest = int(lengths.max())
        computed = sum(len(group) * int(lengths[group].max()) for group in groups)
        if computed > (1 - WORTH) * len(lengths) * longest:
            return engine(_cut(input_ids, longest), _cut(attention_mask, longest))
        answers = [_part(engine, input_ids, attention_mask, lengths, group) for group in groups]
        return _in_order(groups, answers)

    return run


class ParallelParts:
    """The parts of a batch on `workers` threads at once, each computing on its own.

    Parts that skip padding are too small to divide further: a second thread inside an operator
    mostly waits there, while a second part keeps it busy. A review alone goes to `engine`, whose
    operators share the threads.
    """

    def __init__(
        self, engine: Engine, open_single: Callable[[], Engine], workers: int, rows: int = ROWS
    ) -> None:
        """`open_single` gives an engine of one thread that several threads may call at once; it is
        opened at the first batch, so that who never sends one has the weights in memory once."""
        self._engine = engine
        self._open_single = open_single
        self._workers = workers
        self._rows = rows

    @cached_property
    def _single(self) -> Engine:
        return self._open_single()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # The caller's own thread is the other worker.
        return ThreadPoolExecutor(self._workers - 1, thread_name_prefix="parts")

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """As any engine."""
        lengths = _lengths(attention_mask)
        if len(lengths) == 1:
            end = int(lengths[0])
            return self._engine(_cut(input_ids, end), _cut(attention_mask, end))
        groups = _groups(lengths, min(self._rows, -(-len(lengths) // self._workers)))
        single = self._single
        answers: list[Logits | None] = [None] * len(groups)
        # From the longest on: what is left for the end is short, so that no thread waits long.
        pending = deque(range(len(groups)))

        def work() -> None:
            while pending:
                try:
                    number = pending.pop()
                except IndexError:  # another thread was faster
                    return
                group = groups[number]
                answers[number] = _part(single, input_ids, attention_mask, lengths, group)

        others = [self._pool.submit(work) for _ in range(min(self._workers, len(groups)) - 1)]
        try:
            work()
        finally:
            pending.clear()
            # One that has not begun, since the pool serves other callers too, has nothing to do.
            running = [other for other in others if not other.cancel()]
        for other in running:
            other.result()
        return _in_order(groups, [answer for answer in answers if answer is not None])


def available_cpus() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lengths(attention_mask: Ids) -> NDArray[np.int64]:
    """Of each review, at least 1: (B,)"""
    real = attention_mask != 0  # (B, T)
    # The position after the last real token: also right for a mask with gaps.
    steps = real.shape[1]
    return np.where(real.any(axis=1), steps - real[:, ::-1].argmax(axis=1), 1)


def _groups(lengths: NDArray[np.int64], rows: int) -> list[NDArray[np.int64]]:
    """The reviews' numbers, from the shortest review to the longest, `rows` a group."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + rows] for start in range(0, len(order), rows)]


def _part(
    engine: Engine, input_ids: Ids, mask: Ids, lengths: NDArray[np.int64], group: NDArray[np.int64]
) -> Logits:
    end = int(lengths[group].max())
    return engine(_cut(input_ids[group], end), _cut(mask[group], end))


def _in_order(groups: list[NDArray[np.int64]], answers: list[Logits]) -> Logits:
    sorted_logits = np.concatenate(answers)  # (B, labels)
    logits = np.empty_like(sorted_logits)
    logits[np.concatenate(groups)] = sorted_logits
    return logits


def _cut(array: Ids, end: int) -> Ids:
    return np.ascontiguousarray(array[:, :end])
