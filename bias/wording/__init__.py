"""The words of the audit as data: templates, groups, names, pairs; all in our own wording."""

from importlib import resources
from typing import Any

import yaml


def read(name: str) -> dict[str, Any]:
    """The content of `NAME.yaml` in this folder."""
    text = (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
