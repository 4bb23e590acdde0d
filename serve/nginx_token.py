"""The inference token where a reverse proxy reads it: a line of nginx's, kept up to date.

A token is made at each start, and expires; `deploy/proxy.sh` reloads nginx when the file changes.
"""

import os
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from serve.management import Management
from serve.tokens import read_tokens

PERIOD = 1.0  # seconds between two looks at the tokens
_SOONEST = 60.0  # seconds before it expires that a token is refreshed, at most


def prepare_token_file(path: Path) -> None:
    """Removes an earlier start's token, with which a proxy would be refused.

    Raises:
        ValueError: no file can be written there.
    """
    try:
        path.unlink(missing_ok=True)
        _write(path, "")
        path.unlink()
    except OSError as error:
        raise ValueError(
            f"--nginx-token-file: {path} cannot be written ({os.strerror(error.errno or 0)}); give "
            "a file in a folder that is there"
        ) from error


class NginxToken:
    """Writes the token at `start`, then whenever it is another; removes the file at `stop`.

    Where its time is nearly over it is refreshed: who asks through a proxy cannot. TorchServe
    forgets the old one at once, so that the proxy is refused until it has read the new one.
    """

    def __init__(self, path: Path, management: Management, token_minutes: float) -> None:
        self._path, self._management = path, management
        self._ahead = timedelta(seconds=min(_SOONEST, token_minutes * 60 / 10))
        self._written: str | None = None
        self._complained = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nginx token", daemon=True)

    def start(self) -> None:
        """Errors as `keep`'s."""
        self.keep()
        self._thread.start()

    def stop(self) -> None:
        """The token is of no use from here on."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._path.unlink(missing_ok=True)

    def keep(self) -> None:
        """Refreshes what expires soon, writes what is new.

        Raises:
            OSError, ValueError: TorchServe does not answer, or the file cannot be written.
        """
        tokens = read_tokens(self._management.key_file)
        if tokens.inference_expires - datetime.now(UTC) < self._ahead:
            self._management.refresh("inference")
            tokens = read_tokens(self._management.key_file)
        if tokens.inference != self._written:
            _write(self._path, f'set $endpoint_token "{tokens.inference}";\n')
            self._written = tokens.inference

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD):
            try:
                self.keep()
                self._complained = False
            except (OSError, ValueError) as error:  # tried again; said once
                if not self._complained and not self._stopped.is_set():
                    print(f"--nginx-token-file: not up to date: {error}", file=sys.stderr)
                self._complained = True


def _write(path: Path, content: str) -> None:
    """Whole or not at all, for its owner alone."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
