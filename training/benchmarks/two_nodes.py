"""The two-machine configuration, run across two network namespaces of one machine.

    sudo python -m training.benchmarks.two_nodes --delay 0.1ms -- \\
        --experiment demo --data embedded:400 --output runs/two-nodes

What comes after `--` goes to `python -m training` on both. Each namespace has a loopback of its own
and one end of a virtual cable, so that the processes can reach one another by that address alone,
as two machines do. Each machine works in a folder of its own below `--output`: `node0/`, which
holds the results, and `node1/`. Needs Linux, `ip` (iproute2) and the right to make namespaces; the
namespaces are removed afterwards.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.command import command

CONFIG = Path(__file__).parents[2] / "accelerate_configs/two_nodes.yaml"
PORT = "29500"  # the namespaces are new: nobody listens there
ADDRESSES = ("10.213.77.1", "10.213.77.2")


@command
def main(arguments: list[str] | None = None) -> int:
    """Run the training on both nodes; the worse of their exit statuses."""
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmarks.two_nodes",
        description="accelerate_configs/two_nodes.yaml across two network namespaces.",
    )
    parser.add_argument("--delay", help="of the cable, as tc takes it, such as 0.1ms")
    parser.add_argument("training", nargs="+", help="the arguments of `python -m training`")
    given = parser.parse_args(arguments)
    reason = lacking()
    if reason:
        parser.error(reason)
    if "--output" not in given.training[:-1]:
        parser.error("--output: give the training one; each node takes a folder below it")
    # Being told to stop must not leave namespaces behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    nodes: list[subprocess.Popen[bytes]] = []
    with namespaces(given.delay) as names:
        try:
            nodes += [start(name, rank, given.training) for rank, name in enumerate(names)]
            return max(node.wait() for node in nodes)
        finally:
            for node in nodes:
                node.terminate()
                node.wait()


def lacking() -> str:
    """Why no namespace can be made here; empty where one can."""
    if shutil.which("ip") is None:
        return "needs the command `ip` (iproute2)"
    name = f"probe{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"may not make network namespaces ({done.stderr.strip()}); run it as root"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


@contextmanager
def namespaces(delay: str | None = None) -> Iterator[tuple[str, str]]:
    """Two namespaces and a cable between them; the device in each has the namespace's name."""
    first, second = names = f"node{os.getpid()}a", f"node{os.getpid()}b"
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", first, "netns", first, "type", "veth",
            "peer", "name", second, "netns", second)  # fmt: skip
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", name, "up")
            if delay:
                _ip("netns", "exec", name, "tc", "qdisc", "add", "dev", name, "root", "netem",
                    "delay", delay)  # fmt: skip
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def start(name: str, rank: int, training: list[str]) -> subprocess.Popen[bytes]:
    """The training of one node, in its namespace, on the CPU."""
    own = list(training)
    place = own.index("--output") + 1
    own[place] = str(Path(own[place]) / f"node{rank}")
    command = ["ip", "netns", "exec", name, sys.executable, "-m", "accelerate.commands.launch",
               "--config_file", str(CONFIG), "--machine_rank", str(rank),
               "--main_process_ip", ADDRESSES[0], "--main_process_port", PORT,
               "--mixed_precision", "no", "-m", "training", *own]  # fmt: skip
    # gloo would else look up the machine's name, which leads out of the namespace
    environment = os.environ | {"GLOO_SOCKET_IFNAME": name, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, env=environment)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


if __name__ == "__main__":
    raise SystemExit(main())
