"""Ctrl-C and SIGTERM end training after the step in hand, with its state saved."""

import signal
import time
from types import FrameType, TracebackType

import torch
from accelerate import Accelerator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# a launcher passes on the Ctrl-C that the terminal has already sent to every process
_ECHO_SECONDS = 2.0


class Interruption:
    """Within the `with` block the two signals only raise a flag; one more, seconds later, acts
    as usual."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._flag = False
        self._since = 0.0
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def __enter__(self) -> "Interruption":
        for number in _SIGNALS:
            signal.signal(number, self._raise_flag)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def asked(self, agree: bool) -> bool:
        """Whether to stop now. Several processes must all stop at one step, so they vote when
        `agree` is set, which every process sets at the same steps."""
        if self.accelerator.num_processes == 1:
            return self._flag
        if not agree:
            return False
        votes = torch.tensor(float(self._flag), device=self.accelerator.device)
        return bool(self.accelerator.reduce(votes, "sum") > 0)

    def _raise_flag(self, number: int, frame: FrameType | None) -> None:
        if not self._flag:
            self._flag, self._since = True, time.monotonic()
        elif time.monotonic() - self._since > _ECHO_SECONDS:
            signal.signal(number, self._previous[signal.Signals(number)])
            signal.raise_signal(number)
