"""What one would take instead of TorchServe, with the same predictor behind it.

    python -m serve.benchmark.peers starlette BUNDLE PORT
    python -m serve.benchmark.peers litserve BUNDLE PORT

Both batch as the archives do: up to 8 requests, 1 ms of waiting.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

BATCH_SIZE, BATCH_DELAY = 8, 0.001  # requests, seconds
PATH = "/predict"


def answer(probabilities: list[float], labels: list[str]) -> dict[str, Any]:
    """What the archives' handler says, in short."""
    best = max(range(len(labels)), key=probabilities.__getitem__)
    return {
        "label": labels[best],
        "score": probabilities[best],
        "probabilities": dict(zip(labels, probabilities, strict=True)),
    }


# A module each: LitServe's processes import theirs anew, and neither needs the other's package.
PEERS = {
    "starlette": "serve.benchmark.starlette_peer",
    "litserve": "serve.benchmark.litserve_peer",
}

if __name__ == "__main__":
    name, bundle, port = sys.argv[1:]
    run: Callable[[str, int], None] = import_module(PEERS[name]).run
    run(bundle, int(port))
