"""The pods and claims of the sets, indexed as the engine wants them: per set, by ordinal, always up to date.

A pod counts as an instance of the set whose UID is its controller's. Pods with a set's label and no controller wait
to be adopted. The store tells of each change; only what can change a decision wakes the set.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from scalesets.engine.view import Instance
from scalesets.kube import claims, pods
from scalesets.kube.cache import Store
from scalesets.kube.claims import Claim
from scalesets.kube.pods import Pod
from scalesets.kube.seen import Key

LOSSES_FORGOTTEN_AFTER = timedelta(minutes=10)
"""An instance that was Ready for so long begins a new row of losses (docs/rules.md, "Trouble")."""

log = logging.getLogger(__name__)

_NONE: Mapping[Any, Any] = {}
Wake = Callable[[Key], None]


class Matter(Enum):
    """How soon a change calls for a decision (decisions over thousands of instances are what costs)."""

    NOT = "not"
    LATER = "later"  # it only shows in counts, or starts a clock: a pod appears, starts, begins to end
    READY = "ready"  # an instance got Ready: now, unless its batch waits for more of them
    NOW = "now"


WakeForPod = Callable[[Pod, Matter], None]
Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The time by the wall clock."""
    return datetime.now(UTC)


class Pods:
    """All pods with a set's label."""

    def __init__(self, wake: WakeForPod, *, now: Now = utc_now) -> None:
        self._wake = wake
        self._now = now
        self._by_owner: dict[str, dict[int, Instance]] = {}
        self._losses: dict[str, dict[int, tuple[int, datetime]]] = {}
        self._first_created: dict[str, dict[int, datetime]] = {}  # of instances that were never Ready
        self._orphans: dict[Key, set[str]] = defaultdict(set)
        self.store: Store[Pod | None] = Store(self._parse, self._changed)

    def instances(self, set_uid: str) -> Mapping[int, Instance]:
        """The instances of a set by ordinal: a live view, read only."""
        return self._by_owner.get(set_uid, _NONE)

    def losses(self, set_uid: str) -> Mapping[int, tuple[int, datetime]]:
        """How often in a row instances were lost, and when last."""
        return self._losses.get(set_uid, _NONE)

    def orphans(self, key: Key) -> tuple[Pod, ...]:
        """Pods with the set's label and names that nobody controls."""
        found = (self.store.get((key[0], name)) for name in sorted(self._orphans.get(key, ())))
        return tuple(pod for pod in found if pod is not None)

    def forget(self, set_uid: str) -> None:
        """The set is gone."""
        self._losses.pop(set_uid, None)
        self._first_created.pop(set_uid, None)

    def scaled_to(self, set_uid: str, replicas: int) -> None:
        """Instances beyond are new ones when they come again."""
        young = self._first_created.get(set_uid, {})
        for ordinal in [o for o in young if o >= replicas]:
            del young[ordinal]

    def _parse(self, raw: dict[str, Any], previous: Pod | None) -> Pod | None:
        try:
            return pods.parse(raw, previous=previous.instance if previous is not None else None, now=self._now())
        except (ArithmeticError, LookupError, TypeError, ValueError):  # one pod that nobody thought of stops no watch
            log.exception("pod %s/%s can't be read", raw["metadata"].get("namespace"), raw["metadata"]["name"])
            return previous

    def _changed(self, key: Key, before: Pod | None, after: Pod | None) -> None:
        same = (
            before is not None and after is not None and (before.uid, before.owner_uid) == (after.uid, after.owner_uid)
        )
        if before is not None and not same:
            self._take_out(key, before)
        if after is not None:
            self._put_in(key, after, before)
        if same and before is not None and after is not None:
            matter = _matter(before.instance, after.instance)
        else:
            matter = Matter.LATER if before is None and after is not None and not after.instance.ready else Matter.NOW
        if matter is Matter.NOT:
            return
        if after is not None:
            self._wake(after, matter)
        if before is not None and (after is None or before.set_name != after.set_name):
            self._wake(before, matter)

    def _take_out(self, key: Key, pod: Pod) -> None:
        if not pod.owner_uid:
            self._orphans[(key[0], pod.set_name)].discard(key[1])
            return
        ours = self._by_owner.get(pod.owner_uid)
        if ours is None:
            return
        known = ours.get(pod.instance.ordinal)
        if known is not None and known.uid == pod.uid:
            del ours[pod.instance.ordinal]
            if not ours:
                del self._by_owner[pod.owner_uid]

    def _put_in(self, key: Key, pod: Pod, before: Pod | None) -> None:
        if not pod.owner_uid:
            self._orphans[(key[0], pod.set_name)].add(key[1])
            return
        instance = self._since_first_created(pod.owner_uid, pod.instance)
        self._by_owner.setdefault(pod.owner_uid, {})[instance.ordinal] = instance
        was = before.instance if before is not None and before.uid == pod.uid else None
        if instance.lost and (was is None or not was.lost):
            self._count_loss(pod.owner_uid, instance.ordinal, was)

    def _since_first_created(self, set_uid: str, instance: Instance) -> Instance:
        """One that was never Ready and is made anew is as old as its first pod (O11): else who keeps ending would never
        count.
        """
        if instance.ready or instance.first_ready is not None:
            if young := self._first_created.get(set_uid):
                young.pop(instance.ordinal, None)
            return instance
        first = self._first_created.setdefault(set_uid, {}).setdefault(instance.ordinal, instance.created)
        return replace(instance, created=first) if first < instance.created else instance

    def _count_loss(self, set_uid: str, ordinal: int, before: Instance | None) -> None:
        now = self._now()
        losses = self._losses.setdefault(set_uid, {})
        count, _ = losses.get(ordinal, (0, now))
        steady = (
            before is not None and before.ready_since is not None and now - before.ready_since >= LOSSES_FORGOTTEN_AFTER
        )
        losses[ordinal] = (1 if steady else count + 1, now)


