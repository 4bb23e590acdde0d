"""Signals that end a server as an exception, so that it is drained and removed on the way out."""

import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


class Stopped(BaseException):
    """One of the signals. No `Exception`: nothing on the way may catch it."""


def raise_stopped() -> None:
    """From now on the first of the signals raises `Stopped`, and later ones do nothing. SIGHUP that
    `nohup` has ignored stays so."""
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # draining ends by itself
    raise Stopped
