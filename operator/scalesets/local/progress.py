"""What long work shows: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

_QUARTER = 0.25


@dataclass(slots=True)
class Step:
    """One piece of work under way: so many units done of a total that may become known later."""

    show: Callable[[Step], None] = field(repr=False)
    total: float | None = None
    done: float = 0.0

    def advance(self, units: float = 1.0) -> None:
        """Say that more is done."""
        self.done += units
        self.show(self)

    def expect(self, total: float) -> None:
        """Say how much there is to do."""
        self.total = total
        self.show(self)


class Progress:
    """Plain lines through `say`: at the start, at each quarter, and at the end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    @contextlib.contextmanager
    def step(self, title: str, *, total: float | None = None, bytewise: bool = False) -> Iterator[Step]:
        """Show one piece of work."""
        self.say(f"{title} …")
        said = 0

        def show(step: Step) -> None:
            nonlocal said
            quarters = int(step.done / step.total / _QUARTER) if step.total else 0
            if said < quarters < 4:
                said = quarters
                self.say(f"{title}: {quarters * 25}%")

        yield Step(show, total)
        self.say(f"{title}: done")


class TerminalProgress(Progress):
    """Bars on a terminal that vanish when their work is done."""

    def __init__(self, console: Console) -> None:
        super().__init__(lambda text: console.print(text, highlight=False, markup=False))
        self._console = console

    @contextlib.contextmanager
    def step(self, title: str, *, total: float | None = None, bytewise: bool = False) -> Iterator[Step]:
        """Show one piece of work."""
        amount = [DownloadColumn()] if bytewise else [MofNCompleteColumn()] if total else []
        columns = (TextColumn("{task.description}"), BarColumn(), *amount, TimeElapsedColumn())
        with RichProgress(*columns, console=self._console, transient=True) as bars:
            task = bars.add_task(title, total=total)
            yield Step(lambda step: bars.update(task, completed=step.done, total=step.total), total)


def progress_for(console: Console) -> Progress:
    """Return bars for a terminal, plain lines for a file or a pipe."""
    if console.is_terminal:
        return TerminalProgress(console)
    return Progress(lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True))
