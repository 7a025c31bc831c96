"""What ``explain`` finds, how much it weighs, and what its checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from scalesets.cli import whose
from scalesets.cli.fields import Obj
from scalesets.cli.surroundings import Surroundings
from scalesets.engine.census import Census
from scalesets.engine.view import SetView


class Weight(Enum):
    """What a finding means for the question; the heaviest comes first."""

    BLOCKS = "Blocks"  # nothing goes on until somebody does something
    WAITS = "Waits"  # it goes on by itself
    WORKS = "Works"  # it is at work
    NOTE = "Note"  # good to know
    FINE = "Fine"  # looked at, in order


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``reason`` is for programs, ``cure`` what to do about it."""

    weight: Weight
    reason: str
    message: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the checks look at."""

    around: Surroundings
    view: SetView
    census: Census
    now: datetime

    @property
    def reference(self) -> str:
        """How the set or machine is written on a command line."""
        return whose.of_view(self.view)

    @property
    def what(self) -> str:
        """What it is, in words."""
        return "availability set" if self.view.is_group else "machine" if self.view.names else "set"

    @property
    def noun(self) -> str:
        """What one of its instances is called."""
        return "machine" if self.view.names else "instance"

    @property
    def replicas(self) -> int:
        """How many instances there should be."""
        return len(self.view.names) or self.view.replicas

    @property
    def scale_set(self) -> Obj:
        """The set's own object."""
        return self.around.snapshot.scale_set


Check = Callable[[Sight], Iterator[Finding]]


def named(view: SetView, ordinals: Iterable[int]) -> list[str]:
    """The names of the instances with these ordinals, in order."""
    return [view.instance_name(ordinal) for ordinal in sorted(ordinals)]
