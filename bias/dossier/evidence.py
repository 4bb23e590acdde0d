"""What lies in a run's folder beside its result: benchmark, audit and certificates, each checked.

What is not there, or was made of other weights, is a `Missing` with the command that makes it; what
is there and cannot be read is the user's to mend, and stops. A record (`bias.dossier.record`) keeps
everything but the weights and artefacts, and instead what was found of these when it was made.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.backends import BACKENDS
from export.certificate import CERTIFICATE, read_certificate, verify_artefact
from export.formats import FORMATS
from models.bundle import WEIGHTS
from training.results.questions import set_name
from training.results.runs import Run, one_line
from training.sources import is_embedded

SCHEMA_VERSION = 1  # of benchmark.json and audit.json alike
BUNDLE, BENCHMARK, AUDIT = "best", "benchmark/benchmark.json", "audit/audit.json"
RECORD = "record.json"
_DESCRIBED = re.compile(r" on (?P<backend>[\w-]+)(?:, seed \d+)?, weights (?P<weights>[0-9a-f]+)$")

_AUDIT_DEFAULTS = (("text", "title+content"), ("most_reviews", 300), ("seed", 0))


@dataclass(frozen=True)
class Missing:
    """A figure that cannot be had: in two or three words, in a sentence, and what makes it (None
    where nothing here does)."""

    short: str
    why: str
    command: str | None = None


@dataclass(frozen=True)
class Certified:
    """An artefact whose proof holds. `changed`: share of labels that differ from the checkpoint's,
    of `reviews`; `exact` where the arithmetic is the checkpoint's own."""

    filename: str
    exact: bool
    changed: float
    reviews: int
    accuracy: float
    checkpoint_accuracy: float
    entry: dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """One run's. Keys of `certificates` and `audits` are backends."""

    run: Run
    weights: str | None
    """Of the bundle; None where there is none."""
    benchmark: dict[str, Any] | Missing
    certificates: dict[str, Certified | Missing]
    audits: dict[str, dict[str, Any]] | Missing
    """Of each audited backend, its estimates by name, and `findings`."""
    audit_settings: dict[str, Any]
    sizes: dict[str, int]
    """Of the checkpoint and the artefacts, in bytes, by filename."""
    recorded: bool = False
    """Whether the files themselves are elsewhere."""

    @property
    def bundle(self) -> Path:
        """The bundle's folder, there or not."""
        return self.run.folder / BUNDLE


def gather(run: Run) -> Evidence:
    """All that lies in a finished run's folder.

    Raises:
        ValueError: a damaged file; one line that names it.
    """
    bundle, record = run.folder / BUNDLE, read_record(run.folder)
    if not (bundle / "config.json").is_file():
        why = "the run keeps no bundle, which is what exports, benchmarks and audits are made of"
        none = Missing("no bundle", why)
        return Evidence(run, None, none, {}, none, {}, {}, recorded=record is not None)
    weights = str(_read(bundle / "config.json").get("weights_sha256"))
    benchmark = _benchmark(run, weights)
    audits, settings = _audits(run, weights)
    if record is not None:
        certificates, sizes = _recorded(run, record, weights), record["bytes"]
    else:
        certificates, sizes = _certificates(bundle), _sizes(bundle)
    return Evidence(run, weights, benchmark, certificates, audits, settings, sizes,
                    recorded=record is not None)  # fmt: skip


def read_record(folder: Path) -> dict[str, Any] | None:
    """What a record says in its files' place: `run`, where it was; `bytes`, filename -> size;
    `refused`, filename -> why its certificate did not hold. None for a run that is no record.

    Raises:
        ValueError: a damaged one; one line.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    found = _versioned(path)
    wanted: dict[str, type] = {"run": str, "bytes": dict, "refused": dict}
    if not all(isinstance(found.get(key), kind) for key, kind in wanted.items()):
        raise ValueError(f"{path}: not a whole record; make it anew of the run with: python -m "
                         "bias.dossier RUN --output DIR --records DIR")  # fmt: skip
    return found


def exact(backend: str) -> bool:
    """Whether the backend's arithmetic is the checkpoint's: its answers are then the same."""
    kind = BACKENDS[backend].format if backend in BACKENDS else None
    return kind is None or FORMATS[kind].gate.max_abs_difference is not None


def benchmark_command(run: Run) -> str:
    """Measures every backend of the run's bundle."""
    home = _home(run)
    return f"python -m export.benchmark {home / BUNDLE} --output {home / 'benchmark'}"


def audit_command(run: Run, *backends: str, settings: Mapping[str, Any] | None = None) -> str:
    """Audits the run's bundle, on its default backend or on those that are named.

    On the reviews of its earlier audit, where `settings` are given, whose folder it overwrites;
    else, or where those were embedded and the run's are real, on the run's own first test set.
    """
    bundle = _home(run) / BUNDLE
    targets = [f"{bundle}@{backend}" for backend in backends] or [str(bundle)]
    settings = settings or {}
    flags: list[str] = []
    if settings.get("reviews") and not _embedded_only(run, settings):
        names = ("reviews", "text", "most_reviews", "identities")
        kept = [(name, settings.get(name)) for name in (*names, "seed")]
    else:
        kept = [("reviews", _first_test(run)), ("text", run.facts["data"].get("text"))]
    for name, value in kept:
        if value is not None and (name, value) not in _AUDIT_DEFAULTS:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(["python", "-m", "bias", *targets, *flags, "--output",
                       str(_home(run) / "audit")])  # fmt: skip


def _home(run: Run) -> Path:
    """Where the run's bundle is: what was recorded has to be measured there."""
    record = read_record(run.folder)
    return Path(record["run"]) if record is not None else run.folder


