"""A progress bar on standard error with the time left; nothing where that is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """Bars for as long as the context lasts."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # in a log file a bar is only blank lines
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @contextmanager
    def task(self, name: str, total: int | None) -> Iterator[Callable[[], None]]:
        """A bar of `total` units (None: unknown); calling what is given moves it on by one."""
        task = self._bar.add_task(name, total=total)
        try:
            yield lambda: self._bar.advance(task)
        finally:
            self._bar.remove_task(task)
