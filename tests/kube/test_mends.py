"""Who mends what made a set fail doesn't wait until its back-off is over: the set, an upgrade of it, or a catalogue."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import kube_objects as objects
import pytest

from scalesets.engine.view import TroubleKind
from scalesets.kube.fleet import utc_now
from scalesets.kube.settings import Settings
from scalesets.kube.work import Urgency, Work
from scalesets.kube.world import World

LONG = timedelta(minutes=5)


class Failing:
    """A set that nothing succeeds with, and the wakes since."""

    def __init__(self) -> None:
        self.woken: list[tuple[str, Urgency]] = []
        self.now = utc_now()
        self.world = World(Settings(), self._wake, now=lambda: self.now)
        self.world.sets.put(objects.a_set())
        self.world.images.put(objects.an_image())
        self.world.extensions.put(objects.a_published_extension("health"))
        self.world.upgrades.put(self.upgrade())
        self.memory = self.world.memory("set-uid")
        for _ in range(9):
            self.memory.troubles.note(TroubleKind.PREFLIGHT, "Secret keys is missing", self.now, model="m1")
        self.memory.retries[0] = (9, self.now + LONG)
        self.woken.clear()

    def _wake(self, work: Work, urgency: Urgency) -> None:
        self.woken.append((work.name, urgency))

    def upgrade(self, **metadata: Any) -> objects.Obj:
        body = {"kind": "RollingUpgrade", "metadata": {"name": "mine"}, "spec": {"scaleSet": "web", "type": "OSImage"}}
        return edited(
            objects.stored({**body, "metadata": {**body["metadata"], "namespace": objects.NAMESPACE}}), 0, **metadata
        )

    @property
    def waits(self) -> bool:
        until = self.memory.troubles.all(self.now)[0].until
        return until is not None and until > self.now and bool(self.memory.retries)


def edited(raw: objects.Obj, version: int, **metadata: Any) -> objects.Obj:
    return {**raw, "metadata": {**raw["metadata"], "resourceVersion": str(10**7 + version), **metadata}}


@pytest.mark.parametrize(
    "mend",
    [
        lambda it: it.world.sets.put(edited(objects.a_set(), 1, generation=7)),
        lambda it: it.world.images.put(edited(objects.an_image(), 1, generation=7)),
        lambda it: it.world.extensions.put(edited(objects.a_published_extension("health"), 1, generation=7)),
        lambda it: it.world.upgrades.put(it.upgrade(resourceVersion="10000001", generation=7)),
    ],
)
def test_a_mend_is_tried_at_once(mend: Callable[[Failing], None]) -> None:
    it = Failing()
    assert it.waits
    mend(it)
    assert ("web", Urgency.AFRESH) in it.woken and not it.waits
    until = it.memory.troubles.note(TroubleKind.PREFLIGHT, "still missing", it.now, model="m1")
    assert until - it.now == timedelta(seconds=10), "in vain, it begins with the shortest wait"


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.world.sets.put(edited({**objects.a_set(), "status": {"replicas": 1}}, 1)),
        lambda it: it.world.upgrades.put({**it.upgrade(resourceVersion="10000001"), "status": {"waitingFor": "x"}}),
    ],
)
def test_what_the_operator_writes_itself_is_no_mend(change: Callable[[Failing], None]) -> None:
    it = Failing()
    change(it)
    assert ("web", Urgency.SOON) in it.woken and it.waits
