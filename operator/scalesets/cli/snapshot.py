"""What a command knows of one scale set at one moment, as the API server told it: all that the views are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scalesets.cli.fields import Obj, is_final, name_of, started, text
from scalesets.cli.whose import Named


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ScaleSet, its RollingUpgrades (oldest first) and its pods.

    For commands that take machines and availability sets too, ``scale_set`` may be one, and ``whose`` says so.
    ``lost`` says why the connection is broken while it is: what is shown may then be old.
    """

    scale_set: Obj
    upgrades: tuple[Obj, ...]
    pods: tuple[Obj, ...]
    now: datetime
    lost: str = ""
    whose: Named | None = None

    @property
    def name(self) -> str:
        """The set's name."""
        return name_of(self.scale_set)

    @property
    def reference(self) -> str:
        """As it is written on a command line: ``web``, ``vm/db-0``."""
        return str(self.whose) if self.whose is not None else self.name

    @property
    def namespace(self) -> str:
        """The set's namespace."""
        return text(self.scale_set, "metadata.namespace")

    def upgrade(self, name: str) -> Obj | None:
        """The RollingUpgrade of that name."""
        return next((u for u in self.upgrades if name_of(u) == name), None)

    @property
    def running_upgrade(self) -> Obj | None:
        """The upgrade that holds the set's lock, or one that has begun and is about to; None when none is at work."""
        holder = self.upgrade(text(self.scale_set, "status.currentUpgrade"))
        if holder is not None and not is_final(holder):
            return holder
        return next((u for u in self.upgrades if started(u) and not is_final(u)), None)

    @property
    def waiting_upgrades(self) -> tuple[Obj, ...]:
        """Upgrades that haven't begun: the next ones."""
        running = self.running_upgrade
        return tuple(u for u in self.upgrades if not is_final(u) and u is not running)
