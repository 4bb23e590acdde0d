"""What an artefact says about itself, so that it can be used without its bundle."""

import json
from typing import Any


def metadata_of(config: dict[str, Any]) -> dict[str, str]:
    """A bundle's config.json as strings; values that are not strings are JSON."""
    return {
        "labels": json.dumps(config["labels"]),
        "max_length": str(config["max_length"]),
        "vocabulary_size": str(vocabulary_size(config)),
        "tokenizer_sha256": config["tokenizer_sha256"],
        "weights_sha256": config["weights_sha256"],
        "architecture": config["architecture"],
        "provenance": json.dumps(config["provenance"]),
    }


def vocabulary_size(config: dict[str, Any]) -> int:
    """The number of token ids that a bundle's model has embeddings for."""
    arguments = config["arguments"]
    if isinstance(arguments.get("backbone"), dict):
        return int(arguments["backbone"]["vocab_size"])
    return int(arguments["vocabulary_size"])