def _matter(a: Instance, b: Instance) -> Matter:
    """What a change of one pod means for its set. (The node and the words of a failure don't matter at all.)"""
    if (
        a.lost != b.lost
        or a.failed_to_start != b.failed_to_start
        or (a.release is not b.release and not _was_patched(a, b))
        or a.protected != b.protected
        or a.pending_os_upgrade != b.pending_os_upgrade
    ):
        return Matter.NOW
    if a.ready != b.ready or a.ready_since != b.ready_since:
        return Matter.READY if b.ready else Matter.NOW
    same = (
        a.release is b.release
        and a.sidecars is b.sidecars
        and a.started_at == b.started_at
        and a.deleting_since == b.deleting_since
    )
    return Matter.NOT if same else Matter.LATER


def _was_patched(a: Instance, b: Instance) -> bool:
    """Whether only an extension is another one: what comes of it shows in its container, some seconds later."""
    return (a.release.image_version, a.release.model) == (b.release.image_version, b.release.model)


class Claims:
    """All claims with a set's label."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._by_set: dict[Key, dict[int, dict[str, Claim]]] = {}
        self.store: Store[Claim | None] = Store(lambda raw, _: claims.parse(raw), self._changed)

    def of_set(self, key: Key) -> Mapping[int, Mapping[str, Claim]]:
        """The claims that carry the set's label: ordinal -> template -> claim. A live view, read only."""
        return self._by_set.get(key, _NONE)

    def _changed(self, key: Key, before: Claim | None, after: Claim | None) -> None:
        if before is not None and before.ordinal is not None:
            ours = self._by_set.get((key[0], before.set_name), {})
            of_instance = ours.get(before.ordinal, {})
            known = of_instance.get(before.template)
            if known is not None and known.uid == before.uid:
                del of_instance[before.template]
                if not of_instance:
                    ours.pop(before.ordinal, None)
        if after is not None and after.ordinal is not None:
            ours = self._by_set.setdefault((key[0], after.set_name), {})
            ours.setdefault(after.ordinal, {})[after.template] = after
        for set_name in {claim.set_name for claim in (before, after) if claim is not None}:
            self._wake((key[0], set_name))
