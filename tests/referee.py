"""The referee: watches from outside and names what breaks an invariant of docs/design.md.

It shares no code with the operator. It is fed with plain API objects in the order in which they were stored (``see``),
and with the time at which each was seen; it does no I/O and has no clock, so a simulated world can be refereed as well
as a cluster (watching.py feeds it from an API server). Touched by an upgrade = member of a batch in a RollingUpgrade's
status; whoever else deletes a pod doesn't touch it. What the test itself breaks is excused by ``excuse``.

Fields that it reads, so that others can make such objects: metadata (namespace, name, uid, labels, annotations,
creationTimestamp, deletionTimestamp; managedFields and ownerReferences if there are any); of a Pod spec.volumes,
status.phase, status.conditions, the containers' restartCount and the init containers' containerID; of our kinds spec
and status as docs/api.md has them.
"""

from __future__ import annotations

from collections import Counter, deque
from datetime import datetime

from refereeing import fleets, objects
from refereeing.book import Book, Instance, ScaleSet, Upgrade, Violation
from refereeing.fleets import Fleets
from refereeing.instances import Instances
from refereeing.machines import Machines
from refereeing.objects import Json, Key
from refereeing.upgrades import Upgrades

__all__ = ["LISTED", "FoulError", "Referee", "Violation"]

LISTED = "LISTED"
"""Event type of an object that was there when the referee came: what led to it isn't judged."""

OPERATOR = "scalesets.dev/scaleset-operator"
"""Who reports the operator's Events."""


class FoulError(AssertionError):
    """Invariants were broken; the message has all of them and the timeline."""


def _reporter(event: Json) -> str:
    """Who posted an Event, in either of its APIs."""
    return event.get("reportingController") or event.get("reportingComponent") or ""


