"""Ready-made archives: what they say of themselves is what is served, waited for and named."""

import argparse
import json
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from serve.__main__ import _parser
from serve.archive import MANIFEST, ServingConfig, write_archive
from serve.client import Client
from serve.failure import Logs
from serve.flags import parse_model, parse_models
from serve.instance import free_ports, make_instance
from serve.management import Management, Worker
from serve.requests import Limits
from serve.served_model import Model
from serve.server import Server, ServerError
from serve.server_config import ServerConfig


@pytest.fixture
def archive(bundle: Path, tmp_path: Path) -> Path:
    """Another name, version, worker count and limit than the file and the flags would say."""
    config = ServingConfig(workers=1, batch_size=4, limits=Limits(body_bytes=3 << 20, items=7))
    return write_archive(bundle, tmp_path / "file.mar", name="packed", version="2.5", config=config)


def rewrite(archive: Path, target: Path, method: int = zipfile.ZIP_STORED, **changed: Any) -> Path:
    """A copy, with other contents of some entries; None leaves one out."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", method) as made:
        for name in source.namelist():
            key = Path(name).stem.replace("-", "_")
            content = changed.get(key, source.read(name))
            if content is not None:
                made.writestr(name, content)
    return target


def foreign(archive: Path, target: Path) -> Path:
    """As `torch-model-archiver` makes one without a configuration."""
    with zipfile.ZipFile(archive) as source:
        manifest = json.loads(source.read(MANIFEST))
    del manifest["model"]["configFile"]
    manifest["model"]["modelName"] = "foreign"
    return rewrite(archive, target, MANIFEST=json.dumps(manifest), model_config=None)


def options(*flags: str) -> argparse.Namespace:
    return _parser().parse_args(["x", *flags])


def test_an_archive_says_its_name_version_and_settings(archive: Path) -> None:
    for text in (str(archive), f"packed={archive}", f"packed@2.5={archive}"):
        model = parse_model(text)
        assert (model.name, model.version) == ("packed", "2.5")
        stated = {"workers": 1, "batch_size": 4, "backend": "onnx", "max_items": 7, "queue": 1000}
        assert stated.items() <= model.packed.items()


@pytest.mark.parametrize("given", ["other", "packed@1.0", "other@2.5"])
def test_another_name_or_version_is_refused(archive: Path, given: str) -> None:
    with pytest.raises(ValueError, match=rf"file\.mar: holds packed@2\.5, not {given}"):
        parse_model(f"{given}={archive}")
    name, _, version = given.partition("@")
    with pytest.raises(ValueError, match=r"holds packed@2\.5"):
        Server([Model(archive, name, version or "2.5")])


def test_flags_that_an_archive_does_not_follow_are_refused(archive: Path) -> None:
    texts = [str(archive)]
    assert parse_models(texts, options("--workers", "1", "--max-items", "7"))
    assert parse_models(texts, options())  # a default was not asked for
    for flags in (
        ["--workers", "2"], ["--max-items", "8"], ["--batch-size", "8"], ["--backend", "onnx-int8"]
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{flags[0]}: got {flags[1]}, but .*packed with"):
            parse_models(texts, options(*flags))


def test_an_archive_without_a_configuration_has_the_servers_workers(
    archive: Path, tmp_path: Path
) -> None:
    theirs = foreign(archive, tmp_path / "f.mar")
    with zipfile.ZipFile(theirs) as source:
        manifest = json.loads(source.read(MANIFEST))
    manifest["model"]["handler"] = "handler"  # serving.json and what reads it are ours alone
    bare = rewrite(theirs, tmp_path / "bare.mar", serving=None, MANIFEST=json.dumps(manifest))
    (model,) = parse_models([str(bare)], options("--workers", "3"))
    assert (model.name, model.packed) == ("foreign", {})
    with pytest.raises(ValueError, match=r"--max-items: .* does not follow it"):
        parse_models([str(bare)], options("--max-items", "8"))


def test_a_worker_count_that_torchserve_ignores_is_ignored(archive: Path, tmp_path: Path) -> None:
    settings = yaml.safe_dump({"minWorkers": 3, "batchSize": 2})  # no maxWorkers
    model = parse_model(str(rewrite(archive, tmp_path / "x.mar", model_config=settings)))
    assert "workers" not in model.packed and model.packed["batch_size"] == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"MANIFEST": None},
        {"MANIFEST": "{"},
        {"MANIFEST": "[]"},
        {"MANIFEST": '{"model": {"modelName": "x"}}'},
        {"model_config": None},
        {"model_config": "a: ["},
        {"model_config": "[1]"},
        {"model_config": "minWorkers: many"},
        {"serving": "{}"},
    ],
)
def test_a_broken_archive_is_named(archive: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    broken = rewrite(archive, tmp_path / "broken.mar", **changed)
    with pytest.raises(ValueError, match=r"broken\.mar: a broken archive") as caught:
        parse_model(str(broken))
    assert "\n" not in str(caught.value)


def test_no_archive_and_half_of_one_are_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mar"):
        parse_model(str(tmp_path / "none.mar"))
    half = tmp_path / "half.mar"
    half.write_bytes(archive.read_bytes()[:-500])
    for path in (half, tmp_path / "folder.mar"):
        if path != half:
            path.mkdir()
        with pytest.raises(ValueError, match=r"\.mar: a broken archive"):
            Server([Model(path, "x")])


def test_archives_are_served_under_what_they_say(archive: Path, tmp_path: Path) -> None:
    """One says one worker where the server's standard is two, the other says nothing."""
    models = [parse_model(str(each)) for each in (archive, foreign(archive, tmp_path / "f.mar"))]
    with Server(models, ServerConfig(start_timeout=90)) as server:
        assert len(server.worker_pids()) == 1 + ServingConfig().workers
        for path in ("packed/2.5", "foreign/2.5"):
            client = Client(f"{server.url}/predictions/{path}", token_file=server.key_file)
            assert client.predict(["good"])[0].label == "positive"
        # the archive's limit, not the standard's, is what the front end lets through
        text = server.instance.config_file.read_text()
        assert f"max_request_size={2 * (3 << 20)}\n" in text


