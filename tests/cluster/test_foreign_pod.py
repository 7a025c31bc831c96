"""A pod of an instance's name that isn't the set's is never touched; the instance comes when it is gone."""

from __future__ import annotations

import pytest
from builders import Body, a_set, an_image
from operators import Operator
from scene import Scene


def a_pod(name: str, labels: Body | None = None, owners: list[Body] | None = None) -> Body:
    container = {"name": "main", "image": "registry.example/stranger:1"}
    metadata = {"name": name, "labels": labels or {}, "ownerReferences": owners or []}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("labelled", [False, True], ids=["a stranger", "labelled as ours but controlled by others"])
async def test_it_is_left_alone(operator: Operator, scene: Scene, labelled: bool) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"))
    labels, owners = None, None
    if labelled:
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": scene.namespace}}
        uid = (await scene.api.create(owner))["metadata"]["uid"]
        labels = {"scalesets.dev/scaleset": "web", "scalesets.dev/instance-id": "1"}
        owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "controller": True}]
    await scene.create(a_pod("web-1", labels, owners))
    stranger = scene.uids("Pod")["web-1"]
    await scene.create(a_set("web", replicas=3))

    found = await scene.until_condition("NameConflict")
    assert "web-1" in found["message"]
    await scene.until(lambda: list(scene.pods()) == [0, 1, 2], what="the other two")
    await scene.until_event("NameConflict")
    assert scene.uids("Pod")["web-1"] == stranger

    await scene.delete("Pod", "web-1")
    await scene.until_ready()
    assert scene.uids("Pod")["web-1"] != stranger
    assert not scene.condition("NameConflict")
