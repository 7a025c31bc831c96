"""What becomes of writes that the API server refuses: a conflict is looked into, and never answered by a storm."""

from __future__ import annotations

from typing import Any

import kube_objects as objects
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.engine.decision import Decision, DeleteUpgrade, WriteSetStatus
from scalesets.engine.view import SetStatus
from scalesets.kube import reconciler
from scalesets.kube.queue import Again
from scalesets.kube.reconciler import Reconciler
from scalesets.kube.recorder import Recorder
from scalesets.kube.settings import Settings
from scalesets.kube.work import Topic, Work
from scalesets.kube.world import World

WORK = Work(Topic.SCALE_SET, objects.NAMESPACE, "web")
UPGRADE_KEY = (objects.NAMESPACE, "old")
UPGRADE_PATH = f"/apis/scalesets.dev/v1alpha1/namespaces/{objects.NAMESPACE}/rollingupgrades/old"
COUNTS = dict.fromkeys(
    ("observedGeneration", "replicas", "readyReplicas", "upgradedReplicas", "latestModelReplicas"), 0
)


async def look(answers: dict[str, Any], decision: Decision, monkeypatch: Any) -> tuple[World, list[str], Again]:
    """One look at a set whose decision is given, at a server that gives these answers."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path}"
        asked.append(what)
        found = answers.get(what, (404, "NotFound", "not found"))
        return json(found) if isinstance(found, dict) else status_object(*found)

    scale_set = objects.a_set(replicas=0, status={"selector": "scalesets.dev/scaleset=web", **COUNTS})
    world = World(Settings(), lambda *_: None)
    world.sets.put(scale_set)
    world.revisions.put(objects.a_revision(scale_set))
    world.images.put(objects.an_image())
    world.upgrades.put(an_upgrade())
    monkeypatch.setattr(reconciler, "decide", lambda *_: decision)
    async with serving(answer) as cluster:
        recorder = Recorder(cluster, "me")
        worker = Reconciler(cluster, world, Settings(), recorder, again=lambda *_: None)
        return world, asked, await worker.look(WORK)


def an_upgrade() -> objects.Obj:
    metadata = {"name": "old", "namespace": objects.NAMESPACE}
    spec = {"scaleSet": "web", "type": "OSImage"}
    return objects.stored({"kind": "RollingUpgrade", "metadata": metadata, "spec": spec}, uid="old-uid")


async def test_a_conflict_hides_no_upgrade_and_backs_off(monkeypatch: Any) -> None:
    answers = {f"DELETE {UPGRADE_PATH}": (409, "Conflict", "modified"), f"GET {UPGRADE_PATH}": an_upgrade()}
    decision = Decision(writes=(DeleteUpgrade("old", "old-uid"),))
    world, asked, again = await look(answers, decision, monkeypatch)
    assert again.failed
    assert UPGRADE_KEY in world.upgrades
    assert asked == [f"DELETE {UPGRADE_PATH}", f"GET {UPGRADE_PATH}"]


async def test_an_upgrade_that_is_gone_already_needs_no_delete(monkeypatch: Any) -> None:
    decision = Decision(writes=(DeleteUpgrade("old", "old-uid"),))
    world, _, again = await look({}, decision, monkeypatch)
    assert again.at_once
    assert UPGRADE_KEY not in world.upgrades


async def test_a_status_that_reads_the_same_is_not_written_and_does_not_spin(monkeypatch: Any) -> None:
    _, asked, again = await look({}, Decision(writes=(WriteSetStatus(SetStatus()),)), monkeypatch)
    assert not asked
    assert not again.at_once
    assert not again.failed
