"""The commands that make what a dossier lacks, as a user would type them."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bias.dossier.files import BUNDLE, read_record
from training.results.questions import set_name
from training.results.runs import Run
from training.sources import is_embedded

_AUDIT_DEFAULTS = (("text", "title+content"), ("most_reviews", 300), ("seed", 0))


def benchmark_command(run: Run) -> str:
    """Measures every backend of the run's bundle."""
    folder = home(run)
    return f"python -m export.benchmark {folder / BUNDLE} --output {folder / 'benchmark'}"


def audit_command(run: Run, *backends: str, settings: Mapping[str, Any] | None = None) -> str:
    """Audits the run's bundle, on its default backend or on those that are named.

    On the reviews of its earlier audit, where `settings` are given, whose folder it overwrites;
    else, or where those were embedded and the run's are real, on the run's own first test set.
    """
    bundle = home(run) / BUNDLE
    targets = [f"{bundle}@{backend}" for backend in backends] or [str(bundle)]
    settings = settings or {}
    flags: list[str] = []
    if settings.get("reviews") and not embedded_only(run, settings):
        names = ("reviews", "text", "most_reviews", "identities")
        kept = [(name, settings.get(name)) for name in (*names, "seed")]
    else:
        kept = [("reviews", _first_test(run)), ("text", run.facts["data"].get("text"))]
    for name, value in kept:
        if value is not None and (name, value) not in _AUDIT_DEFAULTS:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(["python", "-m", "bias", *targets, *flags, "--output",
                       str(home(run) / "audit")])  # fmt: skip


def home(run: Run) -> Path:
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


def embedded_only(run: Run, settings: Mapping[str, Any]) -> bool:
    """Whether machine-written reviews were audited of a run that learned from real ones."""
    sources = run.facts["data"].get("sources", ())
    real = any(not is_embedded(source) for source in sources)
    return real and is_embedded(str(settings.get("reviews")))
