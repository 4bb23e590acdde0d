"""One configuration, filled by an experiment's YAML file, then by `--set` on the command line.

    config = load_experiment("1-gru", ["train.batch_size=64", "model.arguments.dropout=0.1"])

An unknown key, a value of the wrong type or out of range stops with one line that names the key,
what was given and what is allowed.
"""

import contextlib
import difflib
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from training.settings import Config, ModelConfig

_EXPERIMENTS = resources.files("training") / "experiments"
# Settings of `train` that did not pay (docs/runs.md), and what leaves them off: the files of older
# runs name them.
_REMOVED = {"label_smoothing": 0.0, "r_drop": 0.0, "average_decay": None, "token_dropout": 0.0}

_ADAPTER = TypeAdapter(Config)


def experiment_names() -> list[str]:
    """The experiments that come with the package, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in _EXPERIMENTS.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_experiment(name: str, overrides: list[str] | None = None) -> Config:
    """Read an experiment by name, or by the path of a YAML file, and apply `key=value` overrides.

    Raises:
        ValueError: unknown experiment or key, or a value that does not fit; one line.
    """
    raw = _read_experiment(name)
    for override in overrides or []:
        _apply_override(raw, override)
    return parse(raw)


def parse(raw: dict[str, Any]) -> Config:
    """Check a nested dictionary and make it a `Config`.

    Raises:
        ValueError: names the first key that does not fit, what was given and what is allowed.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"found {type(raw).__name__}, wanted is a mapping of settings")
    try:
        config = _ADAPTER.validate_python(_without_removed(raw))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            raise ValueError(f"unknown key {key!r}; {_closest(key, _known_keys())}") from None
        given = "" if first["type"] == "missing" else f" (given: {first['input']!r})"
        message = f"{key}: {first['msg']}{given}; change it with --set {key}=VALUE"
        raise ValueError(message) from None
    _check_numbers(raw, config)
    if config.distill.unlabelled and config.distill.teacher is None:
        raise ValueError(
            "distill.unlabelled: texts without labels need a teacher; give one with --set "
            "distill.teacher=FOLDER"
        )
    if config.model.architecture == "bert" and config.data.tokenizer is None:
        backbone = config.model.arguments.get("backbone")
        if isinstance(backbone, dict):
            raise ValueError("data.tokenizer: the backbone is a configuration, and has none; give "
                             "a folder or a hub name")  # fmt: skip
        config.data.tokenizer = backbone if isinstance(backbone, str) else None  # no other fits it
    return config


def _check_numbers(raw: dict[str, Any], config: Config) -> None:
    """Pydantic takes true for 1, which nobody means."""
    found = flatten(as_dict(config))
    for key, given in flatten(raw).items():
        givens, numbers = (x if isinstance(x, list) else [x] for x in (given, found.get(key)))
        if any(isinstance(one, bool) and type(number) in (int, float)
               for one, number in zip(givens, numbers, strict=False)):  # fmt: skip
            raise ValueError(f"{key}: Input should be a number (given: {given}); change it with "
                             f"--set {key}=VALUE")  # fmt: skip


def _without_removed(raw: dict[str, Any]) -> dict[str, Any]:
    train = raw.get("train")
    if not isinstance(train, dict):
        return raw
    kept = {k: v for k, v in train.items() if k not in _REMOVED or v != _REMOVED[k]}
    return raw | {"train": kept}


def as_dict(config: Config) -> dict[str, Any]:
    """The nested dictionary that `parse` reads back, of plain types only."""
    return dict(_ADAPTER.dump_python(config, mode="json"))


def dump(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True)


def completed(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` with each setting it does not name at its default, so that the configuration of a run
    older than a setting equals that of one which left it alone; as it is where it is none."""
    try:
        return as_dict(parse(raw))
    except ValueError:
        return raw


def differences(left: Config, right: Config) -> list[str]:
    """Dotted keys whose values differ, as `key: left -> right`."""
    flat_left, flat_right = flatten(as_dict(left)), flatten(as_dict(right))
    keys = sorted(flat_left.keys() | flat_right.keys())
    return [
        f"{key}: {flat_left.get(key)!r} -> {flat_right.get(key)!r}"
        for key in keys
        if flat_left.get(key) != flat_right.get(key)
    ]


def _read_experiment(name: str, over: tuple[str, ...] = ()) -> dict[str, Any]:
    """YAML to dictionary; `extends: NAME or FILE` lays a file over another one, key by key. `over`
    are those that it is laid under."""
    path = Path(name)
    if name in over:
        raise ValueError(f"--experiment {over[0]}: extends itself ({' -> '.join((*over, name))})")
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"--experiment {name}: no such file")
        text = path.read_text(encoding="utf-8")
    elif name in experiment_names():
        text = (_EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise ValueError(
            f"--experiment {name}: no such experiment; {_closest(name, experiment_names())}; "
            "`python -m training --list` shows all, or give the path of a .yaml file"
        )
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--experiment {name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"--experiment {name}: expected keys such as model, data and train")
    base = raw.pop("extends", None)
    if not isinstance(base, str | None):
        raise ValueError(f"--experiment {name}: extends: got {base!r}; give a name or a .yaml file")
    if base:
        beside = path.parent / base  # a file is looked for beside the one that extends it
        below = _read_experiment(str(beside) if beside.suffix else base, (*over, name))
        raw = _merge(below, raw)
    return raw | {"experiment": path.stem if path.suffix in (".yaml", ".yml") else name}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _apply_override(raw: dict[str, Any], override: str) -> None:
    """`train.batch_size=64`: the value is read as YAML, so lists, null and true work."""
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ValueError(f"--set {override}: expected key=value, such as train.batch_size=64")
    *parents, leaf = key.split(".")
    branch: Any = raw
    for parent in parents:
        branch = branch.setdefault(parent, {})
        if not isinstance(branch, dict):
            raise ValueError(f"--set {override}: {parent!r} is a value and has no keys below it")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"--set {override}: the value is not YAML; put it in quotes") from None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-3 as text, for want of a dot
            value = float(value)
    branch[leaf] = value


def _known_keys() -> list[str]:
    blank = Config(experiment="", title="", model=ModelConfig(architecture=""))
    top = as_dict(blank)
    return sorted({*top, *flatten(top)})


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: `{"train": {"epochs": 1}}` -> `{"train.epochs": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _closest(name: str, known: list[str]) -> str:
    """Say which known names are near, or all of them where none is."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
