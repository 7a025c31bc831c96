"""VirtualMachines and AvailabilitySets in the words of ScaleSets, as far as the referee reads those.

A machine is a set of one instance, under a name that no set can have; an availability set is one whose instances are
its machines, by their places. So every invariant that makes sense for them is judged by what judges sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from refereeing.book import Book, Instance, ScaleSet
from refereeing.objects import GROUP, MACHINE, Json, Key


def machine_as_set(obj: Json) -> Json:
    """A VirtualMachine."""
    spec = dict(obj["spec"])
    zones = {"zones": [spec["zone"]]} if spec.get("zone") else {}
    policy = {**(spec.get("upgradePolicy") or {}), "mode": "Automatic"}
    return {**obj, "spec": {**spec, **zones, "replicas": 1, "updateDomains": 1, "upgradePolicy": policy}}


def group_as_set(obj: Json, machines: Iterable[Json]) -> Json:
    """An AvailabilitySet with its machines' extensions; a name that stands for two types is that of the first."""
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    names = places(obj)
    extensions = {e["name"]: e for m in machines for e in reversed(m["spec"].get("extensions") or ())}
    return {
        **obj,
        "spec": {
            **spec,
            "replicas": max(names, default=-1) + 1,
            "updateDomains": spec.get("platformUpdateDomainCount", 5),
            "upgradePolicy": {**(spec.get("upgradePolicy") or {}), "mode": "Automatic"},
            "extensions": list(extensions.values()),
            "names": names,
        },
    }


def places(group: Json) -> dict[int, str]:
    """The machines of an AvailabilitySet by place, as its status has them."""
    known = (group.get("status") or {}).get("machines") or ()
    return {int(m.get("ordinal", n)): m["name"] for n, m in enumerate(known)}


class Fleets:
    """Keeps machines and availability sets together: the pod of a machine is an instance of both."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._machines: dict[Key, Json] = {}

    def see_machine(self, event: str, key: Key, obj: Json) -> None:
        """A VirtualMachine came, changed or went."""
        if event == "DELETED":
            self._machines.pop(key, None)
        else:
            self._machines[key] = obj

    def in_group(self, key: Key) -> list[Json]:
        """The machines that name the availability set."""
        return [m for k, m in self._machines.items() if (k[0], m["spec"].get("availabilitySet")) == key]

    def link(self, group: ScaleSet) -> None:
        """Let the pods of its machines be its instances."""
        there: dict[int, Instance] = {}
        for place, name in group.obj["spec"]["names"].items():
            machine = self._book.sets.get((group.key[0], MACHINE + name))
            if machine is not None and 0 in machine.instances:
                there[place] = machine.instances[0]
        group.instances = there

    def of_machine(self, machine: ScaleSet) -> tuple[ScaleSet, int] | None:
        """The availability set of a machine, linked anew, and its place there."""
        named = machine.obj["spec"].get("availabilitySet")
        group = self._book.sets.get((machine.key[0], f"{GROUP}{named}")) if named else None
        if group is None or group.deleted:
            return None
        self.link(group)
        found = (o for o, name in group.obj["spec"]["names"].items() if MACHINE + name == machine.key[1])
        return next(((group, place) for place in found), None)
