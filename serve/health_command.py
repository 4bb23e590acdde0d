"""`python -m serve health`: whether the endpoint of this user on this machine is ready; for probes.

TorchServe's own /ping says yes before a model is loaded.
"""

from collections.abc import Sequence
from pathlib import Path

from models.command import command, fail
from serve.command import command_parser
from serve.instance import running_instances
from serve.management import READY, Management


@command
def main(arguments: Sequence[str]) -> int:
    parser = command_parser(
        "serve health", "Exit 0 where all workers of your endpoints on this machine are ready."
    )
    parser.parse_args(arguments)
    found = running_instances()
    if not found:
        return fail("no endpoint runs here", 1)
    for folder, port in found:
        reason = _unready(folder, port)
        if reason:
            return fail(f"port {port}: {reason}", 1)
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
