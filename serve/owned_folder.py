"""Folders for temporary files that live as long as the process that made them.

Whether it lives is told by a lock on a file in the folder, not by the process's number: numbers are
given again, and in a container the command has the same one after each restart, which the folder
for temporary files may survive.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PREFIX = "text-classifier-serve"
LOCK = "lock"
_UNFINISHED = f".{PREFIX}-"
_PATIENCE = 60.0  # seconds that a folder may be without its lock and its name


def make_folder() -> tuple[Path, BinaryIO]:
    """A new folder, readable by its owner alone, and its lock: to be held open, closed at the end.

    It gets its name once it is locked, so that nobody takes it for one whose owner has died.
    """
    unnamed = Path(tempfile.mkdtemp(prefix=_UNFINISHED))
    lock = (unnamed / LOCK).open("wb")  # not inherited by what we start
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unique = unnamed.name.removeprefix(_UNFINISHED)
        folder = unnamed.rename(unnamed.with_name(f"{PREFIX}-{os.getpid()}-{unique}"))
    except BaseException:
        shutil.rmtree(unnamed, ignore_errors=True)
        lock.close()
        raise
    return folder, lock


def owned_folders() -> Iterator[tuple[Path, bool]]:
    """Each such folder that this user may read, and whether the process that made it lives."""
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}-*-*")):
        if not folder.name.removeprefix(f"{PREFIX}-").partition("-")[0].isdecimal():
            continue
        try:
            with (folder / LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield folder, True
        except FileNotFoundError:  # being removed
            yield folder, False
        except OSError:  # another user's
            continue
        else:
            yield folder, False


def remove_abandoned() -> None:
    """Removes the folders that killed processes left."""
    for folder, alive in owned_folders():
        if not alive:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in Path(tempfile.gettempdir()).glob(f"{_UNFINISHED}*"):
        try:
            age = time.time() - folder.stat().st_mtime
        except OSError:
            continue
        if age > _PATIENCE:
            shutil.rmtree(folder, ignore_errors=True)
