"""How a server is to run; what would never come up is refused."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from serve.archive import ServingConfig

LONGEST_TOKEN = 100 * 366 * 24 * 60  # minutes


@dataclass(frozen=True)
class ServerConfig:
    """How to serve.

    Args:
        backend: of the archives; see `serve.archive.ARTEFACTS`.
        port, management_port, metrics_port: on the loopback interface; None is any free one.
        token_minutes: after which tokens expire.
        buffered_socket: read the workers' sockets in chunks (see `serve.buffered_socket`).
        fast_start: Java compiles its code once and lightly, not again once it is often used.
        python: of the workers; its environment needs torchserve, torch, tokenizers and the engine.
        logs: a folder; None is one that goes with the server.
        nginx_token_file: where a proxy reads the inference token (see `serve.nginx_token`).
        start_timeout, drain_timeout: seconds.
        serving: of each model's workers; what a ready-made archive says of its own goes before.
    """

    backend: str = "onnx"
    port: int | None = None
    management_port: int | None = None
    metrics_port: int | None = None
    token_minutes: float = 60
    buffered_socket: bool = True
    fast_start: bool = False
    python: Path = Path(sys.executable)
    logs: Path | None = None
    nginx_token_file: Path | None = None
    start_timeout: float = 120.0
    drain_timeout: float = 30.0
    serving: ServingConfig = field(default_factory=ServingConfig)

    def __post_init__(self) -> None:
        # Tokens of no time, or of a time that no date can say, would let nobody in, not even us.
        if not 0 < self.token_minutes <= LONGEST_TOKEN:
            raise ValueError(
                f"--token-minutes: got {self.token_minutes}; give more than 0, at most "
                f"{LONGEST_TOKEN} (100 years)"
            )
        if not self.start_timeout > 0:  # nor what is no number
            raise ValueError(f"--start-timeout: got {self.start_timeout}; give seconds above 0")
        if not self.drain_timeout >= 0:
            raise ValueError(f"--drain-timeout: got {self.drain_timeout}; give seconds from 0 up")
