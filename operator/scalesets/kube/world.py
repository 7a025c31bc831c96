"""All that the operator knows, gathered for decisions: ``see`` is what there is to know of one set, ``turn`` whether a
machine may begin. What was read of the cluster is in holdings.py, whom a change concerns in concerns.py.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from scalesets.engine.view import Instance, Trouble, TroubleKind
from scalesets.kube import machines
from scalesets.kube.cache import Store
from scalesets.kube.concerns import Concerns
from scalesets.kube.fleet import Now, utc_now
from scalesets.kube.holdings import Holdings
from scalesets.kube.memory import Memory
from scalesets.kube.names import Raw, is_group, is_machine, plain_name
from scalesets.kube.seen import Key, Seen
from scalesets.kube.settings import Settings
from scalesets.kube.work import Wake

_NOT_UPGRADED = "until then its extensions are not upgraded"


class World(Holdings):
    """What is held of the cluster, with ``wake`` told of whom a change concerns."""

    def __init__(self, settings: Settings, wake: Wake, *, now: Now = utc_now) -> None:
        concerns = Concerns(self, settings, wake, now=now)
        super().__init__(settings, for_pod=concerns.wake_for_pod, for_claim=concerns.wake_set, now=now)
        concerns.listen()
        self.turns = concerns.turns

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
            revisions=dict(self.revisions_of(uid)),
            upgrades=self.upgrades_of(key),
            images=self._for_set(self.images, key[0]),
            extensions=self._for_set(self.extensions, key[0]),
            catalog_namespace=self._settings.catalog_namespace,
            troubles=memory.troubles.all(now),
            circumstances=troubles,
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
            known = self.subscriptions.troubles(machine["metadata"]["namespace"]) if is_machine(machine) else ()
            return None, None, known
        group, named = self.owner(key), plain_name(key[1])
        if group is None:
            message = f"there is no AvailabilitySet {named} in namespace {key[0]}: create it; {_NOT_UPGRADED}"
            return None, None, (Trouble(TroubleKind.NO_AVAILABILITY_SET, message),)
        if not self.is_member(machine, group):
            here, there = self.location_of(machine), self.location_of(group)
            message = (
                f"AvailabilitySet {named} is in {there}, the machine in {here}: make the machine anew with an "
                f"availability set of its own location; {_NOT_UPGRADED}"
            )
            return None, None, (Trouble(TroubleKind.AVAILABILITY_SET_ELSEWHERE, message),)
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
            revisions.update(self.revisions_of(uid))
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

    def _for_set(self, store: Store[Raw], namespace: str) -> tuple[Raw, ...]:
        own = self.catalogue(store, namespace)
        catalog = self._settings.catalog_namespace
        return own if namespace == catalog else own + self.catalogue(store, catalog)

    def turn(self, key: Key) -> str:
        """Why the machine must wait for others of its subscription in its location, in words; empty: it need not."""
        return self.turns.ask(key)
