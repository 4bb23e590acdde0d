"""Files of reviews: what every format gives, and where a bad one stops."""

import bz2
import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.formats import read_file

ROWS = [(1, "Great", "I loved it,\nall of it"), (0, "", 'A "quoted" word'), (1, "Ünï", "")]
JOINED = ["Great\nI loved it,\nall of it", 'A "quoted" word', "Ünï"]


def _read(path: Path, text: str = "title+content") -> tuple[list[str], list[int]]:
    stretches = list(read_file(path, text))
    return [t for s in stretches for t in s.texts], [int(n) for s in stretches for n in s.labels]


def _csv(rows: list[tuple[object, ...]], separator: str = ",", header: bool = True) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    if header:
        writer.writerow(["label", "title", "content"][: len(rows[0])])
    writer.writerows(rows)
    return out.getvalue().encode()


def _json_lines(rows: list[tuple[int, str, str]]) -> bytes:
    objects = [dict(zip(("label", "title", "content"), row, strict=True)) for row in rows]
    return "".join(json.dumps(entry) + "\n" for entry in objects).encode()


def _parquet(rows: list[tuple[int, str, str]]) -> bytes:
    columns = [list(column) for column in zip(*rows, strict=True)]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns, names=["label", "title", "content"]), sink)
    return sink.getvalue()


FILES = {
    "a.csv": _csv(ROWS),
    "a.tsv": _csv(ROWS, "\t"),
    "a.jsonl": _json_lines(ROWS),
    "a.parquet": _parquet(ROWS),
}
PACKERS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("name", FILES)
def test_the_same_reviews_come_out_of_every_format(tmp_path: Path, name: str, packing: str) -> None:
    path = tmp_path / f"{name}{packing}"
    path.write_bytes(PACKERS[packing](FILES[name]))
    assert _read(path) == (JOINED, [1, 0, 1])
    assert _read(path, "title") == (["Great", "", "Ünï"], [1, 0, 1])
    assert _read(path, "content") == ([row[2] for row in ROWS], [1, 0, 1])