class Referee:
    """Sees what happens, in order, and keeps the violations."""

    def __init__(self, *, catalog_namespace: str = "scaleset-system", timeline_length: int = 4000) -> None:
        self._book = Book(timeline_length=timeline_length)
        self._instances = Instances(self._book)
        self._upgrades = Upgrades(self._book, catalog_namespace=catalog_namespace)
        self._machines = Machines(self._book)
        self._fleets = Fleets(self._book)
        self._changes: deque[tuple[datetime, str]] = deque(maxlen=timeline_length)

    @property
    def violations(self) -> list[Violation]:
        """What was found so far."""
        return self._book.violations

    @property
    def timeline(self) -> list[str]:
        """What happened, a line each, with seconds since the start."""
        return list(self._book.timeline)

    def see(self, kind: str, event_type: str, obj: Json, at: datetime) -> None:
        """Take in one event: ADDED, MODIFIED, DELETED, or LISTED. Of other kinds it only notes that they changed."""
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        first_look = event_type == LISTED
        if kind != "Namespace" and not first_look and not (kind == "Event" and _reporter(obj) != OPERATOR):
            self._changes.append((at, f"{kind} {key[1]} {event_type}"))
        match kind:
            case "ScaleSet":
                self._see_set(event_type, key, obj, at)
            case "RollingUpgrade":
                self._upgrades.see_upgrade(event_type, key, obj, at, judged=not first_look)
                self._machines.see_upgrade(event_type, key, obj, at)
            case "VirtualMachine":
                self._machines.see_machine(event_type, key, obj)
                self._see_machine(event_type, key, obj, at)
            case "AvailabilitySet":
                self._see_group(event_type, key, obj, at)
            case "Namespace":
                self._machines.see_namespace(key[1], obj)
            case "Pod":
                if found := self._instances.see_pod(event_type, key, obj, at):
                    self._see_instance(*found, at)
            case "PersistentVolumeClaim":
                self._instances.see_claim(event_type, key, obj, at)
            case "GalleryImage":
                self._upgrades.see_image(event_type, key, obj, at, told=not first_look)
            case "Extension":
                self._upgrades.see_extension(event_type, key, obj, at, told=not first_look)

    def _see_machine(self, event: str, key: Key, obj: Json, at: datetime) -> None:
        owner = (key[0], f"{objects.MACHINE}{key[1]}")
        self._fleets.see_machine(event, key, obj)
        self._see_set(event, owner, fleets.machine_as_set(obj), at)
        machine = self._book.sets.get(owner)
        for instance in machine.instances.values() if machine is not None and machine.going else ():
            instance.scaled_in = True  # its availability set loses it

    def _see_group(self, event: str, key: Key, obj: Json, at: datetime) -> None:
        owner = (key[0], f"{objects.GROUP}{key[1]}")
        self._see_set(event, owner, fleets.group_as_set(obj, self._fleets.in_group(key)), at)
        if event != "DELETED":
            self._fleets.link(self._book.sets[owner])

    def _see_instance(self, state: ScaleSet, instance: Instance, at: datetime) -> None:
        self._upgrades.see_instance(state, instance.ordinal, instance, at)
        if state.is_machine and (of := self._fleets.of_machine(state)) is not None:
            self._upgrades.see_instance(*of, instance, at)

    def _see_set(self, event: str, key: Key, obj: Json, at: datetime) -> None:
        book = self._book
        state = book.sets.get(key)
        if event == "DELETED":
            if state is not None:
                state.deleted = True
                there = {o: i for o, i in state.instances.items() if i.uid and not i.going and not i.ended}
                state.instances = there  # nobody remembers what the others were
                for upgrade in book.upgrades_of(key):
                    upgrade.outlived = True
                book.tell(at, f"set {key[1]} is gone")
            return
        if state is None or state.deleted:
            instances = state.instances if state is not None else {}  # after --cascade=orphan they are adopted
            state = book.sets[key] = ScaleSet(key, at, obj)
            state.instances = instances
            book.tell(at, f"set {key[1]}: {'; '.join(objects.set_words(obj))}")
            return
        before = objects.set_words(state.obj)
        if changed := [words for words in objects.set_words(obj) if words not in before]:
            book.tell(at, f"set {key[1]}: {'; '.join(changed)}")
        state.past.add(at, obj)
        self._upgrades.see_set(state)
        for ordinal in [o for o in state.instances if o >= objects.replicas(obj) and not state.is_group]:
            state.instances[ordinal].scaled_in = True
            if not state.instances[ordinal].uid:
                del state.instances[ordinal]

    # -- what tests say and ask ----------------------------------------------------------------------------------------

    def excuse(self, kind: str, namespace: str, name: str) -> None:
        """The test itself breaks this claim, or restarts containers of this pod: that is not the operator's fault."""
        self._book.excused.add((kind, namespace, name))

    def gives_place(self, namespace: str, group: str, place: int) -> None:
        """A machine left its availability set: who comes in its place is another one."""
        if (state := self._book.sets.get((namespace, group))) is not None:
            state.instances.pop(place, None)
        for upgrade in self._book.upgrades_of((namespace, group)):
            upgrade.at_work.pop(place, None)

    def namespace_goes(self, namespace: str) -> None:
        """The namespace is being deleted: everything in it ends, in any order."""
        self._book.going_namespaces.add(namespace)

    def unfinished(self) -> list[Upgrade]:
        """Upgrades that have started, aren't over, and don't wait for an approval."""
        return [
            u
            for u in self._book.upgrades.values()
            if u.code and not u.finished and not u.deleted and not u.awaits_approval and not self._is_going(u)
        ]

    def _is_going(self, upgrade: Upgrade) -> bool:
        state = self._book.sets.get((upgrade.namespace, upgrade.set_name))
        return state is None or state.going or upgrade.namespace in self._book.going_namespaces

    def at_rest(self, at: datetime) -> None:
        """Faults are over, health is back and time enough has passed: every upgrade must have ended (I7)."""
        for upgrade in self.unfinished():
            waits = upgrade.status.get("waitingFor") or "nothing that it names"
            self._book.say("I7", at, f"{upgrade.name} is still {upgrade.code}, waiting for {waits}", upgrade.name)

    def quiet_between(self, start: datetime, end: datetime) -> None:
        """Nothing may have changed between the two (I9)."""
        noise = Counter(what for at, what in self._changes if start <= at <= end)
        if noise:
            listed = "; ".join(f"{count} × {what}" for what, count in noise.most_common(8))
            self._book.say("I9", end, f"{noise.total()} changes in a quiet cluster: {listed}")

    def check(self) -> None:
        """Raise what was found."""
        if self.violations:
            raise FoulError(f"{len(self.violations)} violations\n\n{self.report()}")

    def report(self) -> str:
        """All violations and the timeline."""
        found = "\n".join(map(str, self.violations)) or "no violation"
        return f"{found}\n\ntimeline:\n" + "\n".join(f"  {line}" for line in self.timeline)
