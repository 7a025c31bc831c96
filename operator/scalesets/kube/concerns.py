"""Whom a change concerns, and how urgently.

A change of a pod, claim, model or upgrade concerns its set; one of an image or extension itself and the sets that may
use it; one of an availability set its machines.
"""

from __future__ import annotations

from scalesets.engine.view import TroubleKind
from scalesets.kube import memo, turns, upgrades
from scalesets.kube.cache import Changed, Store
from scalesets.kube.fleet import Matter, Now
from scalesets.kube.holdings import Holdings, controller, label
from scalesets.kube.names import GROUP_OF, LABEL_MODEL, MACHINE, Raw, owner_of
from scalesets.kube.pods import Pod
from scalesets.kube.seen import Key
from scalesets.kube.settings import Settings
from scalesets.kube.turns import Turns
from scalesets.kube.work import Topic, Urgency, Wake, Work


class Concerns:
    """Listens to the stores of what is ``known``, and wakes whom a change concerns."""

    def __init__(self, known: Holdings, settings: Settings, wake: Wake, *, now: Now) -> None:
        self._known = known
        self._settings = settings
        self._wake = wake
        self._now = now
        self._locations: tuple[str, ...] = ()
        self.turns = Turns(self.wake_set)

    def listen(self) -> None:
        """From now on."""
        known = self._known
        known.sets.tell(_forgetting(self._set_changed))
        known.machines.tell(_forgetting(self._machine_changed))
        known.groups.tell(_forgetting(self._group_changed))
        known.namespaces.tell(self._namespace_changed)
        known.upgrades.tell(_forgetting(self._upgrade_changed))
        known.images.tell(_forgetting(self._image_changed))
        known.extensions.tell(_forgetting(self._extension_changed))
        known.revisions.tell(_forgetting(self._revision_changed))

    def wake_set(self, key: Key, urgency: Urgency = Urgency.SOON) -> None:
        """Something of the set or machine changed."""
        if not self._settings.serves(key[0]):
            return
        self._wake(Work(Topic.SCALE_SET, *key), urgency)
        machine = self._known.owner(key) if key[1].startswith(MACHINE) else None
        if machine is not None and (group := self._known.group_of(machine)) is not None:
            self._wake(Work(Topic.SCALE_SET, *group), urgency)

    def _wake_afresh(self, key: Key) -> None:
        """People changed the set, or what it names: what failed so far is tried again without waiting."""
        owner = self._known.owner(key)
        memory = self._known.memories.get(owner["metadata"]["uid"]) if owner is not None else None
        if memory is not None:
            memory.troubles.try_anew(self._now())
            memory.retries.clear()
        self.wake_set(key, Urgency.AFRESH)

    def _wake_members(self, group: Key) -> None:
        for name in self._known.named_by(group):
            self._wake(Work(Topic.SCALE_SET, group[0], MACHINE + name), Urgency.SOON)

    def wake_for_pod(self, pod: Pod, matter: Matter) -> None:
        """One of its pods changed."""
        urgency = Urgency.LATER if matter is Matter.LATER else Urgency.SOON
        self._maybe_name_is_free(pod)
        memory = self._known.memories.get(pod.owner_uid)
        if matter is Matter.READY and memory is not None and pod.instance.ordinal in memory.awaited:
            memory.awaited.discard(pod.instance.ordinal)
            urgency = Urgency.LATER if memory.awaited else Urgency.AT_ONCE  # a batch is judged when the last of it is
        self.wake_set((pod.namespace, pod.set_name), urgency)

    def _maybe_name_is_free(self, pod: Pod) -> None:
        """A pod of an earlier set of this name may have been what stood in the way of ours."""
        scale_set = self._known.owner((pod.namespace, pod.set_name))
        uid = scale_set["metadata"]["uid"] if scale_set is not None else pod.owner_uid
        memory = self._known.memories.get(uid) if uid != pod.owner_uid else None
        if memory is not None and (pod.namespace, pod.name) not in self._known.pods.store:
            memory.troubles.clear(TroubleKind.NAME_CONFLICT, ordinal=pod.instance.ordinal)

    def _machine_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        machine = (key[0], MACHINE + key[1])
        self._set_changed(machine, before, after)
        self._line_up(machine, after)
        if before is not None and after is None and (group := self._known.group_of(before)) is not None:
            self.wake_set(group)

    def _line_up(self, key: Key, machine: Raw | None) -> None:
        """A machine takes turns with those of its subscription in its location."""
        fleet = self._known.fleet_of(machine) if machine is not None else None
        if machine is None or fleet is None:
            self.turns.left(key)
            return
        zone = next(iter(machine["spec"].get("zones") or ()), "")
        self.turns.joined(key, machine["metadata"]["uid"], fleet, zone)

    def _group_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        group = (key[0], GROUP_OF + key[1])
        self._set_changed(group, before, after)
        self._wake_members(group)

    def _namespace_changed(self, key: Key, _before: Raw | None, _after: Raw | None) -> None:
        self._known.subscriptions.changed()
        for namespace in self._settings.namespaces:  # an operator of some tells its machines whom it doesn't see
            for machine in self._known.machines_in(namespace):
                self.wake_set(machine)
        for machine in tuple(self._known.machines_in(key[1])):
            self._line_up(machine, self._known.owner(machine))

    def _set_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        self._known.note(before, after)
        if before is not None and (after is None or before["metadata"]["uid"] != after["metadata"]["uid"]):
            uid = before["metadata"]["uid"]
            self._known.memories.pop(uid, None)
            self._known.pods.forget(uid)
        if _is_edited(before, after):
            self._wake_afresh(key)
        else:
            self.wake_set(key)
        if (locations := self._known.locations()) != self._locations:
            self._locations = locations
            for topic, store in ((Topic.IMAGE, self._known.images), (Topic.EXTENSION, self._known.extensions)):
                for catalogue_key in store.all_keys():
                    self._wake(Work(topic, *catalogue_key), Urgency.SOON)

    def _upgrade_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        for raw in (before, after):
            name = upgrades.owner_of(raw) if raw is not None else ""
            if raw is None or not name:
                continue
            of_set = (key[0], name)
            if after is not None and raw is after:
                self.turns.stored(of_set, key[1], runs=turns.has_running_batch(after))
                self._known.upgrades_by_owner.setdefault(of_set, {})[key[1]] = after
            elif after is None or upgrades.owner_of(after) != name:
                self.turns.stored(of_set, key[1], runs=False)
                self._known.upgrades_by_owner.get(of_set, {}).pop(key[1], None)
            if _is_edited(before, after):
                self._wake_afresh(of_set)
            else:
                self.wake_set(of_set)
            if name.startswith(GROUP_OF):
                self._wake_members(of_set)
        if after is None:
            self._maybe_upgrade_name_is_free(key)

    def _maybe_upgrade_name_is_free(self, key: Key) -> None:
        """An upgrade of another set may have had the name of one of ours, ``SET-TYPE-HASH``."""
        name = key[1].rsplit("-", 2)[0]
        for of_set in ((key[0], name), (key[0], MACHINE + name)):
            scale_set = self._known.owner(of_set)
            memory = self._known.memories.get(scale_set["metadata"]["uid"]) if scale_set is not None else None
            if memory is not None and memory.troubles.works(TroubleKind.UPGRADE_NAME_CONFLICT):
                self.wake_set(of_set)

    def _revision_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        for raw in (before, after):
            owner, model = controller(raw), label(raw, LABEL_MODEL)
            if raw is None or not owner or not model:
                continue
            if raw is after:
                self._known.revisions_by_owner.setdefault(owner, {})[model] = raw
            else:  # gone, or another's now
                of_set = self._known.revisions_by_owner.get(owner, {})
                if of_set.get(model) is before:
                    del of_set[model]
                if not of_set:
                    self._known.revisions_by_owner.pop(owner, None)
        if before is not None and after is None and (name := owner_of(before["metadata"].get("labels") or {})):
            self.wake_set((key[0], name))

    def _image_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        self._catalogue_changed(Topic.IMAGE, self._known.images, key, before, after)

    def _extension_changed(self, key: Key, before: Raw | None, after: Raw | None) -> None:
        self._catalogue_changed(Topic.EXTENSION, self._known.extensions, key, before, after)

    def _catalogue_changed(
        self, topic: Topic, store: Store[Raw], key: Key, before: Raw | None, after: Raw | None
    ) -> None:
        appeared = before is None or after is None
        for raw in self._known.catalogue(store, key[0]) if appeared else ():  # a duplicate may come or go
            self._wake(Work(topic, key[0], raw["metadata"]["name"]), Urgency.SOON)
        self._wake(Work(topic, *key), Urgency.SOON)
        everywhere = key[0] == self._settings.catalog_namespace
        for set_key in self._known.owners():
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
