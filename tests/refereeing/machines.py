"""I10: at most 20 % of a subscription's machines at once, one zone at a time; an availability set one update domain at
a time, never all of it.

Judged from the batches that RollingUpgrades show, over all namespaces that are watched: those with the same label
``scalesets.dev/subscription`` are one subscription, and so are all without it.
"""

from __future__ import annotations

from datetime import datetime

from refereeing.book import Book
from refereeing.objects import PREFIX, Json, location

Key = tuple[str, str]


class Machines:
    """Machines, availability sets and the batches at work on them."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._machines: dict[Key, Json] = {}
        self._at_work: dict[Key, str] = {}  # machines by themselves: the upgrade
        self._subscriptions: dict[str, str] = {}  # by namespace
        self._judged: set[tuple[str, int]] = set()  # upgrade's UID and batch

    def see_namespace(self, name: str, obj: Json) -> None:
        """A namespace came or changed its labels."""
        self._subscriptions[name] = (obj["metadata"].get("labels") or {}).get(f"{PREFIX}subscription", "")

    def see_machine(self, event: str, key: Key, obj: Json) -> None:
        """A VirtualMachine came, changed or went."""
        if event == "DELETED":
            self._machines.pop(key, None)
            self._at_work.pop(key, None)
        else:
            self._machines[key] = obj

    def see_upgrade(self, event: str, key: Key, obj: Json, at: datetime) -> None:
        """A RollingUpgrade showed a batch at work, or its end."""
        spec, status = obj["spec"], obj.get("status") or {}
        batches = status.get("batches") or []
        running = batches[-1] if batches and batches[-1].get("outcome") == "Running" and event != "DELETED" else None
        if name := spec.get("virtualMachine"):
            self._follow((key[0], name), key[1], running is not None, at)
        elif spec.get("availabilitySet") and running is not None:
            batch = (obj["metadata"]["uid"], running["number"])
            if batch not in self._judged:
                self._judged.add(batch)
                self._judge_group((key[0], spec["availabilitySet"]), key[1], running, at)

    def _follow(self, machine: Key, upgrade: str, works: bool, at: datetime) -> None:
        if not works:
            if self._at_work.get(machine) == upgrade:
                del self._at_work[machine]
            return
        if machine in self._at_work or machine not in self._machines:  # what it leaves behind when it is deleted
            return
        self._at_work[machine] = upgrade
        alone = [k for k in self._machines if self._is_alike(k, machine)]
        busy = [k for k in self._at_work if self._is_alike(k, machine)]
        limit = max(1, 20 * len(alone) // 100)
        names = ", ".join(sorted("/".join(k) for k in busy))
        if len(busy) > limit:
            self._book.say("I10", at, f"{names} are at work, more than {limit} of {len(alone)} machines", upgrade)
        zones = {(self._machines.get(k) or {"spec": {}})["spec"].get("zone", "") for k in busy}
        if len(zones) > 1:
            self._book.say("I10", at, f"{names} are at work in several zones: {', '.join(sorted(zones))}", upgrade)

    def _is_alike(self, one: Key, other: Key) -> bool:
        """Whether two machines take turns: by themselves, of one subscription, in one location (or not known yet)."""
        specs = [self._machines.get(k) or {"spec": {}} for k in (one, other)]
        if specs[0]["spec"].get("availabilitySet"):
            return False
        mine, theirs = (self._subscriptions.get(namespace, "") for namespace, _ in (one, other))
        here, there = map(location, specs)
        return mine == theirs and (here == there or not here or not there)

    def _judge_group(self, group: Key, upgrade: str, batch: Json, at: datetime) -> None:
        all_of_it = {
            name
            for (namespace, name), machine in self._machines.items()
            if namespace == group[0] and machine["spec"].get("availabilitySet") == group[1]
        }
        members = set(batch.get("machines") or ())
        if len(all_of_it) > 1 and all_of_it <= members:
            self._book.say("I10", at, f"{upgrade}: all machines of {group[1]} are in one batch", upgrade)
        known = (self._machines.get((group[0], name)) for name in members)
        domains = {d for m in known if m is not None and (d := (m.get("status") or {}).get("updateDomain")) is not None}
        if len(domains) > 1:
            self._book.say("I10", at, f"{upgrade}: a batch of {group[1]} lies in update domains {domains}", upgrade)
