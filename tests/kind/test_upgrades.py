"""Upgrades by the operator that the chart installed, on real kubelets."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from scene import Scene, batches, code, progress

ROOM = {"healthTimeout": "PT20S", "provisioningTimeout": "PT60S"}


@pytest.mark.requirement("O1", "O8", "O9b")
async def test_zones_take_turns(scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=6, rolling=ROOM, zones=["1", "2"]))
    await scene.until_ready(within=120)
    nodes = {pod["spec"]["nodeName"] for pod in scene.pods().values()}
    assert nodes == {"scalesets-control-plane", "scalesets-worker"}

    await scene.publish("ubuntu", "1.1.0")
    upgrade = await scene.until_ended(within=180)

    assert (code(upgrade), progress(upgrade)) == ("Completed", (6, 0, 0, 0))
    assert [b["zone"] for b in batches(upgrade)] == ["1"] * 3 + ["2"] * 3
    await scene.until_on("1.1.0")


@pytest.mark.requirement("O12", "O13")
async def test_a_broken_version_is_put_back(scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, rolling=ROOM, claims=True))
    await scene.until_ready(within=120)
    pods, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")
    await scene.publish("ubuntu", "1.1.0", "broken")
    upgrade = await scene.until_ended(within=180)
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 2))
    await scene.until_on("1.0.0")
    now = scene.uids("Pod")
    assert {name for name, uid in pods.items() if now[name] == uid} == {"web-1", "web-2"}, "the others were left alone"
    assert scene.uids("PersistentVolumeClaim") == disks
