"""All that the operator knows: its stores, how they hang together, and whom a change concerns.

A change of a pod, claim, model or upgrade concerns its set; one of an image or extension itself and the sets that may
use it. ``see`` gathers what there is to know of one set for a decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from scalesets.engine.machines import Machine
from scalesets.engine.view import LONG_AGO, Instance, Trouble, TroubleKind
from scalesets.kube import machines, memo, upgrades
from scalesets.kube.cache import Changed, Store, keep
from scalesets.kube.fleet import Claims, Matter, Now, Pods, utc_now
from scalesets.kube.kinds import EXTENSIONS, GROUPS, IMAGES, MACHINES, SCALE_SETS, UPGRADES, Kind
from scalesets.kube.names import (
    GROUP_OF,
    LABEL_MODEL,
    LABEL_SUBSCRIPTION,
    MACHINE,
    Raw,
    is_group,
    is_machine,
    owner_of,
    plain_name,
)
from scalesets.kube.pods import Pod
from scalesets.kube.seen import Key, Seen
from scalesets.kube.settings import Settings
from scalesets.kube.troubles import Troubles
from scalesets.kube.turns import Turns, has_running_batch


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


@dataclass(slots=True)
class Memory:
    """What this process remembers of one set, by its UID; all of it can be lost without harm."""

    troubles: Troubles = field(default_factory=Troubles)
    within_limit_since: datetime | None = None
    zones_backed: bool | None = None
    groundwork_generation: int = -1  # the generation for which groundwork.py tried last
    templates: dict[Any, Any] = field(default_factory=dict)
    claims_generation: int = -1  # the generation for which claims were looked over for expansion
    claims_tried: int = -1  # the one for which that was tried last
    awaited: set[int] = field(default_factory=set)  # members of the running batch that were not Ready when last decided
    retries: dict[int, tuple[int, datetime]] = field(default_factory=dict)  # ordinal -> failures in a row, not before
    batch_since: float | None = None  # when the event came that let the next batch begin (for stats.py)
    looked_at: float = float("-inf")  # when what its model names was looked at for instances that don't come up
    told_at: float = float("-inf")  # when the set's status was written last


class World:
    """The stores and the index over them."""

    def __init__(self, settings: Settings, wake: Wake, *, now: Now = utc_now) -> None:
        self._settings = settings
        self._wake = wake
        self._now = now
        self.fresh_since: Callable[[], datetime | None] = lambda: LONG_AGO
        """Since when the pods are watched without a break; whoever watches them says so."""
        self.pods = Pods(self._wake_for_pod, now=now)
        self.claims = Claims(self._wake_set)
        self.sets: Store[Raw] = Store(keep, _forgetting(self._set_changed))
        self.machines: Store[Raw] = Store(machines.as_set, _forgetting(self._machine_changed))
        self.groups: Store[Raw] = Store(machines.group_as_set, _forgetting(self._group_changed))
        self.namespaces: Store[Raw] = Store(keep, self._namespace_changed)  # those with a subscription
        self.turns = Turns(self._wake_set, self._fleet)
        self.upgrades: Store[Raw] = Store(keep, _forgetting(self._upgrade_changed))
        self.images: Store[Raw] = Store(keep, _forgetting(self._image_changed))
        self.extensions: Store[Raw] = Store(keep, _forgetting(self._extension_changed))
        self.revisions: Store[Raw] = Store(keep, _forgetting(self._revision_changed))
        self._upgrades_of: dict[Key, dict[str, Raw]] = {}
        self._revisions_of: dict[str, dict[str, Raw]] = {}
        self._memories: dict[str, Memory] = {}
        self._locations: tuple[str, ...] = ()

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

    def members(self, group: Key) -> dict[str, Raw]:
        """The machines of an availability set, by name."""
        name = plain_name(group[1])
        return {
            key[1]: raw
            for key in self.machines.all_keys()
            if key[0] == group[0] and (raw := self.machines.get(key)) and raw["spec"].get("availabilitySet") == name
        }

    def group_of(self, machine: Raw) -> Key | None:
        """The key of the availability set that a machine names."""
        name = machine["spec"].get("availabilitySet") if is_machine(machine) else None
        return (machine["metadata"]["namespace"], f"{GROUP_OF}{name}") if name else None

    def turn(self, key: Key, location: str) -> str:
        """Why the machine must wait for others of its subscription in this location, in words; empty: it need not."""
        mine = self.owner(key)
        if mine is None or mine["spec"].get("availabilitySet") or self._is_at_work(key, mine):
            return ""
        return self.turns.ask(key, location)

    def _fleet(self, key: Key, location: str) -> list[Machine]:
        """The machines that share a budget with this one: those of its subscription in its location."""
        subscription = self._subscription(key[0])
        shares = {key[0]: True}
        fleet = []
        for raw in self.machines.values():
            namespace, spec = raw["metadata"]["namespace"], raw["spec"]
            if spec.get("availabilitySet"):
                continue
            if namespace not in shares:
                shares[namespace] = self._subscription(namespace) == subscription
            there = spec.get("location") or (raw.get("status") or {}).get("location") or self._settings.default_location
            if shares[namespace] and there == location:
                name = raw["metadata"]["name"]
                zone = next(iter(spec.get("zones") or ()), "")
                busy = self._is_at_work((namespace, MACHINE + name), raw)
                fleet.append(Machine(f"{namespace}/{name}", zone, busy))
        return fleet

    def _is_at_work(self, key: Key, machine: Raw) -> bool:
        """Whether a batch of the machine runs, or is about to be stored."""
        stored = self._upgrades_of.get(key)
        return self.turns.holds(machine["metadata"]["uid"]) or (
            stored is not None and any(map(has_running_batch, stored.values()))
        )

    def _subscription(self, namespace: str) -> str:
        """The subscription of a namespace; empty: that of the cluster."""
        return _label(self.namespaces.get(("", namespace)), LABEL_SUBSCRIPTION)

    def memory(self, set_uid: str) -> Memory:
        """What is remembered of the set."""
        memory = self._memories.get(set_uid)
        if memory is None:
            memory = self._memories[set_uid] = Memory()
        return memory

    def upgrades_of(self, key: Key) -> tuple[Raw, ...]:
        """The RollingUpgrades that name the set, oldest first."""
        return _oldest_first(self._upgrades_of.get(key, {}).values())

    def catalogue(self, store: Store[Raw], namespace: str) -> tuple[Raw, ...]:
        """The images or extensions of a namespace, oldest first."""
        return _oldest_first(o for o in store.values() if o["metadata"]["namespace"] == namespace)

    def see(self, key: Key, now: datetime) -> Seen | None:
        """All that is known of the set, or None when it doesn't exist."""
        scale_set = self.owner(key)
        if scale_set is None:
            return None
        uid = scale_set["metadata"]["uid"]
        memory = self.memory(uid)
        if is_group(scale_set):
            return self._see_group(key, scale_set, memory, now)
        group, update_domain, troubles = self._see_place(scale_set, now)
        self.pods.scaled_to(uid, scale_set["spec"].get("replicas", 1))
        return Seen(
            scale_set=scale_set,
            instances=self.pods.instances(uid),
            claims=self.claims.of_set(key),
            revisions=dict(self._revisions_of.get(uid, {})),
            upgrades=self.upgrades_of(key),
            images=self._for_set(self.images, key[0]),
            extensions=self._for_set(self.extensions, key[0]),
            catalog_namespace=self._settings.catalog_namespace,
            troubles=(*memory.troubles.all(now), *troubles),
            losses=self.pods.losses(uid),
            fresh_since=self.fresh_since(),
            within_limit_since=memory.within_limit_since,
            zones_backed=memory.zones_backed,
            update_domain=update_domain,
            group=group,
        )

    def _see_place(self, machine: Raw, now: datetime) -> tuple[Seen | None, int | None, tuple[Trouble, ...]]:
        """What a machine needs to know of its availability set: itself while it upgrades, and the update domain."""
        key = self.group_of(machine)
        if key is None:
            return None, None, ()
        group = self.owner(key)
        if group is None:
            name = plain_name(key[1])
            message = f"there is no AvailabilitySet {name} in namespace {key[0]}: create it"
            return None, None, (Trouble(TroubleKind.NO_AVAILABILITY_SET, message),)
        status = group.get("status") or {}
        name = machine["metadata"]["name"]
        domain = next((m["updateDomain"] for m in status.get("machines") or () if m["name"] == name), None)
        return (self.see(key, now) if status.get("currentUpgrade") else None), domain, ()

    def _see_group(self, key: Key, group: Raw, memory: Memory, now: datetime) -> Seen:
        """An availability set, with the pods and models of its machines as its own."""
        members = self.members(key)
        places = machines.places(group, members.values())
        instances: dict[int, Instance] = {}
        revisions: dict[str, Raw] = {}
        for name, place in places.items():
            uid = members[name]["metadata"]["uid"]
            revisions.update(self._revisions_of.get(uid, {}))
            if (instance := self.pods.instances(uid).get(0)) is not None:
                instances[place] = replace(instance, ordinal=place)
        return Seen(
            scale_set=group,
            instances=instances,
            revisions=revisions,
            upgrades=self.upgrades_of(key),
            extensions=self._for_set(self.extensions, key[0]),
            catalog_namespace=self._settings.catalog_namespace,
            troubles=memory.troubles.all(now),
            fresh_since=self.fresh_since(),
            within_limit_since=memory.within_limit_since,
            places=places,
        )

    def locations(self) -> tuple[str, ...]:
        """The locations that sets are in: where images are looked at as available or not."""
        default = self._settings.default_location
        everyone = (*self.sets.values(), *self.machines.values(), *self.groups.values())
        named = {s["spec"].get("location") or (s.get("status") or {}).get("location") or default for s in everyone}
        return tuple(sorted(named | {default}))

    def _for_set(self, store: Store[Raw], namespace: str) -> tuple[Raw, ...]:
        own = self.catalogue(store, namespace)
        catalog = self._settings.catalog_namespace
        return own if namespace == catalog else own + self.catalogue(store, catalog)

    # ------------------------------------------------------------ whom a change concerns

    def _wake_set(self, key: Key, urgency: Urgency = Urgency.SOON) -> None:
        if not self._settings.serves(key[0]):
            return
        self._wake(Work(Topic.SCALE_SET, *key), urgency)
        machine = self.owner(key) if key[1].startswith(MACHINE) else None
        if machine is not None and (group := self.group_of(machine)) is not None:
            self._wake(Work(Topic.SCALE_SET, *group), urgency)

    def _wake_afresh(self, key: Key) -> None:
        """People changed the set, or what it names: what failed so far is tried again without waiting."""
        owner = self.owner(key)
        memory = self._memories.get(owner["metadata"]["uid"]) if owner is not None else None
        if memory is not None:
            memory.troubles.try_anew(self._now())
            memory.retries.clear()
        self._wake_set(key, Urgency.AFRESH)

    def _wake_members(self, group: Key) -> None:
        for name in self.members(group):
            self._wake(Work(Topic.SCALE_SET, group[0], MACHINE + name), Urgency.SOON)

    def _wake_for_pod(self, pod: Pod, matter: Matter) -> None:
        urgency = Urgency.LATER if matter is Matter.LATER else Urgency.SOON
        self._maybe_name_is_free(pod)
        memory = self._memories.get(pod.owner_uid)
        if matter is Matter.READY and memory is not None and pod.instance.ordinal in memory.awaited:
            memory.awaited.discard(pod.instance.ordinal)
            urgency = Urgency.LATER if memory.awaited else Urgency.AT_ONCE  # a batch is judged when the last of it is
        self._wake_set((pod.namespace, pod.set_name), urgency)

    def _maybe_name_is_free(self, pod: Pod) -> None:
        """A pod of an earlier set of this name may have been what stood in the way of ours."""
        scale_set = self.owner((pod.namespace, pod.set_name))
        uid = scale_set["metadata"]["uid"] if scale_set is not None else pod.owner_uid
        if uid != pod.owner_uid and uid in self._memories and (pod.namespace, pod.name) not in self.pods.store:
            self._memories[uid].troubles.clear(TroubleKind.NAME_CONFLICT, ordinal=pod.instance.ordinal)

    def _machine_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        if before is not None and (after is None or before["metadata"]["uid"] != after["metadata"]["uid"]):
            self.turns.free((key[0], MACHINE + key[1]), before["metadata"]["uid"])
            if after is None and (group := self.group_of(before)) is not None:
                self._wake_set(group)
        self._set_changed((key[0], MACHINE + key[1]), before, after)

    def _group_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        group = (key[0], GROUP_OF + key[1])
        self._set_changed(group, before, after)
        self._wake_members(group)

    def _namespace_changed(self, _key: Key, _before: Raw | None, _after: Raw | None) -> None:
        for namespace, name in self.machines.all_keys():
            self._wake_set((namespace, MACHINE + name))

    def _set_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        if before is not None and (after is None or before["metadata"]["uid"] != after["metadata"]["uid"]):
            uid = before["metadata"]["uid"]
            self._memories.pop(uid, None)
            self.pods.forget(uid)
        if _is_edited(before, after):
            self._wake_afresh(key)
        else:
            self._wake_set(key)
        if (locations := self.locations()) != self._locations:
            self._locations = locations
            for topic, store in ((Topic.IMAGE, self.images), (Topic.EXTENSION, self.extensions)):
                for catalogue_key in store.all_keys():
                    self._wake(Work(topic, *catalogue_key), Urgency.SOON)

    def _upgrade_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        for raw in (before, after):
            name = upgrades.owner_of(raw) if raw is not None else ""
            if raw is None or not name:
                continue
            of_set = (key[0], name)
            if after is not None and raw is after:
                self._upgrades_of.setdefault(of_set, {})[key[1]] = after
            elif after is None or upgrades.owner_of(after) != name:
                self._upgrades_of.get(of_set, {}).pop(key[1], None)
            if _is_edited(before, after):
                self._wake_afresh(of_set)
            else:
                self._wake_set(of_set)
            if name.startswith(GROUP_OF):
                self._wake_members(of_set)
        if after is None:
            self._maybe_upgrade_name_is_free(key)

    def _maybe_upgrade_name_is_free(self, key: Key) -> None:
        """An upgrade of another set may have had the name of one of ours, ``SET-TYPE-HASH``."""
        name = key[1].rsplit("-", 2)[0]
        for of_set in ((key[0], name), (key[0], MACHINE + name)):
            scale_set = self.owner(of_set)
            memory = self._memories.get(scale_set["metadata"]["uid"]) if scale_set is not None else None
            if memory is not None and memory.troubles.works(TroubleKind.UPGRADE_NAME_CONFLICT):
                self._wake_set(of_set)

    def _revision_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        for raw in (before, after):
            owner, model = _controller(raw), _label(raw, LABEL_MODEL)
            if raw is None or not owner or not model:
                continue
            if raw is after:
                self._revisions_of.setdefault(owner, {})[model] = raw
            else:  # gone, or another's now
                of_set = self._revisions_of.get(owner, {})
                if of_set.get(model) is before:
                    del of_set[model]
                if not of_set:
                    self._revisions_of.pop(owner, None)
        if before is not None and after is None and (name := owner_of(before["metadata"].get("labels") or {})):
            self._wake_set((key[0], name))

    def _image_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        self._catalogue_changed(Topic.IMAGE, self.images, key, before, after)

    def _extension_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        self._catalogue_changed(Topic.EXTENSION, self.extensions, key, before, after)

    def _catalogue_changed(
        self, topic: Topic, store: Store[Raw], key: Key, before: Raw | None, after: Raw | None
    ) -> None:
        appeared = before is None or after is None
        for raw in self.catalogue(store, key[0]) if appeared else ():  # a duplicate may come or go
            self._wake(Work(topic, key[0], raw["metadata"]["name"]), Urgency.SOON)
        self._wake(Work(topic, *key), Urgency.SOON)
        everywhere = key[0] == self._settings.catalog_namespace
        for set_key in self.owners():
            if everywhere or set_key[0] == key[0]:
                self._wake_afresh(set_key)


def _forgetting(changed: Changed[Raw]) -> Changed[Raw]:
    """Tell it of each change, and let go of what was made from an object that is gone."""

    def tell(key: Key, before: Raw | None, after: Raw | None) -> None:
        if before is not None:
            uid = before["metadata"]["uid"]
            if after is None or after["metadata"]["uid"] != uid:
                memo.forget(uid)
        changed(key, before, after)

    return tell


def _is_edited(before: Raw | None, after: Raw | None) -> bool:
    """Whether somebody made the object, or wants something else of it; statuses don't count."""
    if before is None or after is None:
        return after is not None
    return bool(before["metadata"].get("generation") != after["metadata"].get("generation"))


def _oldest_first(objects: Iterable[Raw]) -> tuple[Raw, ...]:
    return tuple(sorted(objects, key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"])))


def _controller(raw: Raw | None) -> str:
    owners: Iterable[Mapping[str, Any]] = (raw or {}).get("metadata", {}).get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _label(raw: Raw | None, name: str) -> str:
    labels: Mapping[str, str] = (raw or {}).get("metadata", {}).get("labels") or {}
    return labels.get(name, "")
