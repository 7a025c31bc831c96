"""``status``: the set in three lines, the upgrade with its bar and what it waits for, and a picture of its cells."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.program import hint
from scalesets.cli.render.shapes import STYLES, WIDEST, Bar, Legend, Marks, Segment, table, word
from scalesets.cli.views.instances import Standing
from scalesets.cli.views.status import CellView, InstalledView, ProgressView, StatusView
from scalesets.cli.views.upgrades import TYPE_WORDS, UpgradeView

KINDS = {"VirtualMachine": "Machine", "AvailabilitySet": "Avset"}  # shorter: the column is narrow
MOST_ROWS = 24  # more cells than this are summed up by zone, unless the user asks for all


def render(view: StatusView, *, width: int, wide: bool = False) -> RenderableType:
    """The whole picture."""
    parts: list[RenderableType] = [_head(view)]
    if view.lost:
        parts.append(Text(f"! connection lost: {view.lost}. Shown is what was last seen.", style="bold red"))
    if view.upgrade is not None:
        parts += [Text(), *_upgrade(view, view.upgrade, width)]
    waits = _waits(view)
    if waits is not None:
        parts.append(waits)
    if view.cells and view.kind != "VirtualMachine":
        parts += [Text(), *_cells(view, width, wide)]
    return Group(*parts)


def line(view: StatusView) -> str:
    """The upgrade, or the set, in one line for a log: without ages, so that it changes only when something happens."""
    upgrade, progress = view.upgrade, view.progress
    if upgrade is None or progress is None:
        now = f", {view.waiting_for[0].what}" if view.waiting_for else ""
        last = f", {view.last.name} {view.last.outcome}" if view.last is not None and view.last.name else ""
        version = f", version {view.version or '-'}" if view.image else ""
        return f"{view.reference}: {view.health.word}, {view.ready} of {view.replicas} ready{version}{last}{now}"
    extension = f" ({upgrade.batch.extension})" if upgrade.batch and upgrade.batch.extension else ""
    batch = f", batch {_batch_number(view, upgrade)}{extension}" if upgrade.batch else ""
    waits = f", waits for {view.waiting_for[0].what}" if view.waiting_for else ""
    counts = f"{progress.done} of {progress.total} done, {progress.failed} failed"
    return f"{upgrade.name}: {upgrade.code}, {counts}{batch}{waits}"


def outcome(upgrade: UpgradeView, *, of: str) -> Text:
    """How an upgrade ended, and where to look when it ended badly."""
    settled = f"{upgrade.successful} done, {upgrade.failed} failed, {upgrade.pending} not touched"
    if upgrade.empty:
        settled = "there was nothing to do"
    took = words.span(upgrade.completed - upgrade.started) if upgrade.completed and upgrade.started else ""
    told = Text.assemble(upgrade.name, " ", word(upgrade.code), f": {settled}{f', in {took}' if took else ''}")
    for e in upgrade.extensions if len(upgrade.extensions) > 1 else ():
        told.append(f"\n{e.name} {e.to_version}: {e.outcome}, {e.successful} done, {e.failed} failed")
    if upgrade.error:
        told.append(f"\n{upgrade.error_code}: {upgrade.error}", style="red")
    if upgrade.code != "Completed":
        told.append(f"\n{hint('explain', of)} says what to do next", style="dim")
    return told


def _head(view: StatusView) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=9)
    grid.add_column(overflow="fold")
    facts = [f"{view.namespace}/{view.name}", *_about(view), view.location]
    grid.add_row(KINDS.get(view.kind, view.kind), Text("   ".join(filter(None, facts))))
    if view.image:
        pinned = "" if view.wanted_version == "latest" else " (pinned)"
        grid.add_row("Image", Text.assemble(view.image, "  ", (view.version or "no version yet", "bold"), pinned))
    counts = f"{view.ready}/{view.replicas} ready"
    if view.kind == "VirtualMachine":
        counts = "" if view.latest_model else "not on its model yet"
    elif view.version:
        counts += f"   {view.upgraded} on this version"
    if view.kind == "ScaleSet" and (view.latest_model or view.upgrade or view.version):
        counts += f"   {view.latest_model} on the model"
    health = word(view.health.word)
    grid.add_row("Health", Text.assemble(health, "   ", counts))
    if view.health.message and view.health.message not in [wait.what for wait in view.waiting_for]:
        grid.add_row("", Text(view.health.message, style=health.style))
    if view.upgrade is None and view.last is not None:
        grid.add_row("Last", _last(view))
    if view.upgrade is None or view.upgrade.type != "Extension":  # which has lines of its own
        for index, extension in enumerate(view.extensions):
            grid.add_row("" if index else "Extensions", _installed(view, extension))
    return grid


def _about(view: StatusView) -> list[str]:
    """How large a set is and how it follows its model; where a machine stands."""
    if view.kind == "VirtualMachine":
        place = f"in avset/{view.availability_set}, update domain {view.update_domain}"
        return [place if view.availability_set else ""]
    if view.kind == "AvailabilitySet":
        return [words.count(view.replicas, "machine")]
    return [words.count(view.replicas, "instance"), view.mode]


def _installed(view: StatusView, extension: InstalledView) -> Text:
    told = Text.assemble(f"{extension.name} ", (extension.version or "not installed yet", "bold"))
    if extension.automatic_upgrade != "Enabled":
        told.append(f"   automatic upgrade {extension.automatic_upgrade}", style="dim")
    if extension.last_outcome not in ("", "Completed"):
        ago = words.age(view.now, extension.last_completed)
        told.append_text(Text.assemble("   ", word(extension.last_outcome), f" to {extension.last_version} {ago} ago"))
        if extension.retry is not None and extension.automatic_upgrade == "Enabled":
            told.append(
                f", again {'in ' + words.span(extension.retry - view.now) if extension.retry > view.now else 'now'}"
            )
    return told


def _last(view: StatusView) -> Text:
    last = view.last
    assert last is not None
    ago = words.age(view.now, last.completed)
    what = "nothing to do" if last.empty else last.version
    told = Text.assemble(word(last.outcome), f"   {what}{f'   {ago} ago' if ago else ''}   {last.name}")
    if last.outcome != "Completed" and last.reason:
        told.append(f"\n{last.reason}", style="red")
    return told


def _upgrade(view: StatusView, upgrade: UpgradeView, width: int) -> list[RenderableType]:
    start = words.age(view.now, upgrade.started or upgrade.created)
    source = f"{words.listing(upgrade.from_versions, limit=2)} -> " if upgrade.from_versions else ""
    title = Text.assemble((upgrade.name, "bold"), "   ", word(upgrade.code or "Waiting"))
    about = TYPE_WORDS.get(upgrade.type, upgrade.type)
    if upgrade.type == "OSImage":
        about += f" {source}{upgrade.target_version}"
    elif upgrade.type == "Extension":
        about += f" of {upgrade.target or 'all that are due'}"
    elif upgrade.target_model:
        about += f" to {upgrade.target_model}"
    lines: list[RenderableType] = [title, Text(f"{about}, by {upgrade.started_by}, {start} ago")]
    if view.progress is not None and view.progress.total:
        lines.append(_bar(view.progress, width))
    if upgrade.extensions:
        lines += targets(upgrade)
    if upgrade.batch is not None:
        lines.append(_batch(view, upgrade))
    if upgrade.skipped:
        lines.append(Text(f"Left out  {words.listing(view.names(upgrade.skipped))}", style="dim"))
    return lines


def targets(upgrade: UpgradeView) -> list[RenderableType]:
    """The extensions of an upgrade: where each goes, and how that fares."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for e in upgrade.extensions:
        counts = [f"{e.successful} done"] if e.successful else []
        counts += [f"{e.failed} failed"] if e.failed else []
        versions = f"{e.from_version} -> {e.to_version}" if e.from_version else e.to_version
        grid.add_row(e.name, versions, word(e.outcome), ", ".join(counts))
    return [grid, *(Text(f"{e.name}: {e.error}", style="red") for e in upgrade.extensions if e.error)]


