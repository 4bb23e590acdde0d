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


def explain_failure(logs: Path, exit_status: int | None) -> str | None:
    """The reason why it failed, None where it has not (yet).

    Args:
        logs: the folder of its logs.
        exit_status: of the front end, None while it runs.
    """
    worker = _read(logs / "worker.log")
    exception = _exception(worker)
    if exception:
        return f"a worker did not load the model: {exception}"
    front = _read(logs / "server.log") + _read(logs / "java.log")
    for pattern, reason in _JAVA_REASONS:
        match = pattern.search(front)
        if match:
            return reason.format(*(group.strip() for group in match.groups()))
    if exit_status is not None:
        last = [line for line in front.splitlines() if line.strip()]
        return f"Java ended with status {exit_status}: {last[-1] if last else 'it said nothing'}"
    return None


def last_line(logs: Path) -> str:
    """What was written last, of whatever log, cut to what fits in a message."""
    paths = [logs / name for name in LOGS]
    for path in sorted(filter(Path.is_file, paths), key=lambda each: -each.stat().st_mtime):
        lines = _read(path).split("\n")
        written = [line.strip() for line in lines if line.strip()]
        if written:
            return written[-1][:_SHOWN]
    return ""


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


def _read(path: Path) -> str:
    """The end of a log, which may be long, or no file at all."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LONGEST))
            return file.read(_LONGEST).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
