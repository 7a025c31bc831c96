"""What a command knows of one scale set at one moment, as the API server told it: all that the views are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from scalesets.cli import whose
from scalesets.cli.fields import Obj, at, is_final, name_of, number, started, text
from scalesets.cli.whose import Named
from scalesets.kube import machines
from scalesets.kube.names import instance_ordinal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ScaleSet, its RollingUpgrades (oldest first) and its pods.

    ``scale_set`` may also be a machine or an availability set in the words of a set; then ``whose`` says so. The
    instances of an availability set are its ``machines``. ``lost`` says why the connection is broken while it is: what
    is shown may then be old.
    """

    scale_set: Obj
    upgrades: tuple[Obj, ...]
    pods: tuple[Obj, ...]
    now: datetime
    lost: str = ""
    whose: Named | None = None
    machines: tuple[Obj, ...] = ()

    @property
    def name(self) -> str:
        """The set's name."""
        return name_of(self.scale_set)

    @property
    def reference(self) -> str:
        """As it is written on a command line: ``web``, ``vm/db-0``."""
        return str(self.whose) if self.whose is not None else self.name

    @property
    def is_set(self) -> bool:
        """Whether it is a scale set, whose instances have a number each in their names."""
        return self.whose is None or self.whose.is_set

    @property
    def names(self) -> Mapping[int, str]:
        """The names of machines, by their places; empty for a scale set."""
        if self.is_set:
            return {}
        if self.whose is not None and self.whose.owner is whose.MACHINE:
            return {0: self.name}
        return {place: name for name, place in machines.places(self.scale_set, self.machines).items()}

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The instances that should be there."""
        return tuple(range(number(self.scale_set, "spec.replicas", 1))) if self.is_set else tuple(sorted(self.names))

    def pods_by_ordinal(self) -> dict[int, Obj]:
        """The set's own pods; one that another controller owns is not an instance, whatever its labels say."""
        places = {name: place for place, name in self.names.items()}
        uids = {name_of(m): text(m, "metadata.uid") for m in self.machines}
        found: dict[int, Obj] = {}
        for pod in self.pods:
            name = name_of(pod)
            ordinal = instance_ordinal(name, self.name) if self.is_set else places.get(name)
            owner = uids.get(name, text(self.scale_set, "metadata.uid"))
            if ordinal is not None and not _is_foreign(pod, owner):
                found[ordinal] = pod
        return found

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


def _is_foreign(pod: Obj, uid: str) -> bool:
    owners = [o for o in at(pod, "metadata.ownerReferences", []) if o.get("controller")]
    return any(uid and text(o, "uid") != uid for o in owners)