def _bar(progress: ProgressView, width: int) -> RenderableType:
    counts = [f"{progress.done}/{progress.total} done"]
    counts += [f"{progress.working} in progress"] if progress.working else []
    counts += [f"{progress.failed} failed"] if progress.failed else []
    counts += [f"{progress.pending} to come"] if progress.pending else []
    told = "   ".join(counts)
    bar = Bar(
        (
            Segment(progress.done, "█", "#", STYLES[Standing.UPGRADED]),
            Segment(progress.working, "▓", "+", STYLES[Standing.WORKING]),
            Segment(progress.failed, "×", "x", STYLES[Standing.UNHEALTHY]),
            Segment(progress.pending, "░", ".", STYLES[Standing.PENDING]),
        ),
        width=max(min(width, WIDEST) - len(told) - 3, 10),
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(no_wrap=True)
    grid.add_row(bar, told)
    return grid


def _batch(view: StatusView, upgrade: UpgradeView) -> Text:
    batch = upgrade.batch
    assert batch is not None
    place = f"zone {batch.zone}, " if batch.zone else ""
    names = view.names(batch.members)
    age = words.age(view.now, batch.started)
    what = f"{batch.extension}, " if batch.extension else ""
    told = Text.assemble((f"Batch {_batch_number(view, upgrade)}", "bold"), f"   {what}{place}update domain ")
    few = len(names) <= 5
    return told.append(f"{batch.update_domain}, {age}: {words.listing(names, limit=4 if few else 2)}")


def _batch_number(view: StatusView, upgrade: UpgradeView) -> str:
    number = upgrade.batch.number if upgrade.batch else len(upgrade.batches)
    return f"{number} of {number + view.batches_to_come}" if view.batches_to_come is not None else str(number)


def _waits(view: StatusView) -> RenderableType | None:
    heading = "Waits for" if view.upgrade else "Now"
    ages = [words.age(view.now, wait.since) for wait in view.waiting_for]
    rows = [(heading, f"{w.what}{f', {age}' if age else ''}") for w, age in zip(view.waiting_for, ages, strict=True)]
    if view.upgrade is not None and view.queued:
        rows.append(("Next", words.listing(view.queued)))
    if not rows:
        return None
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=9)
    grid.add_column(overflow="fold")
    shown = ""
    for heading, text in rows:
        grid.add_row("" if heading == shown else heading, Text(text))
        shown = heading
    return grid


