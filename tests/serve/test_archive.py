"""Archives: the same bytes each time, all in them, and only of what is proved."""

import ast
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import serve.archive
from serve import archive_command
from serve.__main__ import _parser
from serve.archive import CARRIED, ServingConfig, write_archive
from serve.flags import serving_config
from serve.requests import Limits


def test_the_same_bundle_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    first = write_archive(bundle, tmp_path / "a.mar", name="tiny")
    second = write_archive(bundle, tmp_path / "b.mar", name="tiny")
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mar", "b.mar"]


@pytest.mark.parametrize(
    ("backend", "artefact"), [("onnx", "model.onnx"), ("torchscript", "model.ts")]
)
def test_an_archive_holds_all_that_its_worker_reads(
    bundle: Path, tmp_path: Path, backend: str, artefact: str
) -> None:
    config = ServingConfig(workers=2, batch_size=4, batch_delay=2, limits=Limits(items=7))
    path = write_archive(
        bundle, tmp_path / "x.mar", name="tiny", version="2.0", backend=backend, config=config
    )
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))["model"]
        settings = yaml.safe_load(archive.read(manifest["configFile"]))
        serving = json.loads(archive.read("serving.json"))
        assert archive.read(artefact) == (bundle / artefact).read_bytes()
    assert manifest["modelName"] == "tiny" and manifest["modelVersion"] == "2.0"
    assert manifest["serializedFile"] == serving["artefact"] == artefact
    assert {"minWorkers": 2, "maxWorkers": 2, "batchSize": 4}.items() <= settings.items()
    assert settings["maxBatchDelay"] == 2
    assert serving["limits"]["items"] == 7
    expected = set(CARRIED) | {
        "MAR-INF/MANIFEST.json",
        "model-config.yaml",
        "serving.json",
        artefact,
    }
    assert names == expected | {"config.json", "tokenizer.json", "parity.json"}


@pytest.mark.parametrize("module", CARRIED)
def test_what_travels_imports_only_what_travels_with_it(module: str) -> None:
    project = Path(serve.archive.__file__).parents[1]
    source = (project / module).read_text()
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            if node.module in ("serve", "export"):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                imported.add(node.module or "")
    ours = {"models", "training", "export", "bias", "serve"}
    own = {name for name in imported if name.partition(".")[0] in ours}
    if module == "export/torch_engine.py":
        own -= {"models.bundle"}  # where a checkpoint is opened, which no archive has
    assert own <= {name.removesuffix(".py").replace("/", ".") for name in CARRIED}


def test_an_artefact_without_a_passing_certificate_is_refused(
    own_bundle: Path, tmp_path: Path, certify: Callable[..., None]
) -> None:
    target = tmp_path / "x.mar"
    certify(own_bundle, "model.onnx", passed=False)
    with pytest.raises(ValueError, match=r"model\.onnx"):
        write_archive(own_bundle, target, name="tiny")
    certify(own_bundle, "model.onnx")
    (own_bundle / "model.onnx").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"model\.onnx"):
        write_archive(own_bundle, target, name="tiny")
    (own_bundle / "parity.json").unlink()
    with pytest.raises((ValueError, FileNotFoundError)):
        write_archive(own_bundle, target, name="tiny")
    assert not target.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "a b"}, "model name"),
        ({"name": ""}, "model name"),
        ({"name": "../x"}, "model name"),
        ({"name": "x", "version": "new"}, "model version"),
        ({"name": "x", "backend": "eager"}, "backend"),
    ],
)
def test_what_torchserve_would_not_take_is_refused(
    bundle: Path, tmp_path: Path, arguments: dict[str, str], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        write_archive(bundle, tmp_path / "x.mar", **arguments)


@pytest.mark.parametrize(
    "flag",
    ["workers=0", "batch-delay=0", "queue=-1", "max-items=0", "max-text-bytes=0",
     "max-text-bytes=63", "max-body-bytes=10", "threads=100000", "workers=5000",
     "batch-delay=99999999", "batch-size=99999",
     "max-body-bytes=0", "max-body-bytes=1500000000", "queue=3000000000"],
)  # fmt: skip
def test_settings_that_torchserve_cannot_have_are_refused_by_their_flags(flag: str) -> None:
    options = _parser().parse_args(["bundle", f"--{flag}"])
    with pytest.raises(ValueError, match=f"^--{flag.replace('=', ': got ')}; give a whole number"):
        serving_config(options)


def test_the_command_writes_an_archive_or_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "reviews.mar"
    assert archive_command.main([str(bundle), str(target), "--workers", "2"]) == 0
    assert str(target) in capsys.readouterr().out
    assert archive_command.main([str(bundle), str(tmp_path / "reviews.zip")]) == 2
    assert archive_command.main([str(tmp_path / "none"), str(target)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
