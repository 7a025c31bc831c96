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
    models = wide or len({i.model for i in instances}) > 1
    versions = [",".join(f"{name}={version}" for name, version in i.extensions.items()) for i in instances]
    differ = not wide and len(set(versions)) > 1
    notes = [_note(i, wide) for i in instances]
    headings = ["INSTANCE", *(["ZONE"] if zoned else []), "DOMAIN", "VERSION", *(["MODEL"] if models else [])]
    headings += [
        *(["EXTENSIONS"] if differ else []),
        "STATUS",
        "AGE",
        *(["RESTARTS", "IP", "NODE", "EXTENSIONS"] if wide else []),
    ]
    grid = table(*headings, *(["NOTE"] if any(notes) else []), right=("RESTARTS",), whole=headings[1:], wide=wide)
    for i, note, extensions in zip(instances, notes, versions, strict=True):
        row: list[RenderableType] = [
            i.name,
            *([i.zone] if zoned else []),
            str(i.update_domain),
            i.image_version or "-",
            *([i.model or "-"] if models else []),
            *([extensions or "-"] if differ else []),
            word(i.status),
            words.age(now, i.created) or "-",
        ]
        if wide:
            row += [str(i.restarts), i.ip or "-", i.node or "-", extensions or "-"]
        if any(notes):
            row.append(Text(note))
        grid.add_row(*row)
    return grid


def _note(instance: InstanceView, wide: bool) -> str:
    """What is to be said besides; the words of Kubernetes only where there is room for them."""
    short = "" if instance.pod in (instance.status, "Missing") else instance.pod
    brief = instance.detail if short in ("Ready", "Starting") and instance.status == "Upgrading" else short
    why = instance.detail if wide and instance.pod != "Missing" else brief
    return "; ".join(filter(None, [*instance.notes, why]))
