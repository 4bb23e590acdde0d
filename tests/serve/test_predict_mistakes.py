"""`python -m serve predict` with wrong input: one line, the right status, and nothing left."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from serve.predict_command import main


def written(path: Path) -> Path:
    path.write_text("text\ngood\nbad\n")
    return path


@pytest.mark.parametrize(
    ("content", "arguments", "named"),
    [
        ('{"text": 1}\n', [], "row 1, column text"),
        ('{"text": "a"}\n{"text": " \\n"}\n', [], "row 2, column text: empty"),
        ('{"text": "a"}\nnonsense\n', [], "row 2: not JSON: Expecting value at character 0"),
        ('{"text": "a"}\n[1]\n', [], "row 2: not a JSON object"),
        ('{"text": "a"}\n\n{"text": null}\n', [], "column text: found null, wanted is a text"),
        ('{"text": "a"}\n{"text": "a\\u0000b"}\n', [], "row 2, column text: a NUL"),
        ('{"text": "a", "text": "b"}\n', [], "row 1: 'text' more than once"),
        ('{"text": "a", "x": {"y": 1, "y": 2}}\n', [], "row 1: 'y' more than once"),
        ('{"text": "a"}\n', ["--token-file", "key.json"], "token_file: is for an endpoint"),
        ('{"review": "a"}\n', [], "--column"),
        ('{"text": "a"}\n', ["--backend", "magic"], "backend"),
        ('{"text": "a"}\n', ["--bundle", "/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    arguments: list[str],
    named: str,
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(content)
    given = [str(source), str(tmp_path / "out.csv"), "--bundle", str(bundle), *arguments]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and named in line


def test_other_files_are_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([str(tmp_path / "in.txt"), str(tmp_path / "o.csv"), "--bundle", str(bundle)]) == 2
    assert ".csv and .jsonl" in capsys.readouterr().err


def test_a_csv_without_rows_gives_one_with_all_columns(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("id,text\n")
    for _ in range(2):  # and so it stays
        assert main([str(source), str(target), "--bundle", str(bundle)]) == 0
        assert target.read_text() == (
            "id,text,predicted_label,predicted_score,probability_negative,probability_positive\n"
        )
    for content, named in (
        ("id,review\n", "--column: got 'text'"),
        ("", "begins with a header"),
        ("text,predicted_label\n", "the header has predicted_label"),
    ):
        source.write_text(content)
        new = tmp_path / "new.csv"
        assert main([str(source), str(new), "--bundle", str(bundle)]) == 2
        assert named in capsys.readouterr().err
        assert not list(tmp_path.glob("new.csv*"))


def test_a_mistake_before_the_first_row_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"text": "good"}\n{"text": 7}\n')
    assert main([str(source), str(target), "--bundle", str(bundle)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", ""])
def test_a_url_that_is_none_is_named(tmp_path: Path, url: str, capsys: Any) -> None:
    assert main([str(written(tmp_path / "in.csv")), str(tmp_path / "o.csv"), "--url", url]) == 2
    assert f"--url: got {url!r}; give" in capsys.readouterr().err


def test_an_empty_path_is_not_the_current_folder(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["", str(tmp_path / "o.csv"), "--bundle", "x"])
    assert "argument IN: is empty" in capsys.readouterr().err


def test_the_line_that_is_no_utf8_is_named(bundle: Path, tmp_path: Path, capsys: Any) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b"text\ngood\nna\xefve\n")
    assert main([str(source), str(tmp_path / "o.csv"), "--bundle", str(bundle)]) == 2
    assert "not UTF-8: byte 0xef of line 3" in capsys.readouterr().err


def test_a_stopped_one_says_that_it_can_go_on(bundle: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\n" + "".join(f"{f'good {i} ' * 40}\n" for i in range(200_000)))
    command = [sys.executable, "-m", "serve", "predict", source, target, "--bundle", bundle]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as running:
        deadline = time.monotonic() + 60
        while not (target.exists() and target.stat().st_size):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        running.terminate()
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "interrupted; the same command goes on\n")


def test_an_endpoint_that_does_not_answer_is_no_mistake_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 1, as `serve ask` ends."""
    monkeypatch.setattr("serve.client.FIRST_PAUSE", 0.001)
    source = written(tmp_path / "in.csv")
    url = "http://127.0.0.1:1/predictions/tiny"
    assert main([str(source), str(tmp_path / "out.csv"), "--url", url]) == 1
