"""An artefact runs only with a certificate of these bytes and these weights."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from export.backends import open_backend
from export.certificate import CERTIFICATE, certify, read_artefact, revoke, verify_artefact
from models.files import write_whole

CONFIG = {"labels": ["no", "yes"], "max_length": 16, "tokenizer_sha256": "t", "weights_sha256": "w"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path, **CONFIG)
    (tmp_path / "model.onnx").write_bytes(b"graph")
    digest = hashlib.sha256(b"graph").hexdigest()
    certify(tmp_path, "model.onnx", {"sha256": digest, "weights_sha256": "w", "passed": True})
    return tmp_path


def write_config(folder: Path, **config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize("key", CONFIG)
def test_a_config_without_what_is_read_of_it_is_named(folder: Path, key: str) -> None:
    write_config(folder, **{name: each for name, each in CONFIG.items() if name != key})
    with pytest.raises(ValueError, match=rf"config\.json: has no {key}"):
        read_artefact(folder, "model.onnx")


def test_a_certified_artefact_is_read(folder: Path) -> None:
    content, entry = read_artefact(folder, "model.onnx")
    assert content == b"graph" and entry["passed"] is True
    assert verify_artefact(folder, "model.onnx") == entry


def _change_bytes(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"grapi")


def _retrain(folder: Path) -> None:
    write_config(folder, **CONFIG | {"weights_sha256": "v"})


def _drop_certificate(folder: Path) -> None:
    (folder / CERTIFICATE).unlink()


def _edit(folder: Path, **changes: object) -> None:
    value = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    value["artefacts"]["model.onnx"].update(changes)
    (folder / CERTIFICATE).write_text(json.dumps(value), encoding="utf-8")


def _truncate(folder: Path) -> None:
    text = (folder / CERTIFICATE).read_text(encoding="utf-8")
    (folder / CERTIFICATE).write_text(text[: len(text) // 2], encoding="utf-8")


def _another_version(folder: Path) -> None:
    (folder / CERTIFICATE).write_text('{"schema_version": 2}', encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_change_bytes, "changed after its proof"),
        (_retrain, "was made from weights w"),
        (_drop_certificate, "does not certify model.onnx"),
        (lambda folder: _edit(folder, passed=False), "not proved"),
        (lambda folder: _edit(folder, passed="yes"), "not proved"),
        (_truncate, "not JSON"),
        (_another_version, "schema_version is 2"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    folder: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=words) as error:
        verify_artefact(folder, "model.onnx")
    assert "\n" not in str(error.value)


def test_what_was_disproved_is_refused_with_the_reason_and_only_that(folder: Path) -> None:
    digest = hashlib.sha256(b"graph").hexdigest()
    revoke(folder, "model.onnx", hashlib.sha256(b"older").hexdigest(), "of another file")
    revoke(folder, "model.ts", digest, "never certified")
    assert verify_artefact(folder, "model.onnx")["passed"] is True
    revoke(folder, "model.onnx", digest, "a logit differs by 7")
    with pytest.raises(ValueError, match=r"not proved .*a logit differs by 7.*python -m export"):
        verify_artefact(folder, "model.onnx")


def test_nothing_but_what_passed_is_certified(folder: Path) -> None:
    with pytest.raises(ValueError, match="only what passed"):
        certify(folder, "model.ts", {"sha256": "a", "passed": False})


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_backend_refuses_an_uncertified_artefact(save_bundle: Callable[..., Path]) -> None:
    bundle = save_bundle("ngram-bag")
    (bundle / "model.onnx").write_bytes(b"anything")
    with pytest.raises(ValueError, match="does not certify"):
        open_backend(bundle, "onnx")
