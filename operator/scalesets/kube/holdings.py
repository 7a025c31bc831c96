"""All that the operator has read of the cluster: its stores, and how they hang together.

Who is told of a change is concerns.py's; what is made of it all for one decision is world.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from scalesets.engine.view import LONG_AGO
from scalesets.kube import machines
from scalesets.kube.cache import Store, keep
from scalesets.kube.fleet import Claims, Now, Pods, Wake, WakeForPod
from scalesets.kube.kinds import EXTENSIONS, GROUPS, IMAGES, MACHINES, SCALE_SETS, UPGRADES, Kind
from scalesets.kube.memory import Memory
from scalesets.kube.names import GROUP_OF, MACHINE, Raw, is_machine, plain_name
from scalesets.kube.seen import Key
from scalesets.kube.settings import Settings
from scalesets.kube.subscriptions import Subscriptions
from scalesets.kube.turns import Fleet


class Holdings:
    """The stores and the indexes over them. ``for_pod`` and ``for_claim`` are told of whom pods and claims concern."""

    def __init__(self, settings: Settings, *, for_pod: WakeForPod, for_claim: Wake, now: Now) -> None:
        self._settings = settings
        self.fresh_since: Callable[[], datetime | None] = lambda: LONG_AGO
        """Since when the pods are watched without a break; whoever watches them says so."""
        self.pods = Pods(for_pod, now=now)
        self.claims = Claims(for_claim)
        self.sets: Store[Raw] = Store(keep)
        self.machines: Store[Raw] = Store(machines.as_set)
        self.groups: Store[Raw] = Store(machines.group_as_set)
        self.subscriptions = Subscriptions(settings)
        self.namespaces = self.subscriptions.namespaces
        self.upgrades: Store[Raw] = Store(keep)
        self.images: Store[Raw] = Store(keep)
        self.extensions: Store[Raw] = Store(keep)
        self.revisions: Store[Raw] = Store(keep)
        self.upgrades_by_owner: dict[Key, dict[str, Raw]] = {}
        self.revisions_by_owner: dict[str, dict[str, Raw]] = {}  # UID of the set -> model
        self.memories: dict[str, Memory] = {}  # by UID of the set
        self._members: dict[Key, dict[str, Raw]] = {}  # of availability sets
        self._machines_in: dict[str, set[Key]] = {}  # by namespace
        self._located: Counter[str] = Counter()  # sets and machines by location

    def store_of(self, kind: Kind) -> Store[Raw]:
        """The store of one of our own kinds."""
        return {
            SCALE_SETS: self.sets,
            MACHINES: self.machines,
            GROUPS: self.groups,
            UPGRADES: self.upgrades,
            IMAGES: self.images,
            EXTENSIONS: self.extensions,
        }[kind]

    def owner(self, key: Key) -> Raw | None:
        """The set or machine, in a set's words."""
        kind = key[1].partition("/")[0] + "/" if "/" in key[1] else ""
        store = {MACHINE: self.machines, GROUP_OF: self.groups}.get(kind, self.sets)
        return store.get((key[0], plain_name(key[1])))

    def owners(self) -> Iterator[Key]:
        """The keys of all sets and machines."""
        yield from self.sets.all_keys()
        yield from ((namespace, MACHINE + name) for namespace, name in self.machines.all_keys())
        yield from ((namespace, GROUP_OF + name) for namespace, name in self.groups.all_keys())

    def fleets(self) -> Iterator[tuple[Raw, Iterator[tuple[str, bool]]]]:
        """Every set, machine and availability set, with image version and health of each instance of its own."""
        for store in (self.sets, self.machines, self.groups):
            for raw in store.values():
                there = self.pods.instances(raw["metadata"]["uid"]).values()
                yield raw, ((i.release.image_version, i.healthy) for i in there)

    def catalogues(self) -> Iterator[Raw]:
        """Every image and extension."""
        yield from self.images.values()
        yield from self.extensions.values()

    def versions_in_use(self) -> frozenset[str]:
        """The versions of images and extensions that instances are on, or come to when they are lost or new."""
        found: set[str] = set()
        for store in (self.sets, self.machines):
            for raw in store.values():
                found.add((raw["spec"].get("imageReference") or {}).get("version") or "")
                found.update(e.get("typeHandlerVersion") or "" for e in raw["spec"].get("extensions") or ())
                for instance in self.pods.instances(raw["metadata"]["uid"]).values():
                    found.update((instance.release.image_version, *(v for _, v in instance.release.extensions)))
                for group in (raw.get("status") or {}).get("instances") or ():
                    found.add(group.get("imageVersion") or "")
                    found.update(e.get("version") or "" for e in group.get("extensions") or ())
        return frozenset(found)

    def named_by(self, group: Key) -> Collection[str]:
        """The machines that name an availability set."""
        return self._members.get(group, {})

    def members(self, group: Key) -> Mapping[str, Raw]:
        """The machines of an availability set, by name: those of its location."""
        raw = self.owner(group)
        where = self.location_of(raw) if raw is not None else ""
        return {n: m for n, m in self._members.get(group, {}).items() if self.location_of(m) == where}

    def group_of(self, machine: Raw) -> Key | None:
        """The key of the availability set that a machine names."""
        name = machine["spec"].get("availabilitySet") if is_machine(machine) else None
        return (machine["metadata"]["namespace"], f"{GROUP_OF}{name}") if name else None

    def is_member(self, machine: Raw, group: Raw | None) -> bool:
        """Whether the machine is in the availability set that it names: it exists, in the machine's location."""
        return group is not None and self.location_of(group) == self.location_of(machine)

    def machines_in(self, namespace: str) -> Collection[Key]:
        """The machines of a namespace."""
        return self._machines_in.get(namespace, ())

    def fleet_of(self, machine: Raw) -> Fleet | None:
        """The subscription and location in which the machine takes turns; None in an availability set."""
        if machine["spec"].get("availabilitySet"):
            return None
        return self.subscriptions.of(machine["metadata"]["namespace"]), self.location_of(machine)

    def location_of(self, owner: Raw) -> str:
        """Where a set or machine is."""
        named = owner["spec"].get("location") or (owner.get("status") or {}).get("location")
        return named or self._settings.default_location

    def memory(self, set_uid: str) -> Memory:
        """What is remembered of the set."""
        memory = self.memories.get(set_uid)
        if memory is None:
            memory = self.memories[set_uid] = Memory()
        return memory

    def upgrades_of(self, key: Key) -> tuple[Raw, ...]:
        """The RollingUpgrades that name the set, oldest first."""
        return _oldest_first(self.upgrades_by_owner.get(key, {}).values())

    def revisions_of(self, set_uid: str) -> Mapping[str, Raw]:
        """The ControllerRevisions that the set controls, by model."""
        return self.revisions_by_owner.get(set_uid, {})

    def catalogue(self, store: Store[Raw], namespace: str) -> tuple[Raw, ...]:
        """The images or extensions of a namespace, oldest first."""
        return _oldest_first(o for o in store.values() if o["metadata"]["namespace"] == namespace)

    def locations(self) -> tuple[str, ...]:
        """The locations that sets are in: where images are looked at as available or not."""
        named = {location for location, number in self._located.items() if number > 0}
        return tuple(sorted(named | {self._settings.default_location}))

    def note(self, before: Raw | None, after: Raw | None) -> None:
        """Keep the indexes true to a set or machine that came, changed or went."""
        for raw, sign in ((before, -1), (after, 1)):
            if raw is None:
                continue
            self._located[self.location_of(raw)] += sign
            if is_machine(raw):
                self._note_machine(raw, gone=sign < 0)

    def _note_machine(self, raw: Raw, *, gone: bool) -> None:
        namespace, name = raw["metadata"]["namespace"], raw["metadata"]["name"]
        there = self._machines_in.setdefault(namespace, set())
        (there.discard if gone else there.add)((namespace, MACHINE + name))
        if not there:
            del self._machines_in[namespace]
        if (group := self.group_of(raw)) is None:
            return
        members = self._members.setdefault(group, {})
        if gone:
            members.pop(name, None)
        else:
            members[name] = raw
        if not members:
            del self._members[group]


def label(raw: Raw | None, name: str) -> str:
    """A label of an object; empty when it has none of the name."""
    labels: Mapping[str, str] = (raw or {}).get("metadata", {}).get("labels") or {}
    return labels.get(name, "")


def controller(raw: Raw | None) -> str:
    """The UID of an object's controller; empty when it has none."""
    owners: Iterable[Mapping[str, Any]] = (raw or {}).get("metadata", {}).get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _oldest_first(objects: Iterable[Raw]) -> tuple[Raw, ...]:
    return tuple(sorted(objects, key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"])))
