"""`python -m serve health`: whether the endpoint of this user on this machine is ready; for probes.

TorchServe's own /ping says yes before a model is loaded.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from serve.instance import running_instances
from serve.management import READY, Management


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m serve health",
        description="Exit 0 where all workers of your endpoints on this machine are ready.",
    )
    parser.parse_args(arguments)
    found = running_instances()
    if not found:
        print("python -m serve health: no endpoint runs here", file=sys.stderr)
        return 1
    for folder, port in found:
        reason = _unready(folder, port)
        if reason:
            print(f"python -m serve health: port {port}: {reason}", file=sys.stderr)
            return 1
    return 0


def _unready(folder: Path, port: int) -> str | None:
    management = Management(port, folder / "key_file.json", timeout=4)
    try:
        states = management.all_states()
    except (OSError, ValueError) as error:
        return f"does not answer ({type(error).__name__})"
    if not states or set(states) != {READY}:
        return f"workers are {', '.join(states) or 'none'}"
    return None