def test_what_is_not_ready_in_time_is_named_with_the_logs_end(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(
        [Model(bundle, "good"), Model(bundle, "slow", "2.0")], ServerConfig(start_timeout=0.3)
    )
    monkeypatch.setattr("serve.instance._LONGEST_BASE", 200)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.instance = make_instance(free_ports())
    server.key_file.write_text("{}")
    server.logs = Logs(server.instance.logs)
    server.process = SimpleNamespace(poll=lambda: None)  # type: ignore[assignment]
    (server.instance.logs / "java.log").write_text("old\n")
    time.sleep(0.02)
    (server.instance.logs / "worker.log").write_text("first\nstill loading\n\n")

    def workers(self: Management, model: str, version: str) -> list[Worker]:
        return [Worker(1, "READY"), Worker(2, "READY" if model == "good" else "STARTED")]

    monkeypatch.setattr(Management, "workers", workers)
    with pytest.raises(ServerError) as caught:
        server._wait_until_ready()
    said = str(caught.value)
    assert "slow 2.0 has workers READY, STARTED, wanted are 2" in said
    assert "good" not in said and "'still loading'" in said
    server.instance.remove()


def changed(archive: Path, entry: str, **values: Any) -> str:
    """A JSON entry of the archive with other values."""
    with zipfile.ZipFile(archive) as source:
        return json.dumps(json.loads(source.read(entry)) | values)


def test_an_archive_that_does_not_hold_what_was_proved_is_refused(
    archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive) as source:
        proof = json.loads(source.read("parity.json"))["artefacts"]
    revoked = {"model.onnx": proof["model.onnx"] | {"passed": False}}
    retrained = {"model.onnx": proof["model.onnx"] | {"weights_sha256": "another"}}
    for entries, said in (
        ({"model": b"another"}, "its model.onnx is not the one that was proved"),
        ({"tokenizer": b"another"}, "its tokenizer.json is not the one"),
        ({"parity": changed(archive, "parity.json", artefacts=revoked)}, "was not proved"),
        ({"parity": changed(archive, "parity.json", artefacts=retrained)}, "was not proved"),
        ({"config": changed(archive, "config.json", max_length=9)}, "was changed after it was"),
        ({"serving": changed(archive, "serving.json", labels=["positive", "negative"])},
         "labels of its serving.json"),
        ({"serving": changed(archive, "serving.json", max_length=9)}, "max_length of its serving"),
        ({"parity": "{"}, "its parity.json is not JSON"),
        ({"serving": None}, "no item named 'serving.json'"),
        ({"config": None}, "no item named 'config.json'"),
    ):  # fmt: skip
        altered = rewrite(archive, tmp_path / "altered.mar", **entries)
        with pytest.raises(ValueError, match=r"altered\.mar: a broken archive: ") as caught:
            parse_model(str(altered))
        assert said in str(caught.value)


def test_a_damaged_zip_is_one_line(archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mar"
    encrypted = bytearray(archive.read_bytes())
    lzma = bytearray(rewrite(archive, broken, zipfile.ZIP_LZMA).read_bytes())
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1  # a flag of the directory's first entry
    place = lzma.index(b"MAR-INF/MANIFEST.json") + len("MAR-INF/MANIFEST.json") + 9
    lzma[place : place + 40] = bytes(40)
    deep = rewrite(archive, broken, parity="[" * 100_000).read_bytes()
    for content in (encrypted, lzma, deep):
        broken.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.mar: a broken archive") as caught:
            parse_model(str(broken))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["=x.mar", "tiny@=x", "tiny=", "@2.0=x", ""])
def test_half_of_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give BUNDLE, NAME=BUNDLE or NAME@VERSION=BUNDLE"):
        parse_model(text)
