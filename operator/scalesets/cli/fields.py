"""Reading API objects, which here are the plain dicts that the API server sends.

Every reader is tolerant: a field that is missing, or of a newer CRD, gives the default and never an error, for a status
may not have been written yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

Obj = Mapping[str, Any]

FINAL_CODES = frozenset({"Completed", "Cancelled", "Faulted"})


def at(obj: Obj | None, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or the default when any part of it is missing or null."""
    value: Any = obj
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return default
        value = value.get(part)
    return default if value is None else value


def text(obj: Obj | None, path: str, default: str = "") -> str:
    """The string at a path."""
    value = at(obj, path)
    return default if value is None else str(value)


def number(obj: Obj | None, path: str, default: int = 0) -> int:
    """The integer at a path."""
    value = at(obj, path)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def name_of(obj: Obj) -> str:
    """``metadata.name``."""
    return text(obj, "metadata.name")


def label(obj: Obj, key: str) -> str:
    """A label's value (its key has dots, so ``text`` can't reach it)."""
    return str(at(obj, "metadata.labels", {}).get(key, ""))


def annotations_of(obj: Obj) -> Mapping[str, str]:
    """All annotations."""
    found = at(obj, "metadata.annotations", {})
    return found if isinstance(found, Mapping) else {}


def when(obj: Obj | None, path: str) -> datetime | None:
    """The RFC 3339 time at a path."""
    return parse_time(text(obj, path))


def parse_time(value: str) -> datetime | None:
    """An RFC 3339 time, or None where there is none or it is malformed."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else None


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition of an object's status."""

    type: str
    status: str  # True, False or Unknown
    reason: str
    message: str
    since: datetime | None

    @property
    def true(self) -> bool:
        """Whether it holds."""
        return self.status == "True"


def conditions(obj: Obj) -> tuple[ConditionView, ...]:
    """All conditions in the order of the object."""
    found = at(obj, "status.conditions", [])
    return tuple(
        ConditionView(
            type=text(c, "type"),
            status=text(c, "status", "Unknown"),
            reason=text(c, "reason"),
            message=text(c, "message"),
            since=when(c, "lastTransitionTime"),
        )
        for c in found
        if isinstance(c, Mapping)
    )


def condition(obj: Obj, type_: str) -> ConditionView | None:
    """The condition of that type."""
    return next((c for c in conditions(obj) if c.type == type_), None)


def is_ready(pod: Obj) -> bool:
    """Whether the pod's Ready condition holds."""
    ready = condition(pod, "Ready")
    return ready is not None and ready.true


def is_final(upgrade: Obj) -> bool:
    """Whether a RollingUpgrade is over."""
    return text(upgrade, "status.runningStatus.code") in FINAL_CODES


def started(upgrade: Obj) -> bool:
    """Whether a RollingUpgrade has written its status for the first time."""
    return bool(at(upgrade, "status.runningStatus.startTime"))


def image_reference(reference: Obj) -> str:
    """An image reference without its version, in words: ``Canonical/jammy/22_04-LTS``, or the gallery image's name."""
    gallery = text(reference, "galleryImage")
    if gallery:
        return gallery
    return "/".join(part for key in ("publisher", "offer", "sku") if (part := text(reference, key)))


def since(now: datetime, then: datetime | None) -> timedelta | None:
    """How long ago something was; never negative, for clocks differ."""
    return None if then is None else max(now - then, timedelta(0))
