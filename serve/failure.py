"""Why a TorchServe did not come up, found in its logs: one line."""

import os
import re
from pathlib import Path

LOGS = ("worker.log", "server.log", "java.log")
_LONGEST = 1 << 18  # bytes of a log that are looked at
_SHOWN = 200  # characters of a line
# What a worker prints when it ends, and a traceback with it, whose last line is not indented.
_WORKER_DIED = "Backend worker process died."
_EXCEPTION = re.compile(r"(?:\w+\.)*(\w+: .*)")
_JAVA_REASONS = (
    (re.compile(r"Address already in use"), "a port was taken meanwhile; start again"),
    (re.compile(r"OutOfMemoryError"), "too little memory for Java"),
    (re.compile(r"Could not reserve enough space|Cannot allocate memory"),
     "too little memory for Java"),
    (re.compile(r"(?:InvalidModelException|ModelNotFoundException|ModelException): (.*)"),
     "a broken archive: {0}"),
    (re.compile(r"(ZipException|EOFException|ZipFile.*): (.*)"), "a broken archive: {1}"),
)  # fmt: skip


class Logs:
    """The logs in a folder, from when this was made: what is there already is an earlier start's,
    since TorchServe appends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = {name: _identity(folder / name) for name in LOGS}

    def explain_failure(self, exit_status: int | None) -> str | None:
        """The reason why TorchServe failed, None where it has not (yet).

        Args:
            exit_status: of the front end, None while it runs.
        """
        exception = _exception(self._read("worker.log"))
        if exception:
            return f"a worker did not load the model: {exception}"
        front = self._read("server.log") + self._read("java.log")
        for pattern, reason in _JAVA_REASONS:
            match = pattern.search(front)
            if match:
                return reason.format(*(group.strip() for group in match.groups()))
        if exit_status is not None:
            last = _last_line(front) or "it said nothing"
            return f"Java ended with status {exit_status}: {last}"
        return None

    def last_line(self) -> str:
        """What was written last, of whatever log, cut to what fits in a message."""
        paths = [path for path in map(self._folder.joinpath, LOGS) if path.is_file()]
        newest_first = sorted(paths, key=lambda path: -path.stat().st_mtime)
        lines = (_last_line(self._read(path.name)) for path in newest_first)
        return next(filter(None, lines), "")[:_SHOWN]

    def _read(self, name: str) -> str:
        """The end of a log, which may be long, or no file at all."""
        number, size = self._before[name]
        try:
            with (self._folder / name).open("rb") as file:
                now = os.fstat(file.fileno())
                rolled = now.st_ino != number or now.st_size < size
                file.seek(max(0 if rolled else size, now.st_size - _LONGEST))
                return file.read(_LONGEST).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def _identity(path: Path) -> tuple[int, int]:
    """Number and size of a file: a log that was rolled meanwhile is another, or shorter."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _exception(text: str) -> str | None:
    """What the first worker that died of one says of it."""
    _, died, rest = text.partition(_WORKER_DIED)
    _, trace, rest = rest.partition("Traceback")
    if not died or not trace:
        return None
    for line in rest.splitlines()[1:]:
        match = _EXCEPTION.fullmatch(line.partition(" - ")[2])  # behind time and thread
        if match:
            return match[1]
    return None
