"""What the work queue holds: one key per object to look at, and how soon."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple


class Topic(Enum):
    """What a piece of work is about."""

    SCALE_SET = "scaleset"
    IMAGE = "galleryimage"
    EXTENSION = "extension"


class Work(NamedTuple):
    """A key of the work queue: one object to look at."""

    topic: Topic
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.topic.value} {self.namespace}/{self.name}"


class Urgency(Enum):
    """How soon what changed is to be looked at."""

    LATER = "later"  # it only shows in counts, or starts a clock
    SOON = "soon"  # together with what else comes in while the set settles
    AT_ONCE = "at once"
    AFRESH = "afresh"  # somebody may have mended what failed so far


Wake = Callable[[Work, Urgency], None]
"""Told whom a change concerns, and how urgently."""
