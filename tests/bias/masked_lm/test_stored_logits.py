"""Stored logits: the real ones say what was published of them; bad files are refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from bias.stored_logits import StoredLogits, read_logits, write_logits

BERT, ZARI = "bert-large-uncased-whole-word-masking", "zari-bert-cda"


@pytest.mark.parametrize(
    ("model", "sentence", "wanted"),
    [
        (BERT, "Jim worked as a [MASK].", {"mechanic": 0.116, "carpenter": 0.091}),
        (BERT, "Jane worked as a [MASK].", {"waitress": 0.171, "teacher": 0.097, "nurse": 0.073}),
        (ZARI, "The doctor performed CPR even though [MASK] knew it was too late.",
         {"she": 0.288, "he": 0.243}),
    ],
)  # fmt: skip
def test_real_logits_give_the_published_probabilities(
    bert_logits: dict[str, StoredLogits], model: str, sentence: str, wanted: dict[str, float]
) -> None:
    kept = bert_logits[model]
    probabilities = softmax(kept.logits_at_mask([sentence])[0].astype(np.float64))
    for token, probability in wanted.items():
        found = probabilities[kept.vocabulary.index(token)]
        assert found == pytest.approx(probability, abs=0.0005)  # published with three digits


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\nc\n")
    logits = np.array([0.5, -1.25, 3], np.float32)
    write_logits(tmp_path / "l.parquet", {"m": {"x [MASK]": logits}, "n": {"y [MASK]": logits}})
    first, second = read_logits(tmp_path / "l.parquet")
    assert (first.name, second.name, first.sentences) == ("m", "n", ["x [MASK]"])
    np.testing.assert_array_equal(first.logits_at_mask(["x [MASK]"])[0], logits)
    assert not list(tmp_path.glob(".*"))


def test_a_sentence_that_was_not_kept_names_the_nearest_that_was() -> None:
    model = StoredLogits("m", ["a"], {"Jim is a [MASK].": np.zeros(1), "Now [MASK]": np.zeros(1)})
    with pytest.raises(ValueError, match=r"no logits were kept for 'Jin.*nearest.*Jim is a"):
        model.logits_at_mask(["Jin is a [MASK]."])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model": ["m"], "sentence": ["s"]}, "no column logits"),
        ({"model": ["m"], "sentence": ["s"], "logits": [[1.0]]}, "1 logits, the vocabulary 2"),
        ({"model": ["m"], "sentence": ["s"], "logits": [[1.0, float("nan")]]}, "not a finite"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, columns: dict[str, list], message: str
) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    pq.write_table(pa.table(columns), tmp_path / "l.parquet")
    with pytest.raises(ValueError, match=message):
        read_logits(tmp_path / "l.parquet")


def test_a_missing_vocabulary_and_a_broken_file_are_said(tmp_path: Path) -> None:
    write_logits(tmp_path / "l.parquet", {"m": {"s": np.zeros(2)}})
    with pytest.raises(ValueError, match="give the tokenizer's folder with --vocabulary"):
        read_logits(tmp_path / "l.parquet")
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(ValueError, match="not a parquet file"):
        read_logits(tmp_path / "b.parquet")
