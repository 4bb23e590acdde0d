"""What is served: a bundle, or a ready-made archive, which says of itself what TorchServe obeys."""

import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from models.config_digest import check_config
from serve.archive import HANDLER, MANIFEST, YAML_NAMES
from serve.command import flag_of
from serve.handler import CONFIG


class _Altered(Exception):
    """An archive of which a file is damaged, or is not the one that was proved."""


# What reading a damaged zip, or a file in it, raises; RuntimeError: an encrypted or an unknown one.
_BROKEN = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
           yaml.YAMLError, _Altered)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A model to serve.

    Args:
        source: its bundle, or an archive (.mar) that is already written.
        name, version: in URLs. An archive's are in it, and no others are taken.
        packed: what an archive says of itself, by the names of the flags; of a bundle nothing.
    """

    source: Path
    name: str
    version: str = "1.0"
    packed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_archive(self) -> bool:
        """Whether it is ready-made."""
        return self.source.suffix == ".mar"

    @classmethod
    def of_archive(cls, source: Path, name: str = "", version: str = "") -> Self:
        """The model of a ready-made archive.

        Raises:
            FileNotFoundError, ValueError: there is none, it is broken or no archive, not what was
                proved and packed, or of another name or version than these.
        """
        try:
            with zipfile.ZipFile(source) as archive:
                found = cls._read(source, archive)
        except FileNotFoundError:
            raise FileNotFoundError(f"{source}: there is no such archive") from None
        except _BROKEN as error:
            raise ValueError(f"{source}: a broken archive: {_first_line(error)}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{source}: a broken archive: lacks what is read of it ({_first_line(error)})"
            ) from error
        wanted = name or found.name, version or found.version
        if wanted != (found.name, found.version):
            raise ValueError(
                f"{source}: holds {found.name}@{found.version}, not {'@'.join(wanted)}; name it "
                "so, or not at all, or pack it anew"
            )
        return found

    @classmethod
    def _read(cls, source: Path, archive: zipfile.ZipFile) -> Self:
        described = _read_json(archive, MANIFEST)["model"]
        packed: dict[str, Any] = {}
        if described.get("configFile"):
            settings = yaml.safe_load(archive.read(described["configFile"])) or {}
            packed = {flag: settings[name] for flag, name in YAML_NAMES.items() if name in settings}
            workers = settings.get("minWorkers", 0)
            if 0 < workers <= settings.get("maxWorkers", 0):  # else TorchServe ignores both
                packed["workers"] = workers
        if CONFIG in archive.namelist() or described.get("handler") == HANDLER:  # of ours
            serving = _read_json(archive, CONFIG)
            _check_proof(archive, serving)
            packed |= {flag: serving[flag] for flag in ("threads", "backend")}
            packed |= {f"max_{name}": each for name, each in serving["limits"].items()}
        return cls(source, str(described["modelName"]), str(described["modelVersion"]), packed)

    def checked(self) -> Self:
        """Itself; of an archive with what that says.

        Raises:
            ValueError: the archive is another model's. FileNotFoundError: there is none.
        """
        if not self.is_archive or self.packed:
            return self
        return self.of_archive(self.source, self.name, self.version)

    def check_flags(self, given: Mapping[str, Any]) -> None:
        """Refuses flags, those that were `given`, that an archive would not follow.

        Raises:
            ValueError: it says otherwise, or nothing of the kind.
        """
        if not self.is_archive:
            return
        for name, value in given.items():
            if name in self.packed and self.packed[name] != value:
                raise ValueError(
                    f"{flag_of(name)}: got {value}, but {self.source} is packed with "
                    f"{self.packed[name]}; leave the flag out, or pack the archive anew"
                )
            # How many workers, where it does not say, is the server's to say.
            if name not in self.packed and name != "workers":
                raise ValueError(
                    f"{flag_of(name)}: {self.source} does not follow it; leave the flag out"
                )


def check_distinct(models: Collection[Model]) -> None:
    """Raises `ValueError` where there are none, or two of one name and version."""
    if not models:
        raise ValueError("nothing to serve: give a bundle's folder")
    seen = set()
    for model in models:
        key = (model.name, model.version)
        if key in seen:
            raise ValueError(
                f"model {model.name}, version {model.version}: given twice; name them apart: "
                "NAME@VERSION=FOLDER"
            )
        seen.add(key)


def _check_proof(archive: zipfile.ZipFile, serving: Mapping[str, Any]) -> None:
    """Raises `_Altered` where what answers is not what was proved and packed: artefact, tokenizer,
    labels and length. The code that travels is trusted, as that of any archive."""
    artefact, config = serving["artefact"], _read_json(archive, "config.json")
    proof = _read_json(archive, "parity.json")["artefacts"].get(artefact) or {}
    check_config(Path("config.json"), config)
    if proof.get("passed") is not True or proof.get("weights_sha256") != config["weights_sha256"]:
        raise _Altered(f"the parity of its {artefact} was not proved; pack it anew")
    for name, wanted in (
        (artefact, proof.get("sha256")),
        ("tokenizer.json", config["tokenizer_sha256"]),
    ):
        if hashlib.sha256(archive.read(name)).hexdigest() != wanted:
            raise _Altered(f"its {name} is not the one that was proved; pack it anew")
    for name in ("labels", "max_length"):
        if serving[name] != config[name]:
            raise _Altered(f"{name} of its {CONFIG} are not the model's; pack it anew")


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        return json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise _Altered(f"its {name} is not JSON ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
