"""What lies in a run's folder beside its result: benchmark, audit and certificates, each checked.

What is not there, or was made of other weights, is a `Missing` with the command that makes it; what
is there and cannot be read is the user's to mend, and stops. A record (`bias.dossier.record`) keeps
everything but the weights and artefacts, and instead what was found of these when it was made.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bias.dossier.commands import audit_command, benchmark_command, embedded_only, home
from bias.dossier.files import AUDIT, BENCHMARK, BUNDLE, read_json, read_record, versioned
from export.backends import BACKENDS, artefact_sha256, is_exact
from export.certificate import CERTIFICATE, read_certificate, verify_artefact
from export.formats import FORMATS
from models.bundle import WEIGHTS, sha256
from training.results.run_files import one_line
from training.results.runs import Run

_DESCRIBED = re.compile(r" on (?P<backend>[\w-]+)(?:, seed \d+)?, weights (?P<weights>[0-9a-f]+)$")


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
    weights = str(read_json(bundle / "config.json").get("weights_sha256"))
    _check_weights(run, weights, there=record is None)
    benchmark = _benchmark(run, weights)
    audits, settings = _audits(run, weights)
    if record is not None:
        certificates, sizes = _recorded(run, record, weights), record["bytes"]
    else:
        certificates, sizes = _certificates(bundle), _sizes(bundle)
    return Evidence(run, weights, benchmark, certificates, audits, settings, sizes,
                    recorded=record is not None)  # fmt: skip


def _check_weights(run: Run, weights: str, there: bool) -> None:
    """Accuracy is of the bundle beside it, where the run says of which, and that is whole, where it
    is `there`."""
    stated = run.facts["best"].get("weights_sha256")  # of older runs None
    if stated not in (None, weights):
        raise ValueError(f"{run.folder}: result.json is of weights {stated[:12]}, {BUNDLE} holds "
                         f"{weights[:12]}: two models; give the run as it was trained")  # fmt: skip
    path = run.folder / BUNDLE / WEIGHTS
    if there and sha256(path) != weights:
        raise ValueError(f"{path}: has other bytes than config.json says; give the run as it was "
                         "trained")  # fmt: skip


def _benchmark(run: Run, weights: str) -> dict[str, Any] | Missing:
    path = run.folder / BENCHMARK
    if not path.is_file():
        return Missing("not measured", "there is no benchmark", benchmark_command(run))
    found = versioned(path)
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
    if (device := found.get("device", "cpu")) != "cpu":
        why = f"it was measured on {device}, and thresholds are of a CPU"
        return Missing("not measured", why, benchmark_command(run))
    for name, of in found.get("artefact_sha256", {}).items():
        if of != artefact_sha256(run.folder / BUNDLE, name):  # exported anew since
            for part in found["threads"].values():
                part["latency_ms"].pop(name, None)
    return found


def _audits(run: Run, weights: str) -> tuple[dict[str, dict[str, Any]] | Missing, dict[str, Any]]:
    path = run.folder / AUDIT
    if not path.is_file():
        return Missing("not audited", "there is no audit", audit_command(run)), {}
    found = versioned(path)
    by_backend: dict[str, dict[str, Any]] = {}
    try:
        for target in found["targets"]:
            described = _DESCRIBED.search(target["description"])
            if not described or not weights.startswith(described["weights"]):
                continue
            backend, of = described["backend"], target.get("artefact_sha256")
            now = artefact_sha256(run.folder / BUNDLE, backend)
            if of is not None and of != now and not is_exact(backend):  # exported anew since
                continue
            own = [s for s in found["sections"] if s["target"] == target["name"]]
            estimates = {e["name"]: e for s in own for e in (*s["estimates"], *s["headline"])}
            findings = [line for s in own for line in s["findings"]]
            by_backend[backend] = {"estimates": estimates, "findings": findings}
        settings = dict(found["settings"])
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: not a whole audit; write it anew with: "
                         f"{audit_command(run)}") from None  # fmt: skip
    if not by_backend:
        why = "what was audited has other weights than the bundle, or is another export of them"
        return Missing("not audited", why, audit_command(run, settings=settings)), {}
    if embedded_only(run, settings):
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
            again = f"python -m export {home(run) / BUNDLE}"
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
            filename, is_exact(backend), 1 - float(entry["label_agreement"]), int(entry["reviews"]),
            float(entry["accuracy"]), float(entry["checkpoint_accuracy"]), entry)  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{bundle / CERTIFICATE}: {filename}: no {one_line(error)}; write it anew with: "
            f"python -m export {bundle}"
        ) from None


def _sizes(bundle: Path) -> dict[str, int]:
    names = [WEIGHTS, *(kind.filename for kind in FORMATS.values())]
    return {name: (bundle / name).stat().st_size for name in names if (bundle / name).is_file()}
