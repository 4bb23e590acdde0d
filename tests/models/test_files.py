"""Files appear whole, and those that belong together, together."""

from pathlib import Path

import pytest

from models.files import exclusive, write_whole, written_together


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path) -> None:
    path = tmp_path / "new" / "text.md"
    write_whole(path, "old")
    write_whole(path, b"\xc3\xa9")
    assert path.read_text(encoding="utf-8") == "é"
    assert list(path.parent.iterdir()) == [path]


def test_files_that_belong_together_are_all_replaced_or_none(tmp_path) -> None:
    for name in ("a.txt", "cards/b.txt"):
        write_whole(tmp_path / name, "old")
    with pytest.raises(ZeroDivisionError), written_together(tmp_path) as folder:
        write_whole(folder / "a.txt", "half")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    with written_together(tmp_path) as folder:
        write_whole(folder / "a.txt", "new")
        write_whole(folder / "cards" / "b.txt", "new")
    assert {path.read_text() for path in tmp_path.rglob("*.txt")} == {"new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "cards"]


def test_a_file_and_a_folder_are_one_processs_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a")
    for path in (tmp_path, file):
        with exclusive(path), pytest.raises(ValueError, match="another process"), exclusive(path):
            pass
        with exclusive(path):  # free again
            pass
