"""What a saved state was trained on, so that it is not gone on with on something else."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from training.token_table import TokenTable

Fingerprint = dict[str, str | int]
_PLAIN = ("number of processes", "mixed precision")  # the others are hashes


def fingerprint(
    train: TokenTable,
    validation: TokenTable,
    teacher: NDArray[np.float32] | None,
    processes: int,
    mixed_precision: str,
) -> Fingerprint:
    """By what each part is called in a message; `teacher` (N, C) has a row a training review.

    Lengths stand for the tokenizer, of which the texts know nothing. Dropout is drawn by the
    process, and a precision rounds its own way: both are of what the model is a function of.
    """
    return {
        "training texts": digest(train.column("text_hash"), train.lengths),
        "training labels": digest(train.labels),
        "validation reviews": digest(
            validation.column("text_hash"), validation.lengths, validation.labels
        ),
        "teacher's logits": "" if teacher is None else digest(teacher),
        "number of processes": processes,
        "mixed precision": mixed_precision,
    }


def check_same(saved: Fingerprint, now: Fingerprint, where: str) -> str | None:
    """Refuse a state that was saved while training on something else.

    `saved` is empty in a state from before there were fingerprints. It is accepted: what to say.

    Raises:
        ValueError: names the parts that differ; one line.
    """
    if not saved:
        return "the saved state does not say what data it was trained on: not checked"
    changed = [name for name, value in now.items() if saved.get(name) != value]
    if changed:
        said = [f"{name} {saved.get(name)} -> {now[name]}" if name in _PLAIN else name
                for name in changed]  # fmt: skip
        raise ValueError(
            f"{where}: the data changed since the state was saved ({'; '.join(said)}), so that "
            "training cannot go on from it; undo that, give another folder, or --restart"
        )
    return None


def digest(*columns: NDArray[np.generic]) -> str:
    """Of the arrays' bytes, one after the other: a shape changes nothing."""
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update(np.ascontiguousarray(column).reshape(-1).data)  # hashlib takes no tables
    return digest.hexdigest()
