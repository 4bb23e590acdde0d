"""Texts without labels from files and folders of every kind that is taken."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.unlabelled import unlabelled_split


def _texts(given, text: str = "title+content") -> list[str]:
    stretches = list(unlabelled_split(str(given)).read(text))
    assert all((reviews.labels == -1).all() for reviews in stretches)
    return [text for reviews in stretches for text in reviews.texts]


def test_a_folders_unsupervised_file_is_read_and_its_labels_are_not(tmp_path) -> None:
    table = pa.table({"label": [-1, 7], "title": ["good", None], "content": ["one", "two"]})
    pq.write_table(table, tmp_path / "unsupervised-00000.parquet")
    (tmp_path / "train.csv").write_text("label,content\n0,never read\n")
    assert _texts(tmp_path) == ["good\none", "two"]
    assert _texts(tmp_path, "content") == ["one", "two"]
    assert _texts(tmp_path, "title") == ["good", ""]


def test_a_text_file_is_one_text_a_line(tmp_path) -> None:
    (tmp_path / "x.txt").write_text("first\nsecond\n")
    assert _texts(tmp_path / "x.txt") == ["first", "second"]


def test_a_labelled_source_gives_its_training_texts(tmp_path) -> None:
    (tmp_path / "train.csv").write_text("label,content\n0,bad\n1,good\n")
    (tmp_path / "test.csv").write_text("label,content\n0,held out\n")
    assert _texts(tmp_path) == ["bad", "good"]
    assert len(_texts("embedded:20")) == 20


def test_the_identity_changes_with_the_file(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("one\n")
    before = unlabelled_split(str(path)).identity
    path.write_text("one\ntwo\n")
    assert unlabelled_split(str(path)).identity != before


def test_what_holds_no_texts_is_named(tmp_path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column content"):
        _texts(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(ValueError, match="not a parquet file"):
        _texts(tmp_path / "b.parquet")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        _texts(tmp_path / "missing.csv")
