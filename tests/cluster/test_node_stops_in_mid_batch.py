"""A node is lost in mid-batch: nothing is force-deleted, and the instance returns when its pod object goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, progress

from refereeing.objects import ordinals
from scalesets.local.machines import steering


@pytest.fixture
def nodes(scene: Scene) -> Iterator[list[str]]:
    """Machines that were stopped; they come back when the scenario is over."""
    stopped: list[str] = []
    yield stopped
    with scene.control_plane.api() as api:
        for name in stopped:
            steering.start_node(api, name)
            scene.control_plane.kubectl("uncordon", name)


def stop(scene: Scene, nodes: list[str], name: str) -> None:
    scene.control_plane.kubectl("cordon", name)  # or new pods land on it, before anybody knows that it is lost
    with scene.control_plane.api() as api:
        steering.stop_node(api, name)
    nodes.append(name)


def dying(scene: Scene, node: str) -> list[int]:
    """The instances on a node whose pods are to go."""
    pods = scene.pods().items()
    return [o for o, p in pods if p["spec"].get("nodeName") == node and "deletionTimestamp" in p["metadata"]]


@pytest.mark.requirement("O12")
async def test_its_instances_fail_and_come_back_as_they_were(
    operator: Operator, scene: Scene, nodes: list[str]
) -> None:
    policy = {"provisioningTimeout": "PT3S", "maxUnhealthyInstancePercent": 60}
    os_policy = {"useRollingUpgradePolicy": True}
    web = a_set("web", replicas=10, claims=True, rolling=policy, os_upgrades=os_policy)
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    node = scene.pods()[0]["spec"]["nodeName"]
    stop(scene, nodes, node)

    await scene.publish("ubuntu", "2.0.0")
    await scene.until(lambda: 0 in dying(scene, node), what="the first instance to be taken down")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)[3]) == ("Faulted", 8), "after its first batch"
    assert 0 in ordinals(upgrade["status"]["batches"][0]["failed"])
    stuck = dying(scene, node)
    assert 0 in stuck
    for ordinal in stuck:
        assert scene.versions()[ordinal] == "1.0.0", "its pod is still the old one: nobody forced it away"

    with scene.control_plane.api() as api:
        steering.start_node(api, node)
    await scene.until_ready(within=40)
    for ordinal in stuck:
        assert scene.versions()[ordinal] == "1.0.0", "it returns at its former version"
    assert scene.uids("PersistentVolumeClaim") == disks
