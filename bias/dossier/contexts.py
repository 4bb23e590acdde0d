"""Deployment contexts: which thresholds a model has to show there, and whether it may decide."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from bias.dossier.metrics import METRICS
from training.results.run_files import one_line

SCHEMA_VERSION = 1
USES = {
    "alone": "it may decide by itself where every threshold is shown",
    "assist": "it never decides alone, whatever it shows: a person decides",
    "never": "not at all, whatever it shows",
}
_FIELDS = ("title", "decides", "use", "argument", "prefer", "thresholds")


@dataclass(frozen=True)
class Threshold:
    """What one metric has to show; `limit` in the metric's own unit, shares from 0 to 1."""

    metric: str
    limit: float
    why: str

    @property
    def text(self) -> str:
        """`accuracy in domain ≥ 90%`."""
        return f"{METRICS[self.metric].title} {METRICS[self.metric].limit(self.limit)}"


@dataclass(frozen=True)
class Context:
    """One use. `use` is a name of USES, `prefer` a metric's."""

    name: str
    title: str
    decides: str
    use: str
    argument: str
    prefer: str
    thresholds: tuple[Threshold, ...]


def load_contexts(path: Path | None = None) -> list[Context]:
    """Ours, or those of a file in the same form.

    Raises:
        ValueError: one line that names the file, the field, what was given and what is allowed.
    """
    source = path or Path(str(resources.files("bias.dossier") / "contexts.yaml"))
    where = f"--contexts {source}"
    try:
        given = yaml.safe_load(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}; give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{where}: not YAML: {one_line(error)}") from None
    if not isinstance(given, dict) or given.get("schema_version") != SCHEMA_VERSION:
        found = given.get("schema_version") if isinstance(given, dict) else given
        raise ValueError(f"{where}: schema_version is {found!r}, this program reads "
                         f"{SCHEMA_VERSION}")  # fmt: skip
    contexts = given.get("contexts")
    if not isinstance(contexts, dict) or not contexts:
        raise ValueError(f"{where}: contexts is {contexts!r}; give at least one by its name")
    return [_context(f"{where}: contexts.{name}", str(name), c) for name, c in contexts.items()]


def _context(where: str, name: str, given: Any) -> Context:
    if not isinstance(given, dict):
        raise ValueError(f"{where}: is {given!r}; wanted are {', '.join(_FIELDS)}")
    for key in given:
        if key not in _FIELDS:
            raise ValueError(f"{where}.{key}: unknown field{_hint(str(key), _FIELDS)}")
    for key in _FIELDS:
        kind: type = dict if key == "thresholds" else str
        if not isinstance(given.get(key), kind) or not given[key]:
            wanted = "metrics with at_least or at_most" if kind is dict else "text"
            raise ValueError(f"{where}.{key}: is {given.get(key)!r}, wanted is {wanted}")
    if given["use"] not in USES:
        raise ValueError(f"{where}.use: got {given['use']!r}; allowed are {', '.join(USES)}")
    _known(f"{where}.prefer", given["prefer"])
    thresholds = [_threshold(f"{where}.thresholds", str(k), v)
                  for k, v in given["thresholds"].items()]  # fmt: skip
    texts = {key: " ".join(given[key].split()) for key in _FIELDS if key != "thresholds"}
    return Context(name=name, thresholds=tuple(thresholds), **texts)


def _threshold(where: str, metric: str, given: Any) -> Threshold:
    _known(where, metric)
    side = "at_least" if METRICS[metric].high else "at_most"
    limit = given.get(side) if isinstance(given, Mapping) else None
    extra = set(given) - {side, "why"} if isinstance(given, Mapping) else set()
    number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if extra or not number or not math.isfinite(float(limit or 0)) or float(limit or 0) < 0:
        raise ValueError(
            f"{where}.{metric}: is {given!r}; wanted is {{{side}: NUMBER, why: TEXT}}"
            + (", a share from 0 to 1" if METRICS[metric].share else f" in {METRICS[metric].unit}")
        )
    assert limit is not None
    if METRICS[metric].share and limit > 1:
        raise ValueError(f"{where}.{metric}.{side}: got {limit:g}; a share is from 0 to 1, such as "
                         "0.9 for 90%")  # fmt: skip
    return Threshold(metric, float(limit), str(given.get("why", "")))


def _known(where: str, metric: str) -> None:
    if metric not in METRICS:
        raise ValueError(f"{where}: unknown threshold {metric!r}{_hint(metric, METRICS)}")


def _hint(given: str, known: Any) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    mean = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{mean}; known are {', '.join(known)}"
