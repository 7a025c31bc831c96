"""``instances``: one row each, as ``kubectl get pods`` would show them if it knew about upgrades."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from scalesets.cli import words
from scalesets.cli.render.shapes import table, word
from scalesets.cli.views.instances import InstanceView


def render(instances: Sequence[InstanceView], *, now: datetime, wide: bool = False) -> RenderableType:
    """The table of instances."""
    if not instances:
        return Text("no instances: spec.replicas is 0")
    zoned = any(i.zone for i in instances)
    noted = any(i.notes for i in instances)
    headings = ["INSTANCE", *(["ZONE"] if zoned else []), "DOMAIN", "VERSION", "MODEL", "STATUS", "AGE"]
    more = ["RESTARTS", "IP", "NODE", "EXTENSIONS"] if wide else []
    grid = table(*headings, *more, *(["NOTE"] if noted else []), right=("RESTARTS",))
    for i in instances:
        row: list[RenderableType] = [
            i.name,
            *([i.zone] if zoned else []),
            str(i.update_domain),
            i.image_version or "-",
            i.model or "-",
            word(i.status),
            words.age(now, i.created) or "-",
        ]
        if wide:
            extensions = ",".join(f"{name}={version}" for name, version in i.extensions.items())
            row += [str(i.restarts), i.ip or "-", i.node or "-", extensions or "-"]
        if noted:
            row.append(Text("; ".join(i.notes)))
        grid.add_row(*row)
    return grid
