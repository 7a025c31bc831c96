"""``images``: a table per SKU, the newest version first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.render.shapes import table, word
from scalesets.cli.views.images import ImageVersionView, ImageView


def render(images: Sequence[ImageView], *, now: datetime, wide: bool = False) -> RenderableType:
    """The tables."""
    if not images:
        return Text("no images: create a GalleryImage here or in the catalog namespace")
    parts: list[RenderableType] = []
    for image in images:
        kind = [image.os_type, image.source] if wide else []
        about = ", ".join(filter(None, [*kind, f"{image.namespace}/{image.name}"]))
        parts += [*([Text()] if parts else []), Text.assemble((image.product, "bold"), "   ", (about, "dim"))]
        parts.append(_versions(image, now, wide) if image.versions else Text("no versions are recorded yet", "dim"))
    return Group(*parts)


def _versions(image: ImageView, now: datetime, wide: bool) -> RenderableType:
    located = any(v.location for v in image.versions)
    noted = any(_notes(v, now) for v in image.versions)
    headings = ["VERSION", *(["LOCATION"] if located else []), "STATE", "PUBLISHED"]
    grid = table(*headings, *(["END OF LIFE"] if wide else []), *(["NOTE"] if noted else []), wide=wide)
    for v in image.versions:
        grid.add_row(
            v.version,
            *([v.location] if located else []),
            word(v.state),
            day(v.published),
            *([day(v.end_of_life)] if wide else []),
            *([_notes(v, now)] if noted else []),
        )
    return grid


def _notes(version: ImageVersionView, now: datetime) -> str:
    notes = ["latest"] if version.latest else []
    if version.excluded_from_latest:
        notes.append("excluded from latest")
    if version.end_of_life is not None and version.end_of_life <= now:
        notes.append("past its end of life")
    notes += [f"{words.count(count, 'instance')} of {name}" for name, count in version.instances.items()]
    return "; ".join(notes)


def day(time: datetime | None) -> str:
    """The day of a time."""
    return f"{time:%Y-%m-%d}" if time else "-"
