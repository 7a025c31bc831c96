"""What every decision rests on can't be had: the set says so and waits, and nothing is guessed or hurried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import kube_objects as objects
import pytest
from looking import CORE, REVISIONS, SET, Looking, edited

NODES = "/api/v1/nodes"
NO_NODES = (403, "Forbidden", 'nodes is forbidden: User "op" cannot list resource "nodes"')
TOO_LARGE = (500, "", "etcdserver: request is too large")
WEBHOOK_DOWN = (500, "InternalError", 'failed calling webhook "w.example": connection refused')


@pytest.fixture
async def it(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Looking]:
    looking = Looking()
    looking.world.images.put(objects.an_image())
    async with looking.begun(monkeypatch):
        yield looking


def assert_untouched(it: Looking) -> None:
    assert not it.asked[f"POST {CORE}/pods"]
    assert it.condition("Ready")["status"] == "False"


async def test_a_set_with_zones_says_that_nodes_may_not_be_read_and_waits(it: Looking) -> None:
    it.put(objects.a_set(replicas=3, zones=["1", "2"]))
    it.refuses[f"GET {NODES}"] = NO_NODES
    await it.settle()
    for kind in ("ZonesUnknown", "Reconciling"):
        assert it.condition(kind)["status"] == "True"
        assert it.condition(kind)["reason"] == "ZonesUnknown"
    assert "give the operator list on nodes" in it.condition("ZonesUnknown")["message"]
    assert it.condition("Stalled")["status"] == "False"
    assert "ZonesUnknown" in it.events()
    assert "zonesBacked" not in it.scale_set["status"], "nothing is guessed: the answer is kept for good"
    assert_untouched(it)
    assert it.asked[f"GET {NODES}"] == 1, "it backs off"

    del it.refuses[f"GET {NODES}"]
    it.clock += timedelta(seconds=5)
    await it.settle()
    assert it.scale_set["status"]["zonesBacked"] is False
    assert not it.condition("ZonesUnknown")


@pytest.mark.parametrize("status", [None, {"zonesBacked": True}], ids=["no zones", "zones known"])
async def test_other_sets_need_no_nodes(it: Looking, status: objects.Obj | None) -> None:
    zones = {} if status is None else {"zones": ["1", "2"]}
    it.put(objects.a_set(replicas=0, status=status, **zones))
    await it.settle()
    assert not it.asked[f"GET {NODES}"]
    assert it.condition("Ready")["status"] == "True"


async def test_a_model_that_is_too_large_stalls_the_set_until_its_spec_changes(it: Looking) -> None:
    it.put(objects.a_set(replicas=3))
    it.refuses[f"POST {REVISIONS}"] = TOO_LARGE
    await it.settle()
    await it.settle()
    assert it.asked[f"POST {REVISIONS}"] == 1, "it backs off"
    assert it.condition("Stalled")["reason"] == "ModelRefused"
    assert "request is too large" in it.condition("ModelRefused")["message"]
    assert "ModelRefused" in it.events()
    assert_untouched(it)

    it.refuses.clear()
    it.put(edited(it.scale_set, replicas=0))
    await it.settle()
    assert it.asked[f"POST {REVISIONS}"] == 2, "at once: another spec may do"
    assert not it.condition("ModelRefused")
    assert it.condition("Stalled")["status"] == "False"
    assert it.scale_set["status"]["currentModel"]


async def test_a_webhook_that_is_down_is_said_only_when_it_stays_down(it: Looking) -> None:
    it.put(objects.a_set(replicas=0))
    it.refuses[f"POST {REVISIONS}"] = WEBHOOK_DOWN
    assert (await it.look()).failed
    assert not it.scale_set.get("status")
    it.clock += timedelta(seconds=11)
    await it.settle()
    assert it.condition("Reconciling")["reason"] == "ModelNotStored"
    assert it.condition("Stalled")["status"] == "False"
    assert "failed calling webhook" in it.condition("ModelNotStored")["message"]


async def test_the_model_before_stays_when_the_new_one_is_refused(it: Looking) -> None:
    it.put(objects.a_set(replicas=0))
    await it.settle()
    before = it.scale_set["status"]["currentModel"]
    it.refuses[f"POST {REVISIONS}"] = TOO_LARGE
    it.put(edited(it.scale_set, template=objects.a_template(env=[{"name": "A", "value": "b"}])))
    await it.settle()
    assert it.condition("Stalled")["reason"] == "ModelRefused"
    assert it.scale_set["status"]["currentModel"] == before


async def test_an_instance_whose_model_was_lost_is_said_and_not_made(it: Looking) -> None:
    """Somebody deleted the ControllerRevision, and it can't be stored again."""
    it.put(objects.a_set(replicas=1))
    model = objects.a_revision(it.scale_set)["metadata"]["labels"]["scalesets.dev/model"]
    record = {"instances": [{"ordinals": "0", "imageVersion": "1.0.0", "model": model}], "currentModel": model}
    it.put({**it.scale_set, "status": record})
    it.refuses[f"POST {REVISIONS}"] = (403, "Forbidden", "no content in a namespace that ends")
    await it.settle()
    await it.drained()
    await it.settle()
    assert "is not among the set's ControllerRevisions any more" in it.condition("ImageNotFound")["message"]
    assert not it.asked[f"POST {CORE}/pods"]


def a_model_left_behind(it: Looking, **metadata: object) -> str:
    """A revision of the set's model that nobody controls; its path."""
    revision = objects.a_revision(it.scale_set)
    kept = {k: v for k, v in revision["metadata"].items() if k != "ownerReferences"}
    path = f"{REVISIONS}/{kept['name']}"
    it.there[path] = {**revision, "metadata": {**kept, **metadata}}
    it.refuses[f"POST {REVISIONS}"] = (409, "AlreadyExists", "exists")
    return path


async def test_a_set_that_ends_takes_over_no_model(it: Looking) -> None:
    it.put(objects.a_set(replicas=0))
    path = a_model_left_behind(it)
    metadata = {**it.scale_set["metadata"], "deletionTimestamp": objects.at(0)}
    it.there[SET] = {**it.scale_set, "metadata": metadata}
    assert (await it.look()).failed
    assert not it.asked[f"PATCH {path}"]


async def test_a_model_is_taken_over_as_it_was_read(it: Looking) -> None:
    """A merge patch replaces the list of owners: it must not rob one that came meanwhile."""
    it.put(objects.a_set(replicas=0))
    path = a_model_left_behind(it)
    it.refuses[f"PATCH {path}"] = (409, "Conflict", "modified")
    assert (await it.look()).failed
    assert it.sent[f"PATCH {path}"]["metadata"]["resourceVersion"] == it.there[path]["metadata"]["resourceVersion"]
    assert not it.scale_set.get("status")
