"""CrowS-Pairs (Nangia et al. 2020): how often the more stereotyped of two sentences is likelier.

Four ways to say how likely a sentence is, all in nats:

cps       log-probabilities of the tokens that both sentences share, masked one by one (Nangia et
          al. 2020, https://arxiv.org/abs/2010.00133)
aul       mean log-probability of all tokens, none masked (Kaneko & Bollegala 2022,
          https://arxiv.org/abs/2104.07496)
aula      the same, weighed by the attention that each token gets
pll       sum over all tokens, masked together with the rest of their word (PLL-word-l2r; Kauf &
          Ivanova 2023, https://arxiv.org/abs/2305.10588)
"""

import csv
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bias.masked_lm import Encoded, LiveModel, Masked

METRICS = ("cps", "aul", "aula", "pll")
_COLUMNS = ("sent_more", "sent_less", "bias_type")
Array = NDArray[np.float64]
Advance = Callable[[int], None]


class Pair(NamedTuple):
    """`more` says the stereotype of a minoritised group, `less` the same of another one; in pairs
    against the stereotype, `more` is still the sentence about the minoritised group."""

    more: str
    less: str
    kind: str


def read_pairs(path: Path) -> list[Pair]:
    """The original file, or a revised one with the same columns.

    Raises:
        ValueError: no such file, a missing column or an empty file; one line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path}: no column {missing[0]}; CrowS-Pairs has {', '.join(_COLUMNS)}"
                )
            pairs = [Pair(*(row[name].strip() for name in _COLUMNS)) for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from None
    if not pairs:
        raise ValueError(f"{path}: no pairs")
    return pairs


def pair_scores(
    model: LiveModel, pairs: Sequence[Pair], metric: str, advance: Advance | None = None
) -> Array:
    """(N, 2): the score of each pair's `more` and `less` under one of `METRICS`."""
    sentences = [sentence for pair in pairs for sentence in (pair.more, pair.less)]
    if metric in ("aul", "aula"):
        scores = _unmasked(model, sentences, metric == "aula", advance)
    else:
        encoded = [model.encode(sentence) for sentence in sentences]
        rows: list[Masked] = []
        owner: list[int] = []
        for i in range(len(pairs)):
            two = encoded[2 * i], encoded[2 * i + 1]
            for side in (0, 1):
                made = (
                    _shared_token_rows(two[side], two[1 - side], model.mask_id)
                    if metric == "cps"
                    else _word_rows(two[side], model.mask_id)
                )
                rows += made
                owner += [2 * i + side] * len(made)
        summed = model.score(rows, advance)
        scores = np.bincount(owner, summed, len(sentences)).astype(np.float64)
    return scores.reshape(-1, 2)


def stereotyped(scores: Array) -> Array:
    """(N,): 1 where the first is likelier, 0 where the second is, 1/2 for a tie.

    Ties count half, so that a model that cannot tell the two apart scores 50, not 0.
    """
    difference = scores[:, 0] - scores[:, 1]
    # Sums of the same numbers in another order differ by rounding.
    tie = np.abs(difference) <= 1e-9 * np.abs(scores).max(axis=1)
    return np.where(tie, 0.5, (difference > 0).astype(np.float64))


def forward_passes(model: LiveModel, pairs: Sequence[Pair], metric: str) -> int:
    """How many rows the model will read, for the progress bar."""
    if metric in ("aul", "aula"):
        return 2 * len(pairs)
    encoded = [(model.encode(pair.more), model.encode(pair.less)) for pair in pairs]
    if metric == "cps":
        return sum(2 * len(_shared(a.input_ids, b.input_ids)[0]) for a, b in encoded)
    return sum(len(each.input_ids) - 2 for two in encoded for each in two)


def _unmasked(
    model: LiveModel, sentences: Sequence[str], weighed: bool, advance: Advance | None
) -> Array:
    scores = []
    for read in model.read_unmasked(sentences, advance):
        values = read.log_probabilities * (read.attention if weighed else 1.0)
        scores.append(float(values.mean()))
    return np.array(scores)


def _shared_token_rows(own: Encoded, other: Encoded, mask_id: int) -> list[Masked]:
    ids = own.input_ids
    positions, _ = _shared(ids, other.input_ids)
    return [Masked((*ids[:at], mask_id, *ids[at + 1 :]), at, ids[at]) for at in positions]


def _shared(a: Sequence[int], b: Sequence[int]) -> tuple[list[int], list[int]]:
    """Positions of the tokens that both have, without [CLS] and [SEP]."""
    left: list[int] = []
    right: list[int] = []
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, a_start, a_end, b_start, b_end in matcher.get_opcodes():
        if tag == "equal":
            left += range(a_start, a_end)
            right += range(b_start, b_end)
    return left[1:-1], right[1:-1]


def _word_rows(own: Encoded, mask_id: int) -> list[Masked]:
    """Each token masked together with the later tokens of its word."""
    ids, words = own
    rows = []
    for at in range(1, len(ids) - 1):
        hidden = {i for i in range(at, len(ids)) if words[i] == words[at] and words[i] is not None}
        hidden.add(at)
        seen = tuple(mask_id if i in hidden else token for i, token in enumerate(ids))
        rows.append(Masked(seen, at, ids[at]))
    return rows
