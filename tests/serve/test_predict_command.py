"""Predictions for files: rows kept, stopped and gone on with, mistakes named."""

import contextlib
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import predict_command
from serve.client import RequestRefused
from serve.origin import origin_path
from serve.predict_command import main, predict_file
from serve.rows import read_rows


class Lengths:
    """Says of a text that it is positive by its length in thousandths; counts what it is asked."""

    labels = ["negative", "positive"]  # noqa: RUF012

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked, self.fail_after = 0, fail_after

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        if self.fail_after is not None and self.asked + len(texts) > self.fail_after:
            raise KeyboardInterrupt
        self.asked += len(texts)
        positive = np.array([len(text) / 1000 for text in texts])
        return np.stack([1 - positive, positive], axis=1)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_command, "BLOCK", 4)


ORIGIN = {"url": "http://127.0.0.1:8080/predictions/lengths/1.0"}
ROWS = [{"id": str(i), "text": 'a "quoted"\nline,\r ' * (i % 3) + "x" * (i + 1)} for i in range(11)]


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl"])
def test_a_column_that_the_prediction_would_replace_is_refused(tmp_path: Path, source: str) -> None:
    rows = [{"text": "good", "predicted_label": "mine"}]
    path = write(tmp_path / source, rows)
    with pytest.raises(ValueError, match="has predicted_label, which OUT's"):
        predict_file(Lengths(), path, tmp_path / "out.csv", ORIGIN)
    out = tmp_path / "out.csv"
    assert not out.exists() or out.read_bytes() == b""
    assert list(read_rows(path)) == rows


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl"])
def test_every_row_is_kept_and_gets_its_prediction(
    tmp_path: Path, source: str, target: str
) -> None:
    written = predict_file(Lengths(), write(tmp_path / source, ROWS), tmp_path / target, ORIGIN)
    found = list(read_rows(tmp_path / target))
    assert written == len(found) == len(ROWS)
    for row, out in zip(ROWS, found, strict=True):
        positive = len(row["text"]) / 1000
        assert {name: out[name] for name in row} == row
        assert float(out["probability_positive"]) == positive
        assert out["predicted_label"] == "negative"
        assert float(out["predicted_score"]) == 1 - positive


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(data=st.data())
def test_a_run_cut_off_at_any_byte_ends_as_one_that_was_not(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    source, whole, cut = write(tmp_path / "in.csv", ROWS), tmp_path / f"w{name}", tmp_path / name
    whole.unlink(missing_ok=True)
    predict_file(Lengths(), source, whole, ORIGIN)
    expected = whole.read_bytes()
    origin_path(whole).replace(origin_path(cut))
    cut.write_bytes(expected[: data.draw(st.integers(0, len(expected)))])
    predict_file(Lengths(), source, cut, ORIGIN)
    assert cut.read_bytes() == expected


def test_what_was_written_is_not_asked_again(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(Lengths(fail_after=8), source, target, ORIGIN)
    again = Lengths()
    predict_file(again, source, target, ORIGIN)
    assert again.asked == len(ROWS) - 8
    finished = Lengths()
    predict_file(finished, source, target, ORIGIN)
    assert finished.asked == 0


def test_the_command_scores_a_file_by_a_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.csv", [{"review": "very good"}, {"review": "bad book"}])
    target = tmp_path / "out.jsonl"
    arguments = [str(source), str(target), "--bundle", str(bundle), "--column", "review"]
    assert main(arguments) == 0
    assert [row["predicted_label"] for row in read_rows(target)] == ["positive", "negative"]
    assert "2 rows" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (ROWS[:3], "row 4 is of another file"),
        (ROWS[1:] + ROWS, "row 1 is"),
        ([*ROWS[:2], ROWS[2] | {"id": "x"}, *ROWS[3:]], "row 3 is"),
        ([{"number": row["id"], "text": row["text"]} for row in ROWS], "row 1 is"),
    ],
)
def test_the_output_of_another_file_is_not_gone_on_with(
    tmp_path: Path, name: str, rows: list[dict[str, str]], named: str
) -> None:
    target = tmp_path / name
    predict_file(Lengths(), write(tmp_path / "this.csv", ROWS), target, ORIGIN)
    before = target.read_bytes()
    with pytest.raises(ValueError, match="another file") as caught:
        predict_file(Lengths(), write(tmp_path / "that.csv", rows), target, ORIGIN)
    assert named in str(caught.value) and "that.csv" in str(caught.value)
    assert target.read_bytes() == before


