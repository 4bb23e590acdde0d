"""Settings of `python -m training --task mlm`, filled by `--set mlm.KEY=VALUE`."""

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass(config=_STRICT, kw_only=True)
class MaskedConfig:
    """A tiny BERT (Devlin et al. 2019) by default, which trains in minutes on one core."""

    sources: list[str] = Field(default_factory=lambda: ["embedded"])
    text: Literal["title+content", "title", "content"] = "content"
    augment: Literal["none", "counterfactual"] = "none"
    """`counterfactual`: each time a text is drawn, a coin decides between it and its swapped
    copy. The expected gradient is that of training on both copies, at the same cost as plain."""
    swaps: str | None = None
    """A file of word pairs; None takes our own list."""
    tokenizer: str | None = None
    """Folder or hub name; None trains a WordPiece on the texts and their swapped copies."""
    vocabulary_size: int = Field(default=4000, ge=200, le=60000)
    max_length: int = Field(default=64, ge=8, le=512)
    """Tokens a piece of text has at most; longer texts are cut into several pieces."""
    limit: int | None = Field(default=None, ge=10)
    """Texts used; None uses all."""
    hidden_size: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=8, ge=1)
    tied_embeddings: bool = False
    """One matrix for reading and for predicting tokens, as BERT has it. In a narrow model the two
    uses stand in each other's way: untied, what goes with whom is learned in fewer steps."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    mask_probability: float = Field(default=0.15, gt=0, lt=1)
    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    warmup_fraction: float = Field(default=0.3, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    validation_fraction: float = Field(default=0.05, gt=0, lt=1)
    save_every: int = Field(default=200, ge=1)
    """Steps between states to resume from."""
    log_every: int = Field(default=20, ge=1)
    seed: int = Field(default=0, ge=0)


_ADAPTER = TypeAdapter(MaskedConfig)


def masked_config(overrides: list[str], **given: Any) -> MaskedConfig:
    """Defaults, then `mlm.key=value` overrides, then what the command line's own flags gave.

    Raises:
        ValueError: an unknown key, or a value that does not fit; one line that names it.
    """
    raw: dict[str, Any] = {}
    known = list(MaskedConfig.__dataclass_fields__)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.startswith("mlm."):
            raise ValueError(f"--set {override}: with --task mlm expected mlm.key=value, such as "
                             "mlm.epochs=2")  # fmt: skip
        name = key.removeprefix("mlm.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean mlm.{near[0]}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"--set {override}: unknown key {key!r}; {hint}")
        raw[name] = _value(override, text)
    raw |= {name: value for name, value in given.items() if value is not None}
    try:
        config = _ADAPTER.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"mlm.{name}: {first['msg']} (given: {first['input']!r}); change it with "
            f"--set mlm.{name}=VALUE"
        ) from None
    if config.hidden_size % config.heads:
        raise ValueError(
            f"mlm.heads={config.heads}: does not divide mlm.hidden_size={config.hidden_size}"
        )
    if config.swaps is not None and config.augment == "none":
        raise ValueError("--swaps is read with --augment counterfactual only; give both or neither")
    return config


def as_dict(config: MaskedConfig) -> dict[str, Any]:
    """Plain types only."""
    return dict(_ADAPTER.dump_python(config, mode="json"))


def differences(stored: Path, config: MaskedConfig) -> list[str]:
    """Settings in which the run in a folder differs, as `key: stored -> wanted`."""
    before = yaml.safe_load(stored.read_text(encoding="utf-8"))
    free = {"save_every", "log_every"}  # another way to the same model
    return [
        f"{key}: {before.get(key)!r} -> {value!r}"
        for key, value in as_dict(config).items()
        if key not in free and before.get(key) != value
    ]


def _value(override: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"--set {override}: the value is not YAML; put it in quotes") from None
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text, for want of a dot
        except ValueError:
            return value
    return value
