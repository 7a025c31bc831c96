"""What surrounds a decision: how often mere counts are written, and what is tidied when all else is done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import kube_objects as objects
import pytest
from looking import KEY, OURS, REVISIONS, SET_STATUS, WORK, Looking, edited

from scalesets.engine.decision import Decision, Event, WriteSetStatus
from scalesets.engine.view import SetView
from scalesets.kube import execution, models, reconciler
from scalesets.kube.names import FINALIZER
from scalesets.kube.work import Topic, Work

UPGRADES = f"{OURS}/rollingupgrades"


@pytest.fixture
async def it(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Looking]:
    looking = Looking()
    looking.world.images.put(objects.an_image())
    looking.put(objects.a_set(replicas=0))
    async with looking.begun(monkeypatch):
        await looking.settle()
        yield looking


def deciding(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """From now on decisions are what ``change(view, decision)`` makes of them."""
    decide = reconciler.decide
    monkeypatch.setattr(reconciler, "decide", lambda view, now: change(view, decide(view, now)))


# -- counts ------------------------------------------------------------------------------------------------------------


async def test_mere_counts_wait_for_their_second_and_then_are_written(
    it: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counting(view: SetView, _: Decision) -> Decision:
        status = replace(view.status, ready_replicas=7)
        return Decision(writes=(WriteSetStatus(status, urgent=False),) if view.status.ready_replicas != 7 else ())

    deciding(monkeypatch, counting)
    written = it.asked[f"PATCH {SET_STATUS}"]
    again = await it.look()
    assert it.asked[f"PATCH {SET_STATUS}"] == written
    assert again.after is not None
    assert 0 < again.after <= execution.COUNTS_EVERY

    monkeypatch.setattr(execution, "COUNTS_EVERY", 0.0)
    assert (await it.look()).at_once
    assert it.scale_set["status"]["readyReplicas"] == 7


async def test_events_are_told_only_when_what_they_tell_is_stored(it: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(view: SetView, _: Decision) -> Decision:
        writes = (WriteSetStatus(replace(view.status, image_version="9.9.9")),)
        return Decision(writes=writes, events=(Event("UpgradeStarted", "now"),))

    deciding(monkeypatch, moved)
    it.refuses[f"PATCH {SET_STATUS}"] = (409, "Conflict", "modified")
    assert (await it.look()).failed
    assert it.events() == []
    it.refuses.clear()
    await it.look()
    assert it.events() == ["UpgradeStarted"]


async def test_a_decision_from_an_older_set_is_not_stored_over_a_newer_one(
    it: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding(monkeypatch, lambda view, _: Decision(writes=(WriteSetStatus(replace(view.status, image_version="9")),)))
    it.refuses[f"PATCH {SET_STATUS}"] = (409, "Conflict", "modified")
    newer = edited(it.scale_set, replicas=4)
    it.there[f"{OURS}/scalesets/web"] = {**newer, "metadata": {**newer["metadata"], "resourceVersion": "200000"}}
    assert (await it.look()).failed
    assert it.sent[f"PATCH {SET_STATUS}"][0]["path"] == "/metadata/resourceVersion"
    known = it.world.sets.get(KEY)
    assert known is not None
    assert known["spec"]["replicas"] == 4, "it was read afresh"


# -- tidying -----------------------------------------------------------------------------------------------------------


async def with_many_models(it: Looking) -> list[str]:
    """The set was on five models, one after the other; their revisions' paths, oldest first."""
    for number in range(4):
        it.put(edited(it.scale_set, template=objects.a_template(env=[{"name": "A", "value": str(number)}])))
        await it.look()
        await it.look()
    found = [path for path in it.there if path.startswith(REVISIONS)]
    return sorted(found, key=lambda path: it.there[path]["revision"])


async def test_models_that_nothing_uses_go_but_for_the_two_before(it: Looking) -> None:
    paths = await with_many_models(it)
    await it.settle()
    left = [path for path in paths if path in it.there]
    assert left == paths[-1 - models.KEPT_BEFORE :]
    assert len(it.world.revisions) == len(left)


async def test_a_model_that_went_meanwhile_or_is_another_by_now_is_no_trouble(it: Looking) -> None:
    it.refuses_body = lambda what, _: (409, "Conflict", "uid") if what.startswith("DELETE") else None
    paths = await with_many_models(it)
    for path in paths[:2]:
        it.there.pop(path, None)
    again = await it.settle()
    assert not again.failed
    assert len(it.world.revisions) == 1 + models.KEPT_BEFORE


# -- the set is gone ---------------------------------------------------------------------------------------------------


def an_upgrade(it: Looking, name: str, *, deleting: bool) -> objects.Obj:
    metadata: objects.Obj = {"name": name, "namespace": objects.NAMESPACE, "finalizers": [FINALIZER]}
    if deleting:
        metadata["deletionTimestamp"] = objects.at(0)
    spec = {"scaleSet": "web", "type": "OSImage"}
    raw = objects.stored({"kind": "RollingUpgrade", "metadata": metadata, "spec": spec}, resourceVersion="300000")
    it.there[f"{UPGRADES}/{name}"] = raw
    it.world.upgrades.put(raw)
    return raw