def test_a_csv_without_header_is_the_original_set_with_labels_one_and_two(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(b'"2","Good","He said ""yes"""\n"1","Bad","No, never"\n')
    assert _read(path) == (['Good\nHe said "yes"', "Bad\nNo, never"], [1, 0])


def test_fasttext_lines_have_labels_one_and_two(tmp_path: Path) -> None:
    path = tmp_path / "train.ft.txt.bz2"
    path.write_bytes(bz2.compress("__label__2 Good: ünï\n__label__1 Bad: no\n\n".encode()))
    assert _read(path) == (["Good: ünï", "Bad: no"], [1, 0])


def test_labels_may_be_words_and_content_may_be_called_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tlabel\ttext\n7\tpositive\tyes\n8\tNegative\tno\n", encoding="utf-8")
    assert _read(path) == (["yes", "no"], [1, 0])


# Arrow, like csv.writer, ends records at \r and \n alike; within quotes all is kept. NUL and lone
# surrogates are in no real file.
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


# on a busy machine one example may take any time
@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([0, 1]), _TEXTS, _TEXTS), min_size=1, max_size=8))
def test_any_text_survives_csv_and_json(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    expected = [f"{t}\n{c}" if t and c else t + c for _, t, c in rows]
    for name, data in {"a.csv": _csv(rows), "a.jsonl": _json_lines(rows)}.items():
        (folder / name).write_bytes(data)
        assert _read(folder / name) == (expected, [row[0] for row in rows])


def test_a_long_file_is_read_in_stretches_and_counted_across_them(tmp_path: Path) -> None:
    rows = [(i % 2, "t", f"review {i}") for i in range(5000)]
    for name, data in {"a.csv": _csv(rows), "a.jsonl": _json_lines(rows)}.items():
        (tmp_path / name).write_bytes(data)
        texts, labels = _read(tmp_path / name, "content")
        assert texts == [row[2] for row in rows] and labels == [row[0] for row in rows]
    (tmp_path / "b.csv").write_bytes(_csv([*rows, (3, "t", "c")]))
    with pytest.raises(ValueError, match=r"row 5001, column label: found '3'"):
        _read(tmp_path / "b.csv")


BAD = {
    "no-label.csv": (b"score,content\n1,a\n", "no column label; columns found: score, content"),
    "no-content.csv": (b"label,body\n1,a\n", r"no column content .* found: label, body"),
    "twice.csv": (b"label,content,label\n1,a,0\n", "column label occurs more than once"),
    "empty.csv": (b"", "no column label; columns found: none"),
    "label.csv": (b"label,content\n1,a\n2,b\n", "row 2, column label: found '2'; expected 0 or 1"),
    "zero.csv": (b'"2","t","a"\n"0","t","b"\n', r"row 2, column label: found '0'; expected 1 "),
    "null.csv": (b"label,content\n1,a\n,b\n", "row 2, column label: found ''; expected 0 or 1"),
    "wide.csv": (b"label,content\n1,a\n0,b\n0,c,d\n", "row 3: found 3 columns; expected 2"),
    "wide-headless.csv": (b"1,t,a\n2,u,b,c\n", "row 2: found 4 columns; expected 3"),
    "quote.csv": (b'label,content\n1,a\n1,"b\n1,c\n0,d\n', "row 2: a quote is opened and never"),
    # an inch mark makes the quotes even in number, and no quote less open
    "even.csv": (b'label,content\n1,40" wide\n0,"b\nc\n', "row 2: a quote is opened and never"),
    "middle.csv": (b'label,title,content\n1,t,a\n0,"b,c\n', "row 2: a quote is opened and never"),
    "huge.csv": (b'"2","t","' + b"x" * (1 << 20) + b'y"\n', "the first row: field larger than"),
    "long.csv": (
        b"label,content\n1,a\n0," + b"x" * (3 << 20) + b"\n",
        "a row of over a megabyte: shorten its text, or close the quote",
    ),
    "semicolons.csv": (b"label;content\n1;a\n", "parted by ';'; expected commas in a .csv"),
    "tabs.csv": (b"label\tcontent\n1\ta\n", r"parted by '\\t'; expected commas in a .csv"),
    "commas.tsv": (b"label,content\n1,a\n", "parted by ','; expected commas in a .csv, tabs in"),
    "utf16.csv": ("label,content\n1,a\n".encode("utf-16"), "is in UTF-16; write it in UTF-8"),
    "bytes.csv": (
        b"label,content\n1,a\n1,b\xe9\n",
        "row 2, column content: found byte 0xe9 at position 1; expected UTF-8",
    ),
    "null.jsonl": (b'{"label": 1, "content": null}\n', "line 1, column content: found null"),
    "missing.jsonl": (
        b'{"label": 1, "content": "a"}\n{"label": 0}\n',
        "line 2, column content: found no such key",
    ),
    "number.jsonl": (b'{"label": 1, "content": 5}\n', "line 1, column content: found int 5"),
    "true.jsonl": (b'{"label": true, "content": "a"}\n', "line 1, column label: found True"),
    "array.jsonl": (b'[{"label": 1}]\n', "line 1.*found a list; expected a JSON object a line"),
    "surrogate.jsonl": (
        b'{"label": 1, "content": "ab\\ud800"}\n',
        r"line 1, column content: found \\ud800 at position 2.*expected Unicode text",
    ),
    # 40 bytes of it are shown, which end within a character
    "half.jsonl": (b'{"label": 1, "content": "aaaaaaaaaaaaaa\xc3\xa9', "line 1.*a JSON object"),
    "cut.jsonl": (b'{"label": 1, "content": "a"}\n{"lab', "line 2.*expected a JSON object a line"),
    "bytes.jsonl": (b'{"label": 1, "content": "\xff"}\n', "line 1.*byte 0xff; expected UTF-8"),
    "deep.jsonl": (b'{"label": ' + b"[" * 100_000, "line 1.*too deeply nested; expected a JSON"),
    "blank.jsonl": (
        b'{"label": 1, "content": "a"}\n\n{"label": 1, "content": "a"}\n',
        "line 2 is blank",
    ),
    "label.txt": (b"__label__2 a\n__label__3 b\n", "line 2, column label: found '3'; expected 1"),
    "mark.txt": (b"__label__2 a\nplain text\n", "line 2, column label: found 'plain text'"),
    "bytes.txt": (b"__label__2 \xff\n", "line 1, column content: found byte 0xff"),
    "cut.csv.gz": (gzip.compress(_csv(ROWS * 9))[:-12], "damaged or cut off"),
    "none.csv.gz": (b"label,content\n1,a\n", "damaged or cut off"),
    "none.jsonl.bz2": (b'{"label": 1, "content": "a"}\n', "cannot be read: Invalid data stream"),
    "none.parquet": (b"label,content\n1,a\n", "cannot be read"),
    "a.xlsx": (b"", r"unknown extension '.xlsx'; known: .parquet, .csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_with_where_what_and_what_was_expected(tmp_path: Path, name: str) -> None:
    data, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        _read(path)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_quote_inside_an_unquoted_field_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for end in ("", "\n", "\r\n\r\n"):
        path.write_text(f'label,content\n1,40" wide\n0,"two\nlines"{end}', newline="")
        assert _read(path) == (['40" wide', "two\nlines"], [1, 0])


@pytest.mark.parametrize("packing", PACKERS)
def test_csv_lines_may_end_as_on_an_old_mac(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"a.csv{packing}"
    path.write_bytes(PACKERS[packing](b'label,content\r1,a\r0,"b\rc"\r'))
    assert _read(path) == (["a", "b\rc"], [1, 0])
    path.write_bytes(PACKERS[packing](b'"2","t","a"\r"1","u","b"\r'))
    assert _read(path) == (["t\na", "u\nb"], [1, 0])


def test_a_field_may_be_longer_than_the_csv_module_takes_by_default(tmp_path: Path) -> None:
    long, limit = "x" * 200_000, csv.field_size_limit()
    (tmp_path / "a.csv").write_text(f'"2","t","{long}"\n"1","u","b"\n')
    assert _read(tmp_path / "a.csv", "content") == ([long, "b"], [1, 0])
    assert csv.field_size_limit() == limit  # other code of the process has its own


@pytest.mark.parametrize("lines", [2047, 2048])
def test_blank_lines_at_the_end_may_cross_a_stretch(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("__label__2 a\n" * lines + "\n" * 2100)
    assert len(_read(path)[0]) == lines


def test_a_bad_parquet_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"label": [1, 0, 7], "content": ["a", "b", "c"]}), path)
    with pytest.raises(ValueError, match="row 3, column label: found 7"):
        _read(path)
    pyarrow.parquet.write_table(pa.table({"label": [1, 0], "content": ["a", None]}), path)
    with pytest.raises(ValueError, match="row 2, column content: found null"):
        _read(path)
    broken = pa.array([b"fine", b"\xff"]).cast(pa.string(), safe=False)
    pyarrow.parquet.write_table(pa.table({"label": [1, 0], "content": broken}), path)
    with pytest.raises(ValueError, match="row 2, column content: found byte 0xff"):
        _read(path)


@pytest.mark.parametrize(
    ("name", "data"), [("a.csv", b"label,content\n1,a\n"), ("a.txt", b"__label__2 a\n")]
)
def test_titles_alone_are_refused_where_there_are_none(
    tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"text=title, but .*use text=content"):
        _read(path, "title")
