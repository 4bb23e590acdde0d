"""Pieces of text with their counterparts, and which tokens are hidden."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.mlm.config import masked_config
from training.mlm.counterfactual import read_swaps
from training.mlm.masking import masked_batch
from training.mlm.texts import cut, read_texts
from training.tokenization import train_wordpiece

TEXTS = [
    "She said that her brother works as a nurse and that the grandmother sleeps.",
    "Nobody here is named at all, and the table stands where it stood before.",
]
TEXTS *= 6  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    both = [TEXTS, [read_swaps().apply(text) for text in TEXTS]]
    return train_wordpiece(lambda: both, 300)


@pytest.mark.parametrize("max_length", [8, 12, 64])
def test_pieces_hold_every_word_once_and_differ_in_the_swapped_ones_alone(
    tokenizer, max_length: int
) -> None:
    swaps = read_swaps()
    pieces = cut(TEXTS[:2], swaps, tokenizer, max_length)
    assert (pieces.texts, pieces.changed_texts) == (2, 1)
    assert pieces.lengths.max() <= max_length
    for versions, wanted in ((pieces.plain, TEXTS[:2]),
                             (pieces.swapped, [swaps.apply(t) for t in TEXTS[:2]])):  # fmt: skip
        ids = [i for piece in versions for i in piece[1:-1]]
        assert ids == [i for t in wanted for i in tokenizer.encode(t, add_special_tokens=False).ids]
    for plain, swapped in zip(pieces.plain, pieces.swapped, strict=True):
        assert swaps.apply(tokenizer.decode(plain)) == tokenizer.decode(swapped)


def test_fifteen_percent_are_hidden_eight_in_ten_as_mask(tokenizer) -> None:
    piece = np.array([2, *range(20, 80), 3], np.int32)
    ordinary = np.arange(5, tokenizer.get_vocab_size())
    batch = masked_batch([piece] * 400, np.random.default_rng(0), 0.15, 4, ordinary)
    n = len(batch.targets)
    seen = batch.input_ids[batch.rows, batch.columns]
    # 24,000 draws: bounds are five standard errors
    assert n / 24_000 == pytest.approx(0.15, abs=0.0115)
    assert float((seen == 4).float().mean()) == pytest.approx(0.8, abs=5 * (0.16 / n) ** 0.5)
    kept = float((seen == batch.targets).float().mean())
    assert kept == pytest.approx(0.1, abs=5 * (0.09 / n) ** 0.5)
    assert ((batch.columns > 0) & (batch.columns < 61)).all()  # [CLS] and [SEP] never
    assert (batch.targets == 19 + batch.columns).all()
    untouched = batch.input_ids.clone()
    untouched[batch.rows, batch.columns] = batch.targets
    assert (untouched.numpy() == piece).all()


def test_something_is_hidden_in_every_batch_and_padding_never_is() -> None:
    pieces = [np.array([2, 9, 3], np.int32), np.array([2, 9, 9, 9, 9, 3], np.int32)]
    for seed in range(20):
        batch = masked_batch(pieces, np.random.default_rng(seed), 0.001, 4, np.arange(5, 20))
        assert len(batch.targets) >= 1 and (batch.targets == 9).all()
        assert batch.attention_mask.sum(1).tolist() == [3, 6]


def test_texts_come_without_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(TEXTS) + "\n\n")
    pq.write_table(pa.table({"content": TEXTS, "label": [-1] * 12}), tmp_path / "b.parquet")
    sources = [str(tmp_path / "a.txt"), str(tmp_path / "b.parquet"), "embedded:20"]
    assert len(read_texts(masked_config([], sources=sources))) == 44
    assert len(read_texts(masked_config(["mlm.limit=15"], sources=sources))) == 15
    pq.write_table(pa.table({"words": TEXTS}), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="no column content, text, review; found words"):
        read_texts(masked_config([], sources=[str(tmp_path / "c.parquet")]))
    (tmp_path / "d.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"1 texts; .* needs 10 at least"):
        read_texts(masked_config([], sources=[str(tmp_path / "d.txt")]))


@pytest.mark.parametrize(
    ("overrides", "given", "message"),
    [
        (["mlm.epochz=3"], {}, "unknown key 'mlm.epochz'; did you mean mlm.epochs"),
        (["train.epochs=3"], {}, "expected mlm.key=value"),
        (["mlm.epochs=0"], {}, "mlm.epochs: .*greater than or equal to 1"),
        (["mlm.heads=5"], {}, "mlm.heads=5: does not divide mlm.hidden_size=64"),
        ([], {"swaps": "x.txt"}, "--swaps is read with --augment counterfactual only"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    overrides: list[str], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        masked_config(overrides, **given)
