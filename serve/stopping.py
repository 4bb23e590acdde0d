"""Signals that end a server as an exception, so that it is drained and removed on the way out."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


class Stopped(BaseException):
    """One of the signals. No `Exception`: nothing on the way may catch it."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, the first of the signals raises `Stopped`, and later ones do nothing. SIGHUP that
    `nohup` has ignored stays so."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # draining ends by itself
    raise Stopped
