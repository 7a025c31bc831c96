"""``extensions``: a row each for a set or machine; for what is published a table each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.render.images import day
from scalesets.cli.render.shapes import table, word
from scalesets.cli.views.extensions import ExtensionView, PublishedVersionView, PublishedView


def render(extensions: Sequence[ExtensionView], *, now: datetime, wide: bool = False) -> RenderableType:
    """The table of installed extensions."""
    if not extensions:
        return Text("no extensions: spec.extensions is empty")
    whose = any(e.machine for e in extensions)
    headings = [*(["MACHINE"] if whose else []), "NAME", *(["PUBLISHER"] if wide else []), "TYPE", "VERSION"]
    headings += ["LATEST", *(["WANTED", "INSTANCES"] if wide else []), "AUTOMATIC-UPGRADE", "LAST-UPGRADE"]
    grid = table(*headings, whole=("NAME", "VERSION", "LATEST", "AUTOMATIC-UPGRADE"), wide=wide)
    for e in extensions:
        grid.add_row(
            *([e.machine] if whose else []),
            e.name,
            *([e.publisher] if wide else []),
            e.type,
            e.version or "-",
            Text(e.latest or "-", style="yellow" if e.is_behind else ""),
            *([_wanted(e), _instances(e)] if wide else []),
            word(e.automatic_upgrade),
            _last(e, now),
        )
    notes = [Text(note, style="dim") for note in _notes(extensions)]
    reasons = _reasons(list({e.name: e for e in extensions}.values()))
    return Group(grid, *([Text(), *reasons, *notes] if reasons or notes else []))


def render_together(extensions: Sequence[ExtensionView], *, now: datetime) -> RenderableType:
    """The same for the machines of an availability set: a row for an extension, which several of them have."""
    if not extensions:
        return Text("no extensions: its machines' spec.extensions are empty, or it has no machines")
    everybody = len({e.machine for e in extensions})
    alike: dict[tuple[str, str, str], list[ExtensionView]] = {}
    for e in extensions:
        alike.setdefault((e.name, e.publisher, e.type), []).append(e)
    headings = ("NAME", "TYPE", "MACHINES", "VERSION", "LATEST", "AUTOMATIC-UPGRADE", "LAST-UPGRADE")
    grid = table(*headings, whole=("NAME", "VERSION", "LATEST", "AUTOMATIC-UPGRADE"))
    for (name, _, type_), some in alike.items():
        latest = _each(some, lambda e: e.latest or "-")
        grid.add_row(
            name,
            type_,
            f"{len(some)} of {everybody}",
            _each(some, lambda e: e.version or "-"),
            Text(latest, style="yellow" if any(e.is_behind for e in some) else ""),
            _states(some),
            _last(some[0], now),
        )
    notes = [Text(note, style="dim") for note in _notes(extensions)]
    reasons = _reasons([some[0] for some in alike.values()])
    return Group(grid, *([Text(), *reasons, *notes] if reasons or notes else []))


def _each(some: Sequence[ExtensionView], told: Callable[[ExtensionView], str]) -> str:
    """What all of them have; where they differ, how many have what."""
    counts = Counter(told(e) for e in some)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} on {what}" for what, count in counts.items())


def _states(some: Sequence[ExtensionView]) -> Text:
    counts = Counter(e.automatic_upgrade for e in some)
    if len(counts) == 1:
        return word(next(iter(counts)))
    parts = (Text.assemble(f"{count} ", word(state)) for state, count in counts.items())
    return Text(", ").join(parts)


def _reasons(extensions: Sequence[ExtensionView]) -> list[Text]:
    """Why last upgrades did not end well."""
    return [
        Text.assemble((e.name, "bold"), f" {e.last.version}: {e.last.reason}")
        for e in extensions
        if e.last is not None and e.last.outcome != "Completed" and e.last.reason
    ]


def render_published(published: Sequence[PublishedView], *, now: datetime) -> RenderableType:
    """A table for each Extension."""
    if not published:
        return Text("no extensions: create an Extension here or in the catalog namespace")
    parts: list[RenderableType] = []
    for e in published:
        about = [e.os_type, f"{e.namespace}/{e.name}"]
        about += ["" if e.supports_automatic_upgrade else "no automatic upgrade"]
        about += ["reports application health" if e.reports_application_health else ""]
        title = Text.assemble((f"{e.publisher}/{e.type}", "bold"), "   ", (", ".join(filter(None, about)), "dim"))
        parts += [*([Text()] if parts else []), title]
        parts.append(_versions(e, now) if e.versions else Text("no versions are recorded yet", "dim"))
    return Group(*parts)


def _last(extension: ExtensionView, now: datetime) -> Text:
    at_work, last = extension.upgrading, extension.last
    if at_work is not None:
        counts = f", {at_work.successful} done" if at_work.successful else ""
        failed = f", {at_work.failed} failed" if at_work.failed else ""
        return Text.assemble(word(at_work.outcome), f" to {at_work.to_version}{counts}{failed}")
    if last is None:
        return Text("-")
    ago = words.age(now, last.completed)
    told = Text.assemble(word(last.outcome), f" {ago} ago" if ago else "")
    if last.outcome != "Completed":
        told.append(f", to {last.version}")
    if last.retry is not None and extension.automatic_upgrade == "Enabled":
        told.append(f", again in {words.span(last.retry - now)}" if last.retry > now else ", again now")
    return told


def _wanted(extension: ExtensionView) -> str:
    return extension.type_handler_version + (" or newer" if extension.auto_upgrade_minor_version else "")


def _instances(extension: ExtensionView) -> str:
    return ", ".join(f"{count} on {version}" for version, count in extension.versions.items()) or "-"


def _notes(extensions: Sequence[ExtensionView]) -> list[str]:
    notes = []
    for e in extensions:
        if not e.found:
            notes.append(f"{e.name}: no Extension {e.publisher}/{e.type} in this namespace or the catalog namespace")
        if e.newer_major:
            notes.append(f"{e.name}: {e.newer_major} is another major version; typeHandlerVersion brings it")
    return list(dict.fromkeys(notes))


def _versions(extension: PublishedView, now: datetime) -> RenderableType:
    located = any(v.location for v in extension.versions)
    noted = any(_note(v, now) for v in extension.versions)
    grid = table("VERSION", *(["LOCATION"] if located else []), "STATE", "PUBLISHED", *(["NOTE"] if noted else []))
    for v in extension.versions:
        place = [v.location] if located else []
        grid.add_row(v.version, *place, word(v.state), day(v.published), *([_note(v, now)] if noted else []))
    return grid


def _note(version: PublishedVersionView, now: datetime) -> str:
    notes = [f"latest of {version.version.split('.')[0]}"] if version.latest else []
    notes += ["excluded from latest"] if version.excluded_from_latest else []
    if version.end_of_life is not None and version.end_of_life <= now:
        notes.append("past its end of life")
    machines = [name for name in version.instances if "/" in name]
    notes += [
        f"{words.count(count, 'instance')} of {name}"
        for name, count in version.instances.items()
        if name not in machines
    ]
    notes += (
        [words.listing(machines) if len(machines) < 4 else words.count(len(machines), "machine")] if machines else []
    )
    return "; ".join(notes)
