"""Texts without labels from files and folders of every kind that is taken."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.formats import read_file
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


def test_a_text_file_may_begin_with_a_byte_order_mark_and_have_blank_lines(tmp_path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbffirst\r\n\r\n\nsecond")
    assert _texts(tmp_path / "x.txt") == ["first", "second"]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["reviews.txt", "unsupervised.txt"])
def test_a_labelled_text_file_gives_its_texts_without_the_labels(tmp_path, name, start) -> None:
    path = tmp_path / name
    path.write_bytes(start + b"__label__2 fine\n__label__1 broke\n")
    given = path if name == "reviews.txt" else tmp_path
    assert _texts(given) == ["fine", "broke"]
    assert _texts(given) == [text for r in read_file(path, "title+content") for text in r.texts]


def test_binary_text_in_parquet_is_decoded(tmp_path) -> None:
    table = pa.table({"text": pa.array(["ünï".encode(), None], pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert _texts(tmp_path / "a.parquet") == ["ünï", ""]


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
    for content in (b"", b"\n \n"):
        (tmp_path / "c.txt").write_bytes(content)
        with pytest.raises(ValueError, match=r"c\.txt: no texts; expected at least one"):
            _texts(tmp_path / "c.txt")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        _texts(tmp_path / "missing.csv")


def test_a_text_that_cannot_be_read_is_named_with_its_row(tmp_path) -> None:
    (tmp_path / "x.txt").write_bytes(b"fine\n\ncaf\xe9\n")
    with pytest.raises(ValueError, match=r"x\.txt: line 3, column text: found byte 0xe9 at"):
        _texts(tmp_path / "x.txt")
    pq.write_table(pa.table({"text": [5]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: row 1, column text: found int 5; expected"):
        _texts(tmp_path / "a.parquet")
    pq.write_table(
        pa.table({"text": pa.array([b"a", b"\xff"], pa.binary())}), tmp_path / "a.parquet"
    )
    with pytest.raises(ValueError, match=r"a\.parquet: row 2, column text: found byte 0xff"):
        _texts(tmp_path / "a.parquet")
