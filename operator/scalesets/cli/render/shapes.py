"""The shapes that all commands share: tables as kubectl draws them, bars, and a mark per instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scalesets.cli.views.instances import Standing

LONGEST_LINE = 1000
WIDEST = 100  # bars don't grow beyond a terminal of this width

STYLES = {
    Standing.UPGRADED: "green",
    Standing.WORKING: "yellow",
    Standing.UNHEALTHY: "bold red",
    Standing.PENDING: "blue",
}
MARKS = {Standing.UPGRADED: "■", Standing.WORKING: "◧", Standing.UNHEALTHY: "✗", Standing.PENDING: "□"}
ASCII_MARKS = {Standing.UPGRADED: "#", Standing.WORKING: "+", Standing.UNHEALTHY: "x", Standing.PENDING: "."}

WORD_STYLES = {
    "Ready": "green",
    "Completed": "green",
    "Succeeded": "green",
    "Available": "green",
    "RollingForward": "yellow",
    "RollingBack": "bold yellow",
    "RolledBack": "bold yellow",
    "Reconciling": "yellow",
    "Starting": "yellow",
    "Upgrading": "yellow",
    "Running": "yellow",
    "Terminating": "yellow",
    "Waiting": "yellow",
    "Pending": "blue",
    "Enabled": "green",
    "Disabled": "yellow",
    "NotSupported": "dim",
    "Dropped": "magenta",
    "Cancelled": "magenta",
    "Faulted": "bold red",
    "Failed": "bold red",
    "Stalled": "bold red",
    "Unknown": "dim",
}


def word(value: str) -> Text:
    """A word of state in its colour; what is not known to be good or on its way is red."""
    return Text(value, style=WORD_STYLES.get(value, "bold red" if value else ""))


class Rows(Table):
    """A table that never breaks a word: where there is no room, or ``wide``, its lines run on as kubectl's do."""

    wide = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        needed = Measurement.get(console, options.update(max_width=LONGEST_LINE), self)
        if self.wide or needed.minimum > options.max_width:
            options = options.update(width=needed.maximum)
        yield from super().__rich_console__(console, options)


def table(*headings: str, right: Sequence[str] = (), whole: Sequence[str] = (), wide: bool = False) -> Table:
    """A table without lines, as kubectl's; headings in capitals, those in ``right`` over columns of numbers.

    Where a terminal is too narrow, columns are folded, those in ``whole`` last; in a ``wide`` table none is.
    """
    made = Rows(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    made.wide = wide
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        made.add_column(heading, justify=justify, overflow="fold", no_wrap=heading in whole)
    return made


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar: how much, drawn how."""

    amount: int
    mark: str
    ascii_mark: str
    style: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of proportional segments; one that isn't empty is never too small to see."""

    segments: tuple[Segment, ...]
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = Text()
        amounts = fit([s.amount for s in self.segments], self.width)
        for segment, cells in zip(self.segments, amounts, strict=True):
            mark = segment.ascii_mark if options.ascii_only else segment.mark
            drawn.append(mark * cells, style=segment.style)
        yield drawn

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.width, self.width)


@dataclass(frozen=True, slots=True)
class Marks:
    """A mark per instance; more than ``most`` are drawn in proportion."""

    standings: tuple[Standing, ...]
    most: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ASCII_MARKS if options.ascii_only else MARKS
        drawn = Text(no_wrap=True)
        if len(self.standings) <= self.most:
            for standing in self.standings:
                drawn.append(marks[standing], style=STYLES[standing])
        else:
            amounts = fit([self.standings.count(s) for s in Standing], self.most)
            for standing, cells in zip(Standing, amounts, strict=True):
                drawn.append(marks[standing] * cells, style=STYLES[standing])
        yield drawn

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(len(self.standings), self.most)
        return Measurement(width, width)


@dataclass(frozen=True, slots=True)
class Legend:
    """What the marks mean."""

    shown: tuple[tuple[Standing, str], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ASCII_MARKS if options.ascii_only else MARKS
        drawn = Text()
        for standing, meaning in self.shown:
            drawn.append("   " if drawn else "")
            drawn.append(marks[standing], style=STYLES[standing])
            drawn.append(f" {meaning}", style="dim")
        yield drawn


def fit(amounts: Sequence[int], width: int) -> list[int]:
    """Share out ``width`` cells in proportion (largest remainder); an amount above zero gets at least one."""
    total = sum(amounts)
    if total == 0 or width <= 0:
        return [0] * len(amounts)
    exact = [amount * width / total for amount in amounts]
    cells = [max(int(e), 1) if amount else 0 for e, amount in zip(exact, amounts, strict=True)]
    by_remainder = sorted(range(len(amounts)), key=lambda i: exact[i] - cells[i], reverse=True)
    while sum(cells) < width:
        for index in by_remainder[: width - sum(cells)]:
            cells[index] += 1 if amounts[index] else 0
    while sum(cells) > width and max(cells) > 1:
        cells[cells.index(max(cells))] -= 1
    return cells