async def test_upgrades_that_are_being_deleted_do_not_wait_for_a_set_that_is_gone(it: Looking) -> None:
    an_upgrade(it, "ending", deleting=True)
    an_upgrade(it, "staying", deleting=False)
    it.world.sets.gone(it.scale_set)
    assert (await it.look()).forget
    released = it.sent[f"PATCH {UPGRADES}/ending"]
    assert {"op": "add", "path": "/metadata/finalizers", "value": []} in released
    assert f"PATCH {UPGRADES}/staying" not in it.sent
    assert (KEY[0], "ending") not in it.world.upgrades


async def test_a_conflict_there_is_looked_into(it: Looking) -> None:
    raw = an_upgrade(it, "ending", deleting=True)
    it.world.sets.gone(it.scale_set)
    it.refuses[f"PATCH {UPGRADES}/ending"] = (409, "Conflict", "modified")
    metadata = {**raw["metadata"], "resourceVersion": "300001", "finalizers": ["example.org/other"]}
    it.there[f"{UPGRADES}/ending"] = {**raw, "metadata": metadata}
    await it.look()
    known = it.world.upgrades.get((KEY[0], "ending"))
    assert known is not None
    assert known["metadata"]["finalizers"] == ["example.org/other"]


# -- images and extensions ---------------------------------------------------------------------------------------------

IMAGE = Work(Topic.IMAGE, objects.CATALOG, "ubuntu")
IMAGE_PATH = f"/apis/scalesets.dev/v1alpha1/namespaces/{objects.CATALOG}/galleryimages/ubuntu"


@pytest.mark.parametrize(
    ("refusal", "failed"), [((409, "Conflict", "modified"), False), ((422, "Invalid", "status.versions"), True)]
)
async def test_an_images_status_that_is_not_stored_is_tried_again(
    it: Looking, refusal: tuple[int, str, str], failed: bool
) -> None:
    image = it.world.images.get((objects.CATALOG, "ubuntu"))
    assert image is not None
    it.there[IMAGE_PATH] = dict(image)
    it.refuses[f"PATCH {IMAGE_PATH}/status"] = refusal
    again = await it.look(IMAGE)
    assert (again.failed, again.at_once) == (failed, not failed)
    assert it.events() == (["WriteRefused"] if failed else [])
    it.refuses.clear()
    await it.look(IMAGE)
    assert it.there[IMAGE_PATH]["status"]["versions"]
    assert not (await it.look(IMAGE)).at_once


async def test_the_key_of_a_set_that_never_was_is_forgotten(it: Looking) -> None:
    assert (await it.look(WORK._replace(name="nobody"))).forget


# -- nodes that don't restart a patched extension ----------------------------------------------------------------------

NODES = "GET /api/v1/nodes"


def ask_for_an_extension_upgrade(it: Looking, name: str = "up") -> None:
    metadata = {"name": name, "namespace": objects.NAMESPACE}
    spec = {"scaleSet": "web", "type": "Extension"}
    raw = objects.stored({"kind": "RollingUpgrade", "metadata": metadata, "spec": spec})
    it.there[f"{UPGRADES}/{name}"] = raw
    it.world.upgrades.put(raw)


async def test_nodes_are_listed_only_for_an_extension_upgrade_and_once(it: Looking) -> None:
    assert not it.asked[NODES]
    ask_for_an_extension_upgrade(it)
    await it.settle()
    ask_for_an_extension_upgrade(it, "another")
    await it.settle()
    assert it.asked[NODES] == 1


async def test_an_operator_that_may_not_list_nodes_says_so_once_and_goes_on(it: Looking) -> None:
    it.refuses[NODES] = (403, "Forbidden", "User cannot list nodes")
    ask_for_an_extension_upgrade(it)
    await it.settle()
    assert it.events().count("NodesNotChecked") == 1
    assert it.there[f"{UPGRADES}/up"]["status"]["runningStatus"]["code"] == "Completed"
    ask_for_an_extension_upgrade(it, "another")
    await it.settle()
    assert it.events().count("NodesNotChecked") == 1


async def test_instances_on_old_nodes_are_told_to_the_engine_and_looked_at_again(
    it: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[SetView] = []

    def listening(view: SetView, decision: Decision) -> Decision:
        shown.append(view)
        return Decision()

    node = {"metadata": {"name": "old"}, "status": {"nodeInfo": {"kubeletVersion": "v1.31.4"}}}
    it.nodes.append(node)
    it.world.pods.store.put(objects.a_pod(0, spec={"nodeName": "old"}, status=objects.running()))
    ask_for_an_extension_upgrade(it)
    deciding(monkeypatch, listening)
    again = await it.settle()
    assert shown[-1].unpatchable == {0}
    assert again.after is not None
    assert again.after > 60
