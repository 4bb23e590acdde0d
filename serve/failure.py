"""Why a TorchServe did not come up, found in its logs: one line."""

import re
from pathlib import Path

# What a worker prints when it ends; the cause is the last line of the traceback before it.
_WORKER_DIED = "Backend worker process died."
_EXCEPTION = re.compile(r"(?:[\w.]+\.)?(\w*(?:Error|Exception|Failure|Fault)\b.*)")
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
    if _WORKER_DIED in worker:
        return f"a worker did not load the model: {_last_exception(worker)}"
    front = _read(logs / "server.log") + _read(logs / "java.log")
    for pattern, reason in _JAVA_REASONS:
        match = pattern.search(front)
        if match:
            return reason.format(*(group.strip() for group in match.groups()))
    if exit_status is not None:
        last = [line for line in front.splitlines() if line.strip()]
        return f"Java ended with status {exit_status}: {last[-1] if last else 'it said nothing'}"
    return None


def _last_exception(text: str) -> str:
    found = "no reason in its log"
    for line in text.splitlines():
        # behind time and thread
        match = _EXCEPTION.match(line.partition(" - ")[2].strip())
        if match:
            found = match[1]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
