"""What one would take instead of TorchServe, with the same predictor behind it.

    python -m serve.benchmark.peers starlette BUNDLE PORT WORKERS
    python -m serve.benchmark.peers litserve BUNDLE PORT WORKERS

Both batch as the archives do, and have as many processes with the model.
"""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from serve.archive import ServingConfig

BATCH_SIZE, BATCH_DELAY = ServingConfig().batch_size, ServingConfig().batch_delay / 1000  # seconds
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

PACKAGES = {"starlette": ("starlette", "uvicorn"), "litserve": ("litserve",)}


def check_installed(names: Iterable[str]) -> None:
    """Raises `ValueError` where what one of the peers needs is not installed."""
    wanted = {name for name in names if name in PEERS}
    missing = sorted(name for name in wanted if not all(map(find_spec, PACKAGES[name])))
    if missing:
        raise ValueError(
            f"--beside: {', '.join(missing)} cannot run here; install the peers, "
            "pip install -e '.[bench]', or name what to measure without them"
        )


if __name__ == "__main__":
    name, bundle, port, workers = sys.argv[1:]
    run: Callable[[str, int, int], None] = import_module(PEERS[name]).run
    run(bundle, int(port), int(workers))
