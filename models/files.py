"""Files that are written whole or not at all, and by one process at a time."""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write beside the target, then rename, so that an interruption leaves the old file and never a
    half; makes the folder where it is missing. Text is UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether a `write_whole` that was killed left this."""
    return path.is_file() and re.fullmatch(r"\..+\.partial-\d+", path.name) is not None


@contextmanager
def written_together(output: Path) -> Iterator[Path]:
    """A folder to write files into that belong together; when the block ends they are renamed into
    `output`, over older ones. Where it fails, `output` stays as it was.

    Raises:
        ValueError: `output` is a file.
    """
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output}: is a file; give a folder")
    output.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=output))
    try:
        yield partial
        for path in sorted(path for path in partial.rglob("*") if path.is_file()):
            target = output / path.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """While the block runs, no other `exclusive` of this file or folder, which exists, begins. The
    lock goes with the process, so that one that was killed leaves none. It is on `path` itself,
    where filelock's would be a further file in a folder that has to be a run's or empty.

    Raises:
        ValueError: another process is at it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{path}: another process is writing there; wait for it, or give another name"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
