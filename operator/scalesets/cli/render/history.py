"""``history``: a row per upgrade; what went wrong stands below the table, where it has room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.render.shapes import table, word
from scalesets.cli.views.upgrades import ExtensionTargetView, UpgradeView


def render(upgrades: Sequence[UpgradeView], *, now: datetime, width: int, wide: bool = False) -> RenderableType:
    """The table, without its last column where the terminal is too narrow for it."""
    if not upgrades:
        return Text("no upgrades yet")
    grid = _table(upgrades, now, wide=wide, took=True)
    if not wide and Console(width=1000).measure(grid).maximum > width:
        grid = _table(upgrades, now, wide=False, took=False)
    troubles = [_trouble(u) for u in upgrades if u.error or u.roll_back_error or _is_mixed(u)]
    return Group(grid, *([Text(), *troubles] if troubles else []))


def _table(upgrades: Sequence[UpgradeView], now: datetime, *, wide: bool, took: bool) -> Table:
    back = any(u.rolled_back or u.roll_back_failed for u in upgrades)
    grid = table(
        "NAME", *(["TYPE"] if wide else []), "STATUS", "BY", "TARGET", "DONE", "FAILED", *(["BACK"] if back else []),
        *(["PENDING", "BATCHES", "STARTED", "COMPLETED"] if wide else []), "AGE", *(["TOOK"] if took else []),
        right=("DONE", "FAILED", "BACK", "PENDING", "BATCHES"), wide=wide,
    )  # fmt: skip
    for u in upgrades:
        total = u.successful + u.failed + u.in_progress + u.pending
        returned = (
            f"{u.rolled_back}/{u.rolled_back + u.roll_back_failed}" if u.rolled_back or u.roll_back_failed else "0"
        )
        end = u.completed or now
        grid.add_row(
            u.name,
            *([u.type] if wide else []),
            word(u.code or "Waiting"),
            u.started_by,
            u.target or "-",
            "nothing to do" if u.empty else f"{u.successful}/{total}",
            str(u.failed),
            *([returned] if back else []),
            *([str(u.pending), str(len(u.batches)), _time(u.started), _time(u.completed)] if wide else []),
            words.age(now, u.started or u.created) or "-",
            *([words.span(end - u.started) if u.started else "-"] if took else []),
        )
    return grid


def _trouble(upgrade: UpgradeView) -> Text:
    told = Text.assemble((upgrade.name, "bold"), ": ")
    code = f"{upgrade.error_code}: " if upgrade.error_code else ""
    parts = [f"{code}{upgrade.error}" if upgrade.error else "", upgrade.roll_back_error]
    if upgrade.extensions and (len(upgrade.extensions) > 1 or not upgrade.error):
        parts += [_fate(e, upgrade) for e in upgrade.extensions]
    return told.append("; ".join(filter(None, parts)))


def _is_mixed(upgrade: UpgradeView) -> bool:
    """Whether one of its extensions went another way than the upgrade as a whole."""
    return any(e.failed or e.given_up for e in upgrade.extensions)


def _fate(extension: ExtensionTargetView, upgrade: UpgradeView) -> str:
    why = f" ({extension.error})" if extension.error and extension.error not in upgrade.error else ""
    return f"{extension.name} {extension.outcome}, {extension.successful} done, {extension.failed} failed{why}"


def _time(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time else "-"
