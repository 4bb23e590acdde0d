"""SIGINT and SIGTERM as an exception, so that a server is drained and removed on the way out."""

import signal
from types import FrameType
from typing import NoReturn


class Stopped(BaseException):
    """SIGINT or SIGTERM. No `Exception`: nothing on the way may catch it."""


def raise_stopped() -> None:
    """From now on the first of either signal raises `Stopped`, and later ones do nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # draining ends by itself
    raise Stopped
