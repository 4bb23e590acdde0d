"""A bundle's artefact -> a TorchServe model archive (.mar) that carries all it needs.

A .mar is a zip with a manifest. This one holds the handler and the modules it uses, so that it runs
where this project is not installed: torchserve, torch, onnxruntime and tokenizers are enough. The
same bundle and settings give the same bytes: entries are sorted, without times.
"""

import json
import os
import re
import tempfile
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from export.backends import BACKENDS, skips_padding
from export.certificate import read_artefact, read_config, read_tokenizer
from export.formats import FORMATS
from serve.command import flag_of
from serve.handler import CONFIG
from serve.requests import Limits

ARTEFACTS = {
    name: entry.filename
    for name, entry in FORMATS.items()
    if Path(entry.filename).suffix in (".onnx", ".ts")
}
"""Backend -> its artefact, of those that a worker can open without this project."""

JAVA_INT = 2**31 - 1  # the most that TorchServe reads into a whole number
# What is bounded otherwise: processes and threads by what machines start, bytes by what a request
# of a few words has. TorchServe is told twice the bytes of a body (see `serve.instance`).
_RANGES = {
    "workers": (1, 1024),
    "threads": (1, 1024),
    "batch_size": (1, 4096),
    "batch_delay": (1, 60_000),
    "max_body_bytes": (256, JAVA_INT // 2),
    "max_text_bytes": (64, JAVA_INT),
}
MANIFEST = "MAR-INF/MANIFEST.json"
HANDLER = "serve.handler"
YAML_NAMES = {
    "batch_size": "batchSize",
    "batch_delay": "maxBatchDelay",
    "queue": "jobQueueSize",
    "response_timeout": "responseTimeout",
    "startup_timeout": "startupTimeout",
}
"""What `ServingConfig` calls it -> what an archive's `model-config.yaml` does."""

CARRIED = (
    "export/__init__.py",
    "export/onnx_engine.py",
    "export/padding.py",
    "export/torch_engine.py",
    "serve/__init__.py",
    "serve/attributions.py",
    "serve/buffered_socket.py",
    "serve/classifier.py",
    "serve/engine.py",
    "serve/handler.py",
    "serve/metrics.py",
    "serve/problems.py",
    "serve/requests.py",
    "serve/responses.py",
)
"""The modules that travel; on the way that a worker takes they import nothing of this project but
each other."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,2}")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip can state


@dataclass(frozen=True)
class ServingConfig:
    """How TorchServe runs an archive's workers.

    Args:
        workers: processes, each with the model in memory. Two, so that one computes while the
            other's answers are sent and its next requests gathered; and while one starts anew.
        threads: of the engine, in each worker.
        batch_size: requests that go to a worker together, at most.
        batch_delay: milliseconds that a request waits for others. 0 would mean 100 to TorchServe.
        queue: requests that wait, at most; more are answered 503 at once.
        response_timeout: seconds after which a silent worker is killed and started again.
        startup_timeout: seconds a worker may take to load.
        limits: of one request.
    """

    workers: int = 2
    threads: int = 1
    batch_size: int = 8
    batch_delay: int = 1
    queue: int = 1000
    response_timeout: int = 30
    startup_timeout: int = 60
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        values = asdict(self)
        values |= {f"max_{name}": value for name, value in values.pop("limits").items()}
        for name, value in values.items():
            least, most = _RANGES.get(name, (1, JAVA_INT))
            if not isinstance(value, int) or not least <= value <= most:
                raise ValueError(
                    f"{flag_of(name)}: got {value!r}; give a whole number from {least} to {most}"
                )


def write_archive(
    folder: str | Path,
    target: str | Path,
    *,
    name: str,
    version: str = "1.0",
    backend: str = "onnx",
    config: ServingConfig | None = None,
) -> Path:
    """Writes the archive of a bundle to `target`, whole or not at all; returns `target`.

    Args:
        folder: the bundle, with the backend's artefact and its parity certificate.
        name: of the model in URLs. version: such as "1.0".
        backend: one of `ARTEFACTS`.

    Raises:
        FileNotFoundError, ValueError: no bundle, no artefact, or one without a certificate that it
            passed; an unknown backend; a name or a version that TorchServe would not take.
    """
    bundle, path = Path(folder), Path(target)
    _check(name, version, backend)
    entries = _entries(bundle, name, version, backend, config or ServingConfig())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for entry, content in sorted(entries.items()):
                _add(archive, entry, content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _check(name: str, version: str, backend: str) -> None:
    if backend not in ARTEFACTS:
        raise ValueError(f"backend: got {backend!r}; an archive takes {', '.join(ARTEFACTS)}")
    check_name(name)
    if not _VERSION.fullmatch(version):
        raise ValueError(f"model version: got {version!r}; give numbers, such as 1.0")


def check_name(name: str) -> None:
    """`ValueError` for a model's name that URLs and folders would not have as it is."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"model name: got {name!r}; give 1 to 64 letters, digits, - and _, a letter or digit "
            "first"
        )


def _entries(
    bundle: Path, name: str, version: str, backend: str, config: ServingConfig
) -> dict[str, bytes]:
    """Every file of the archive: its name, its content."""
    settings = read_config(bundle)
    tokenizer = read_tokenizer(bundle, settings)
    artefact = ARTEFACTS[backend]
    content, _ = read_artefact(bundle, artefact)
    serving = {
        "artefact": artefact,
        "backend": backend,
        "labels": settings["labels"],
        "max_length": settings["max_length"],
        "threads": config.threads,
        "skips_padding": skips_padding(BACKENDS[backend], settings),
        "limits": asdict(config.limits),
    }
    entries = {
        MANIFEST: _json(_manifest(name, version, artefact)),
        "model-config.yaml": yaml.safe_dump(model_yaml(config)).encode(),
        CONFIG: _json(serving),
        artefact: content,
        "tokenizer.json": tokenizer,
    }
    for file in ("config.json", "parity.json"):
        entries[file] = (bundle / file).read_bytes()
    project = Path(__file__).parents[1]
    for module in CARRIED:
        entries[module] = (project / module).read_bytes()
    return entries


def _manifest(name: str, version: str, artefact: str) -> dict[str, Any]:
    return {
        "createdOn": "01/01/1980 00:00:00",  # a real time would change the bytes
        "runtime": "python",
        "model": {
            "modelName": name,
            "modelVersion": version,
            "serializedFile": artefact,
            "handler": HANDLER,
            "configFile": "model-config.yaml",
        },
        "archiverVersion": "0.12.0",
    }


def model_yaml(config: ServingConfig) -> dict[str, Any]:
    """The archive's `model-config.yaml`, in TorchServe's words."""
    return {
        "minWorkers": config.workers,
        "maxWorkers": config.workers,
        **{name: getattr(config, ours) for ours, name in YAML_NAMES.items()},
        "deviceType": "cpu",
    }


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = 0o644 << 16
    info.create_system = 3  # Unix, wherever it is written
    # Stored: weights hardly shrink, and the bytes then do not depend on zlib's version.
    info.compress_type = zipfile.ZIP_STORED
    archive.writestr(info, content)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")
