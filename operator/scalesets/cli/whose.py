"""What a command is about when it is not always a scale set: ``web``, ``vm/db-0`` or ``avset/db``, as kubectl writes
kinds and names. Extensions are upgraded on all three; images and models only on sets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scalesets.cli.fields import Obj, name_of
from scalesets.engine.view import SetView
from scalesets.kube import machines
from scalesets.kube.kinds import GROUPS, MACHINES, SCALE_SETS, Kind
from scalesets.kube.names import GROUP, LABEL_MACHINE, LABEL_SET

NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Owner:
    """A kind whose extensions are upgraded. ``field`` names it in ``RollingUpgrade.spec``, ``short`` in commands."""

    kind: Kind
    field: str
    short: str
    words: str
    also: str  # how to see what there is, with kubectl

    @property
    def known_as(self) -> frozenset[str]:
        """All the ways in which kubectl names the kind."""
        singular, plural = self.kind.kind.lower(), self.kind.plural
        return frozenset({self.short, singular, plural, f"{singular}.{GROUP}", f"{plural}.{GROUP}"})


SCALE_SET = Owner(SCALE_SETS, "scaleSet", "vmss", "scale set", "vmss")
MACHINE = Owner(MACHINES, "virtualMachine", "vm", "machine", f"virtualmachines.{GROUP}")
AVAILABILITY_SET = Owner(GROUPS, "availabilitySet", "avset", "availability set", "avset")
OWNERS = (SCALE_SET, MACHINE, AVAILABILITY_SET)


@dataclass(frozen=True, slots=True)
class Named:
    """One of them, by name."""

    owner: Owner
    name: str

    @property
    def is_set(self) -> bool:
        """Whether it is a scale set."""
        return self.owner is SCALE_SET

    @property
    def pods(self) -> str:
        """The label selector of its pods, claims and models; an availability set's are among those of all machines."""
        if self.is_set:
            return f"{LABEL_SET}={self.name}"
        return f"{LABEL_MACHINE}={self.name}" if self.owner is MACHINE else LABEL_MACHINE

    def as_set(self, raw: Obj) -> Obj:
        """The object in the words of a scale set, in which all that is shown is read (kube/machines.py)."""
        if self.is_set:
            return raw
        told = machines.as_set if self.owner is MACHINE else machines.group_as_set
        return {**told(dict(raw), None), "kind": self.owner.kind.kind}

    def __str__(self) -> str:
        """As it is written on a command line."""
        return self.name if self.is_set else f"{self.owner.short}/{self.name}"


def parse(given: str) -> Named | None:
    """What is meant; None when that is no name, or a kind without extensions."""
    kind, _, name = given.rpartition("/")
    owner = next((o for o in OWNERS if kind.lower() in o.known_as), None) if kind else SCALE_SET
    return Named(owner, name) if owner is not None and NAME.fullmatch(name) else None


def known(given: str) -> Named:
    """The same for what was looked at before."""
    found = parse(given)
    assert found is not None, given
    return found


def of_view(view: SetView) -> str:
    """How what the engine looks at is written on a command line."""
    owner = AVAILABILITY_SET if view.is_group else MACHINE if view.names else SCALE_SET
    return str(Named(owner, view.name))


def reference(obj: Obj) -> str:
    """How an object is written on a command line, by its kind."""
    owner = next((o for o in OWNERS if o.kind.kind == obj.get("kind")), SCALE_SET)
    return str(Named(owner, name_of(obj)))
