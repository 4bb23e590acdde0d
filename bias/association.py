"""WEAT and SEAT: do two sets of targets lie nearer to different sets of attributes?

The Word Embedding Association Test (Caliskan et al. 2017, https://arxiv.org/abs/1608.07187) on
vectors of words, or of sentences that say little else (May et al. 2019,
https://arxiv.org/abs/1903.10561). N embeddings of width D.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bias.relabelling import relabellings

Array = NDArray[np.float64]
_PARTS = ("targ1", "targ2", "attr1", "attr2")
_MOST = 20_000  # partitions: all of them up to 8 targets against 8
_RESAMPLES = 2000


class AssociationTest(NamedTuple):
    """Two sets of targets, two of attributes; each a category and its examples."""

    name: str
    categories: tuple[str, str, str, str]
    examples: tuple[list[str], list[str], list[str], list[str]]


class Association(NamedTuple):
    """Effect size d with its 95% interval, and the one-sided permutation p."""

    d: float
    low: float
    high: float
    p: float
    exact: bool
    targets: int
    detectable: float


def read_test(path: Path) -> AssociationTest:
    """A file of the sent-bias repository (JSON, whatever its ending says).

    Raises:
        ValueError: not such a file, or a set with fewer than two examples; one line.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        parts = [(raw[part]["category"], list(raw[part]["examples"])) for part in _PARTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a WEAT or SEAT test ({type(error).__name__}: {error}); expected JSON "
            f"with {', '.join(_PARTS)}, each with category and examples"
        ) from None
    for category, examples in parts:
        if len(examples) < 2:
            raise ValueError(
                f"{path}: {category} has {len(examples)} examples; expected 2 at least"
            )
    (x, y, a, b) = parts
    return AssociationTest(
        path.name.removesuffix(".jsonl"), (x[0], y[0], a[0], b[0]), (x[1], y[1], a[1], b[1])
    )


def associations(targets: Array, attributes_a: Array, attributes_b: Array) -> Array:
    """s(w, A, B) (N,): the mean cosine of each target with A less that with B."""
    a, b = _unit(attributes_a), _unit(attributes_b)
    unit = _unit(targets)
    return np.asarray((unit @ a.T).mean(axis=1) - (unit @ b.T).mean(axis=1))


def effect_size(x: Array, y: Array) -> float:
    """Caliskan et al.'s d from the associations of the two target sets: the difference of their
    means over the standard deviation (n - 1) of all of them; 0 where nothing varies."""
    spread = float(np.concatenate([x, y]).std(ddof=1))
    return float(x.mean() - y.mean()) / spread if spread > 0 else 0.0


def associate(x: Array, y: Array, a: Array, b: Array, seed: int = 0) -> Association:
    """Embeddings (N, D) of targets X and Y and attributes A and B.

    p is the share of partitions of the targets into sets of these sizes whose difference is as
    large: exact where there are at most 20,000 of them, else from as many drawn at random, the
    observed one among them. The interval is a bootstrap over targets.
    """
    first, second = associations(x, a, b), associations(y, a, b)
    weights, exact = relabellings(len(first), len(second), aligned=False, most=_MOST, seed=seed)
    drawn = weights @ np.concatenate([first, second])
    p = float(np.mean(drawn >= drawn[0] - 1e-12 * max(1.0, abs(drawn[0]))))
    random = np.random.default_rng(seed)
    sizes = [
        effect_size(random.choice(first, len(first)), random.choice(second, len(second)))
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(sizes, [0.025, 0.975])
    # For two groups of these sizes, 80% power at 5%, two-sided; d is in standard deviations.
    detectable = 2.8 * float(np.sqrt(1 / len(first) + 1 / len(second)))
    return Association(
        d=effect_size(first, second),
        low=float(low),
        high=float(high),
        p=p,
        exact=exact,
        targets=len(first) + len(second),
        detectable=detectable,
    )


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
