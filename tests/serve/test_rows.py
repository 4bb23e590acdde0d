"""Files of rows: what is in a field stays in it, and what is no row is one line that names it."""

from pathlib import Path

import pytest

from serve.predict_command import main
from serve.rows import RowWriter, read_rows, whole_bytes


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\n\r"])
@pytest.mark.parametrize("place", ["{}a", "a{}b", "a{}"])
def test_a_line_end_of_any_kind_in_a_text_stays_in_it(tmp_path: Path, end: str, place: str) -> None:
    rows = [{"id" + end: end, "text": place.format(end)} for _ in range(5)]
    path = tmp_path / "out.csv"
    for part in (rows[:2], rows[2:]):  # the second finds the header, whatever is in it
        with RowWriter(path) as sink:
            sink.write(part)
    assert list(read_rows(path)) == rows
    assert b"\r\n" not in path.read_bytes().replace(end.encode(), b"")
    assert whole_bytes(path.read_bytes(), ".csv") == path.stat().st_size


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ('id,text\n1,"nice" book\n', "row 1: not CSV"),
        ('id,text\n1,good\n2,"nice" book\n', "row 2: not CSV"),
        ('id,text\n1,good\n2,"never closed\n3,bad\n', "row 2: not CSV"),
        ('id,"te"xt\n1,good\n', "row 1: not CSV"),
        ("text,id,text,id\ngood,1,bad,2\n", "'text', 'id' more than once in the header"),
    ],
)
def test_what_is_no_csv_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, row: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_text(content)
    assert main([str(source), str(tmp_path / "out.csv"), "--bundle", str(bundle)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"in.csv: {row}" in line


@pytest.mark.parametrize("target", ["out.csv", "out.jsonl"])
@pytest.mark.parametrize(
    ("name", "row", "named"),
    [
        ("in.jsonl", b'{"text": "a \\ud83d book"}', "row 3, column text: a lone surrogate"),
        ("in.jsonl", b'{"text": "a", "by": {"x": ["\\uDE00"]}}', "row 3, column by: a lone"),
        ("in.jsonl", b'{"text": "a", "\\ud800": 1}', "row 3, column \\ud800: a lone surrogate"),
        ("in.jsonl", b'{"text": "a", "n": [-1e400]}', "row 3: -1e400 is more than a float holds"),
        ("in.jsonl", b'{"text": "caf\xe9"}', "not UTF-8: byte 0xe9 of line 3"),
        ("in.jsonl", b'{"text": ' + b"[" * 100_000, "row 3: not a JSON object"),
        ("in.csv", b"caf\xe9", "not UTF-8: byte 0xe9 of line 3"),
    ],
)
def test_what_is_no_text_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, name: str,
    row: bytes, named: str,
) -> None:  # fmt: skip
    source, out = tmp_path / name, tmp_path / target
    good = b'{"text": "a \\ud83d\\ude00 book"}' if name == "in.jsonl" else b"text"
    source.write_bytes(b"\n".join([good, good, row, b""]))
    assert main([str(source), str(out), "--bundle", str(bundle)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: {named}" in line
    assert not out.exists()


def test_characters_that_are_escaped_whole_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a \\ud83d\\ude00 book"}\n')
    assert list(read_rows(path)) == [{"text": "a \N{GRINNING FACE} book"}]