def test_rows_added_to_the_input_are_added_to_the_output(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    predict_file(Lengths(), write(tmp_path / "in.csv", ROWS[:6]), target, ORIGIN)
    grown = Lengths()
    predict_file(grown, write(tmp_path / "in.csv", ROWS), target, ORIGIN)
    assert (grown.asked, len(list(read_rows(target)))) == (len(ROWS) - 6, len(ROWS))


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
def test_values_of_every_kind_are_known_again(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / name
    values = ["1", "1.0", "true", "null", "NaN", "1e300", '[1, {"a": "b"}]', '" \\r\\n\\""']
    source.write_text("".join(f'{{"v": {value}, "text": "é"}}\n' for value in values))
    predict_file(Lengths(), source, target, ORIGIN)
    whole = target.read_bytes()
    target.write_bytes(whole[:-1])
    predict_file(Lengths(), source, target, ORIGIN)
    assert target.read_bytes() == whole


def test_a_csv_has_the_json_of_what_is_no_text(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"text": "a", "tags": ["é", {"x": null}], "seen": true, "by": null}\n')
    predict_file(Lengths(), source, target, ORIGIN)
    (row,) = read_rows(target)
    assert json.loads(row["tags"]) == ["é", {"x": None}]
    assert (row["seen"], row["by"]) == ("true", "")


def test_two_do_not_write_one_file(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"

    class Meanwhile(Lengths):
        def predict(self, texts: Sequence[str]) -> np.ndarray:
            with pytest.raises(ValueError, match=r"out\.csv: another process is writing there"):
                predict_file(Lengths(), source, target, ORIGIN)
            return super().predict(texts)

    predict_file(Meanwhile(), source, target, ORIGIN)
    assert [row["id"] for row in read_rows(target)] == [row["id"] for row in ROWS]


def test_the_header_alone_is_not_gone_on_with(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    predict_file(Lengths(), source, target, ORIGIN)
    target.write_bytes(target.read_bytes().splitlines(keepends=True)[0])
    other = [{"text": row["text"], "id": row["id"]} for row in ROWS]
    predict_file(Lengths(), write(tmp_path / "in.csv", other), target, ORIGIN)
    assert [(row["id"], row["text"]) for row in read_rows(target)] == [
        (row["id"], row["text"]) for row in ROWS
    ]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
@pytest.mark.parametrize("spelling", ["same", "dots", "symbolic link", "hard link"])
def test_the_input_is_never_written_over(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, spelling: str
) -> None:
    source = tmp_path / f"in{ending}"
    # Without an end of line: a torn row, which going on with a file would cut off.
    before = b'{"text": "a"}' if ending == ".jsonl" else b"text\ngood\nbad"
    source.write_bytes(before)
    target = {"same": source, "dots": tmp_path / "b" / ".." / source.name}.get(
        spelling, tmp_path / f"out{ending}"
    )
    (tmp_path / "b").mkdir()
    if spelling == "symbolic link":
        target.symlink_to(source)
    elif spelling == "hard link":
        target.hardlink_to(source)
    assert main([str(source), str(target), "--bundle", str(bundle)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is IN itself" in line
    assert source.read_bytes() == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("origin", "column", "named"),
    [
        ({"url": "http://127.0.0.1:8080/predictions/lengths/2.0"}, "text", "lengths/2.0"),
        (
            {"bundle": "runs/a", "artefact_sha256": "abc"},
            "text",
            "this run is by bundle runs/a; repeat",
        ),
        (ORIGIN, "id", "by column text, this run is by column id"),
    ],
)
def test_only_what_began_a_file_goes_on_with_it(
    tmp_path: Path, finished: bool, origin: dict[str, str], column: str, named: str
) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    with contextlib.suppress(KeyboardInterrupt):
        predict_file(Lengths(None if finished else 8), source, target, ORIGIN)
    before = target.read_bytes()
    with pytest.raises(ValueError, match="repeat what they are by, or give OUT") as caught:
        predict_file(Lengths(), source, target, origin, column)
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert target.read_bytes() == before
    predict_file(Lengths(), source, target, ORIGIN)
    assert len(list(read_rows(target))) == len(ROWS)


@pytest.mark.parametrize("beside", [None, "", "[]", '{"schema_version": 0}'])
def test_a_file_of_unknown_origin_is_left_as_it_is(tmp_path: Path, beside: str | None) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "notes.jsonl"
    target.write_text("my notes, without a line end")
    if beside is not None:
        origin_path(target).write_text(beside)
    with pytest.raises(ValueError, match="give OUT another name, or remove it"):
        predict_file(Lengths(), source, target, ORIGIN)
    assert target.read_text() == "my notes, without a line end"


def test_a_removed_file_is_begun_by_anything(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    predict_file(Lengths(), source, target, ORIGIN)
    target.unlink()
    assert predict_file(Lengths(), source, target, {"url": "http://other"}) == len(ROWS)
    assert "http://other" in origin_path(target).read_text()


def test_a_bundle_is_known_by_what_it_holds_and_not_by_its_path(
    own_bundle: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), str(tmp_path / "out.csv")
    assert main([str(source), target, "--bundle", str(bundle)]) == 0
    assert main([str(source), target, "--bundle", str(own_bundle)]) == 0  # the same, elsewhere
    assert main([str(source), target, "--bundle", str(bundle), "--backend", "torchscript"]) == 2
    assert "by backend onnx, artefact_sha256 " in capsys.readouterr().err
    origin = Path(f"{target}.origin.json")
    tokenizer = json.loads(origin.read_text())["tokenizer_sha256"]
    origin.write_text(origin.read_text().replace(tokenizer, "0" * 64))
    assert main([str(source), target, "--bundle", str(own_bundle)]) == 2
    assert "tokenizer_sha256" in capsys.readouterr().err


def test_keys_in_another_order_keep_their_columns(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    # The order changes in the second block, which a run of its own goes on with.
    rows = [{"id": str(i), "text": "x" * (i + 1)} for i in range(9)]
    turned = [dict(reversed(row.items())) if i > 3 else row for i, row in enumerate(rows)]
    write(source, turned)
    with pytest.raises(KeyboardInterrupt):
        predict_file(Lengths(fail_after=8), source, target, ORIGIN)
    predict_file(Lengths(), source, target, ORIGIN)
    found = list(read_rows(target))
    assert [{"id": row["id"], "text": row["text"]} for row in found] == rows
    assert [float(row["probability_positive"]) for row in found] == [i / 1000 for i in range(1, 10)]


@pytest.mark.parametrize(
    ("other", "named"), [({"id": "4", "text": "x", "new": "y"}, "new"), ({"text": "x"}, "id")]
)
def test_rows_with_other_keys_make_no_csv(
    tmp_path: Path, other: dict[str, str], named: str
) -> None:
    rows = [*ROWS[:5], other, *ROWS[5:]]
    source, predictor = write(tmp_path / "in.jsonl", rows), Lengths()
    with pytest.raises(ValueError, match=rf"in\.jsonl: row 6: {named}: in this row"):
        predict_file(predictor, source, tmp_path / "out.csv", ORIGIN)
    assert predictor.asked == 0
    assert predict_file(predictor, source, tmp_path / "out.jsonl", ORIGIN) == len(rows)


def test_an_endpoint_whose_labels_changed_shifts_no_column(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_file(Lengths(fail_after=8), source, target, ORIGIN)
    other = Lengths()
    other.labels = ["bad", "good"]
    with pytest.raises(ValueError, match=r"probability_negative.*, not .*probability_bad"):
        predict_file(other, source, target, ORIGIN)
    assert len(list(read_rows(target))) == 8


class Refusing(Lengths):
    """An endpoint's, that takes no long text."""

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        for index, text in enumerate(texts):
            if len(text) > 9:
                raise RequestRefused("10 bytes; cut it", 413, "too_large", "text", index)
        return super().predict(texts)


def test_a_text_that_an_endpoint_refuses_is_named_by_its_row(tmp_path: Path) -> None:
    rows = [{"text": "x" * (10 if i == 6 else 1)} for i in range(9)]
    target = tmp_path / "out.csv"
    with pytest.raises(ValueError, match=r"in\.jsonl: row 7, column text: 10 bytes; cut it"):
        predict_file(Refusing(), write(tmp_path / "in.jsonl", rows), target, ORIGIN)
    assert len(list(read_rows(target))) == 4  # the blocks before it
