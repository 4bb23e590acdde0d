"""A bundle's config vouches for itself, as its hashes do for the other files. Imports no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

KEY = "config_sha256"
_FREE = (KEY, "provenance")  # where it comes from decides no answer


def config_digest(config: dict[str, Any]) -> str:
    """The hexadecimal SHA-256 of all that decides answers: architecture, arguments, labels and
    their order, length, and the hashes of weights and tokenizer."""
    decisive = {key: value for key, value in config.items() if key not in _FREE}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def check_config(path: Path, config: dict[str, Any]) -> None:
    """`ValueError` for a config that was changed after it was saved. One of an earlier version,
    which does not say, passes."""
    if KEY in config and config[KEY] != config_digest(config):
        raise ValueError(
            f"{path}: was changed after it was saved, so that its labels or settings may not be "
            "the model's; restore it, or save the bundle again (models.bundle.save)"
        )