def _cells(view: StatusView, width: int, wide: bool) -> list[RenderableType]:
    rows = view.cells
    by_zone = not wide and len(rows) > MOST_ROWS
    if by_zone:
        rows = _summed(rows)
    zoned = any(cell.zone for cell in rows)
    headings = [
        *(["ZONE"] if zoned else []),
        *([] if by_zone else ["DOMAIN"]),
        f"{view.noun.upper()}S",
        "READY",
        "UPGRADED",
    ]
    grid = table(*headings, right=("READY", "UPGRADED"))
    most = max(min(width, WIDEST) - 34, 10)
    for cell in rows:
        place = [*([cell.zone] if zoned else []), *([] if by_zone else [str(cell.update_domain)])]
        counts = (f"{cell.ready}/{cell.instances}", f"{cell.upgraded}/{cell.instances}")
        grid.add_row(*place, Marks(cell.standings, most), *counts)
    seen = {standing for cell in rows for standing in cell.standings}
    meanings = {
        Standing.UPGRADED: "upgraded and healthy",
        Standing.WORKING: "in progress" if view.upgrade else "not there yet, or starting",
        Standing.UNHEALTHY: "unhealthy",
        Standing.PENDING: "on the old model" if _brings_a_model(view) else "on an older version",
    }
    if seen <= {Standing.UPGRADED}:
        return [grid]
    return [grid, Legend(tuple((s, meanings[s]) for s in Standing if s in seen))]


def _brings_a_model(view: StatusView) -> bool:
    return view.upgrade is not None and view.upgrade.type == "Model"


def _summed(cells: tuple[CellView, ...]) -> tuple[CellView, ...]:
    zones = dict.fromkeys(cell.zone for cell in cells)
    return tuple(
        CellView(
            zone=zone,
            update_domain=0,
            standings=tuple(s for cell in cells if cell.zone == zone for s in cell.standings),
            ready=sum(cell.ready for cell in cells if cell.zone == zone),
            upgraded=sum(cell.upgraded for cell in cells if cell.zone == zone),
        )
        for zone in zones
    )