def _first_test(run: Run) -> str | None:
    """The source of the run's first test set, as it was given; of several that share its name, the
    first. None where the run does not say."""
    given = [*run.facts["data"].get("sources", ()), *run.tests]
    first = next(iter(run.facts["tests"]), None)
    named = [each for each in given if set_name(each) == first]
    return next(iter((*named, *given)), None)


def _embedded_only(run: Run, settings: Mapping[str, Any]) -> bool:
    """Whether machine-written reviews were audited of a run that learned from real ones."""
    sources = run.facts["data"].get("sources", ())
    real = any(not is_embedded(source) for source in sources)
    return real and is_embedded(str(settings.get("reviews")))


def _benchmark(run: Run, weights: str) -> dict[str, Any] | Missing:
    path = run.folder / BENCHMARK
    if not path.is_file():
        return Missing("not measured", "there is no benchmark", benchmark_command(run))
    found = _versioned(path)
    try:
        measured_weights = found["bundle"]["weights_sha256"]
        threads = found["threads"][min(found["threads"], key=int)]
        names = [name for name in threads["latency_ms"] if name in BACKENDS]  # not its peers
        speeds = list(threads["reviews_per_second"].values())
        whole = bool(speeds) and all(name in part for part in speeds for name in names)
        whole = whole and {"cold_start", "tokenising_ms", "length", "rounds"} <= found.keys()
    except (KeyError, TypeError, ValueError, AttributeError):
        whole, measured_weights = False, None
    if not whole:
        raise ValueError(f"{path}: not a whole benchmark; write it anew with: "
                         f"{benchmark_command(run)}")  # fmt: skip
    if measured_weights != weights:
        why = "what was measured has other weights than the bundle"
        return Missing("not measured", why, benchmark_command(run))
    return found


def _audits(run: Run, weights: str) -> tuple[dict[str, dict[str, Any]] | Missing, dict[str, Any]]:
    path = run.folder / AUDIT
    if not path.is_file():
        return Missing("not audited", "there is no audit", audit_command(run)), {}
    found = _versioned(path)
    by_backend: dict[str, dict[str, Any]] = {}
    try:
        for target in found["targets"]:
            described = _DESCRIBED.search(target["description"])
            if not described or not weights.startswith(described["weights"]):
                continue
            own = [s for s in found["sections"] if s["target"] == target["name"]]
            estimates = {e["name"]: e for s in own for e in (*s["estimates"], *s["headline"])}
            findings = [line for s in own for line in s["findings"]]
            by_backend[described["backend"]] = {"estimates": estimates, "findings": findings}
        settings = dict(found["settings"])
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: not a whole audit; write it anew with: "
                         f"{audit_command(run)}") from None  # fmt: skip
    if not by_backend:
        why = "what was audited has other weights than the bundle"
        return Missing("not audited", why, audit_command(run, settings=settings)), {}
    if _embedded_only(run, settings):
        command = audit_command(run, *by_backend)
        return Missing("embedded only", "audited on embedded reviews only", command), {}
    return by_backend, settings


def _certificates(bundle: Path) -> dict[str, Certified | Missing]:
    """Every backend that wants an artefact, where the bundle has the file or its certificate."""
    entries = read_certificate(bundle)
    found: dict[str, Certified | Missing] = {}
    for backend, kind in BACKENDS.items():
        if kind.format is None:
            continue
        filename = FORMATS[kind.format].filename
        if filename not in entries and not (bundle / filename).is_file():
            continue
        try:
            found[backend] = _certified(bundle, backend, verify_artefact(bundle, filename))
        except (FileNotFoundError, ValueError) as error:
            found[backend] = Missing("not proved", one_line(error), f"python -m export {bundle}")
    return found


def _recorded(run: Run, record: dict[str, Any], weights: str) -> dict[str, Certified | Missing]:
    """The same of a record, whose certificates were held against the files when it was made."""
    bundle = run.folder / BUNDLE
    entries, refused = read_certificate(bundle), record["refused"]
    found: dict[str, Certified | Missing] = {}
    for backend, kind in BACKENDS.items():
        filename = FORMATS[kind.format].filename if kind.format is not None else None
        if filename in refused:
            again = f"python -m export {_home(run) / BUNDLE}"
            found[backend] = Missing("not proved", str(refused[filename]), again)
        elif filename in entries:
            entry = entries[filename]
            if entry.get("passed") is not True or entry.get("weights_sha256") != weights:
                raise ValueError(f"{bundle / CERTIFICATE}: does not certify {filename} for these "
                                 "weights; the record was changed: make it anew")  # fmt: skip
            found[backend] = _certified(bundle, backend, entry)
    return found


def _certified(bundle: Path, backend: str, entry: dict[str, Any]) -> Certified:
    filename = FORMATS[BACKENDS[backend].format or ""].filename
    try:
        return Certified(
            filename, exact(backend), 1 - float(entry["label_agreement"]), int(entry["reviews"]),
            float(entry["accuracy"]), float(entry["checkpoint_accuracy"]), entry)  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{bundle / CERTIFICATE}: {filename}: no {one_line(error)}; write it anew with: "
            f"python -m export {bundle}"
        ) from None


def _sizes(bundle: Path) -> dict[str, int]:
    names = [WEIGHTS, *(kind.filename for kind in FORMATS.values())]
    return {name: (bundle / name).stat().st_size for name in names if (bundle / name).is_file()}


def _versioned(path: Path) -> dict[str, Any]:
    found = _read(path)
    if found.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema_version is {found.get('schema_version')!r}, this program "
                         f"reads {SCHEMA_VERSION}")  # fmt: skip
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {one_line(error)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: holds a {type(found).__name__}, wanted is an object")
    return found
