"""A quota that is full holds instances back, in words, and loses none; what we free ourselves is waited for."""

from __future__ import annotations

from builders import Body, a_set, an_image
from operators import Operator
from scene import Scene, code, progress


def a_quota(pods: int) -> Body:
    metadata = {"name": "pods"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": str(pods)}}}


async def until_in_force(scene: Scene, pods: int) -> None:
    while True:
        quota = await scene.api.get("ResourceQuota", scene.namespace, "pods")
        if (quota.get("status") or {}).get("hard", {}).get("pods") == str(pods):
            return


async def test_an_upgrade_under_a_quota_that_just_fits(operator: Operator, scene: Scene) -> None:
    await scene.create(a_quota(10))
    await until_in_force(scene, 10)
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    await scene.until_on("2.0.0")


async def test_instances_wait_for_room(operator: Operator, scene: Scene) -> None:
    await scene.create(a_quota(3))
    await until_in_force(scene, 3)
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    found = await scene.until_condition("QuotaExceeded")
    assert "exceeded quota: pods" in found["message"]
    await scene.until(lambda: len(scene.pods()) == 3, what="three instances")
    await scene.until_event("QuotaExceeded")
    assert scene.condition("Ready")["status"] == "False"
    await scene.patch("ResourceQuota", "pods", {"spec": {"hard": {"pods": "5"}}})
    await scene.until_ready()
    assert not scene.condition("QuotaExceeded")
