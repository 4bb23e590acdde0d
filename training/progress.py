"""A progress bar with the figures one watches, shown by the main process alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


@dataclass
class Task:
    """One bar."""

    bar: RichProgress
    id: TaskID

    def advance(self, amount: int = 1, figures: str = "") -> None:
        """Move the bar on, and replace the figures beside it where given."""
        if figures:
            self.bar.update(self.id, advance=amount, figures=figures)
        else:
            self.bar.update(self.id, advance=amount)


class Progress:
    """Bars on standard error; silent in all processes but the main one."""

    def __init__(self, enabled: bool = True) -> None:
        self.console = Console(stderr=True, quiet=not enabled)

    def say(self, line: str) -> None:
        """A line that stays, above the bars."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar of `total` units of which `done` were done before, with elapsed and left time."""
        bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,  # in a log file a bar is only blank lines
        )
        with bar:
            yield Task(bar, bar.add_task(name, total=total, completed=done, figures=""))
