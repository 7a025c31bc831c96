"""Showing a set live until something happens: redrawn in place on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from scalesets.cli import output
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.fields import Obj, is_final
from scalesets.cli.output import Output
from scalesets.cli.program import hint
from scalesets.cli.render import status as drawing
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import status
from scalesets.cli.views.status import StatusView
from scalesets.cli.views.upgrades import UpgradeView

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster


async def watch(cluster: Cluster, name: str, form: Output | None) -> None:
    """Show the status of a set or machine for ever."""
    async with contextlib.aclosing(_snapshots(cluster, name)) as snapshots:
        if form in (Output.JSON, Output.YAML):
            await _print_changes(snapshots, form)
            return
        with _Display(wide=form is Output.WIDE) as display:
            async for snapshot in snapshots:
                display.update(snapshot)


async def wait(cluster: Cluster, name: str, upgrade_name: str, *, limit: timedelta, quiet: bool) -> Obj:
    """Show the progress of an upgrade until it has ended, and return it; ``quiet`` shows nothing."""
    try:
        async with asyncio.timeout(limit.total_seconds() or None):
            with contextlib.nullcontext() if quiet else _Display(wide=False) as display:
                async with contextlib.aclosing(_snapshots(cluster, name)) as snapshots:
                    async for snapshot in snapshots:
                        if display is not None:
                            display.update(snapshot)
                        upgrade = snapshot.upgrade(upgrade_name)
                        if upgrade is None:
                            raise CommandError(f"{upgrade_name} was deleted", exit_code=ExitCode.UPGRADE_FAILED)
                        if is_final(upgrade):
                            return upgrade
    except TimeoutError as error:
        mend = f"it goes on; {hint('status', name, '--watch')} shows it"
        message = f"{upgrade_name} has not ended within --timeout"
        raise CommandError(message, mend=mend, exit_code=ExitCode.TIMEOUT) from error
    raise AssertionError("following a set only ends with an error")


def tell_outcome(upgrade: UpgradeView, *, of: str) -> None:
    """Say how the upgrade ended."""
    output.show(drawing.outcome(upgrade, of=of))


class _Display:
    """A live drawing on a terminal, or lines: one whenever what it says has changed."""

    def __init__(self, *, wide: bool) -> None:
        self._console = output.stdout()
        self._wide = wide
        self._said = ""
        redraws = sys.stdout.isatty() and not self._console.is_dumb_terminal
        self._live = Live(console=self._console, auto_refresh=False) if redraws else None

    def __enter__(self) -> _Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, snapshot: Snapshot) -> None:
        view = status.read(snapshot)
        if self._live is not None:
            self._live.update(drawing.render(view, width=self._console.width, wide=self._wide), refresh=True)
            return
        line = drawing.line(view)
        if line != self._said:
            self._said = line
            self._console.print(Text(f"{snapshot.now.astimezone():%H:%M:%S} {line}"), soft_wrap=True)


async def _print_changes(snapshots: AsyncIterator[Snapshot], form: Output) -> None:
    said: StatusView | None = None
    async for snapshot in snapshots:
        view = status.read(snapshot)
        if said is None or replace(view, now=said.now) != said:
            said = view
            output.emit_again(view, form)


def _snapshots(cluster: Cluster, name: str) -> AsyncGenerator[Snapshot]:
    from scalesets.cli.mirror import follow

    return follow(cluster, name)
