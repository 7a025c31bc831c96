"""How the demo looks: on a terminal the steps so far with the set's live picture below, elsewhere a line per change."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.demo.evidence import Finding
from scalesets.cli.render import status as drawing
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import status


class Show:
    """Use with ``with``. A step goes on until the next one begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._step = ""
        self._snapshot: Snapshot | None = None
        self._said = ""
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, get_renderable=self._draw, transient=True, refresh_per_second=8)

    def __enter__(self) -> Show:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, text: str) -> None:
        """Say what goes on now."""
        self._step = text
        if self._live is None:
            self._print(Text(f"{self._clock()}  {text}"))

    def command(self, line: str) -> None:
        """Say what was done, as anybody could do it."""
        self._print(Text.assemble((f"{self._clock()}  ", "dim"), ("$ ", "dim"), (line, "bold")))

    def done(self, text: str) -> None:
        """Say what is done."""
        self._print(Text.assemble((f"{self._clock()}  ", "dim"), ("✓ ", "green"), text))
        self._step = ""

    def note(self, text: str) -> None:
        """Say something beside."""
        self._print(Text(f"{self._clock()}    {text}", style="dim"))

    def found(self, finding: Finding) -> None:
        """Say what a check has found."""
        mark = Text.assemble(("✓ ", "green")) if finding.holds else Text.assemble(("✗ ", "bold red"))
        told = Text.assemble((f"{self._clock()}  ", "dim"), mark, finding.claim)
        if not finding.holds:
            told.append(f": no, {finding.seen}", style="bold red")
        self._print(told)

    def update(self, snapshot: Snapshot) -> None:
        """Show the set as it is now."""
        self._snapshot = snapshot
        if self._live is None:
            line = drawing.line(status.read(snapshot))
            if line != self._said:
                self._said = line
                self._print(Text(f"{self._clock()}    {line}"))

    def picture(self) -> RenderableType:
        """The set as it was last seen."""
        if self._snapshot is None:
            return Text()
        return drawing.render(status.read(self._snapshot), width=self._console.width)

    def _draw(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._step:
            parts.append(Spinner("dots", Text.assemble((self._clock(), "dim"), "  ", self._step), style="yellow"))
        if self._snapshot is not None:
            parts += [Text(), self.picture()]
        return Group(*parts)

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=self._live is None)

    def _clock(self) -> str:
        return f"{words.span(timedelta(seconds=int(time.monotonic() - self._began))):>5}"
