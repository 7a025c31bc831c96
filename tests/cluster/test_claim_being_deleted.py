"""An instance with a claim that is being deleted is never taken down: its pod's end would take the data with it."""

from __future__ import annotations

from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, progress


async def test_its_instance_is_left_out_and_named(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=4, claims=True))
    await scene.until_ready()
    scene.referee.excuse("PersistentVolumeClaim", scene.namespace, "data-web-2")
    await scene.delete("PersistentVolumeClaim", "data-web-2")
    found = await scene.until_condition("InstancesLeftOut")
    assert "a claim is being deleted" in found["message"]
    assert "web-2" in found["message"] or "{2}" in found["message"]
    uid = scene.uids("Pod")["web-2"]

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
    assert upgrade["status"]["skipped"] == "2"
    assert scene.uids("Pod")["web-2"] == uid
    claim = scene.find("PersistentVolumeClaim", "data-web-2")
    assert claim is not None, "its data is still there"


async def test_when_its_pod_is_gone_a_new_claim_is_made(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, claims=True))
    await scene.until_ready()
    before = scene.uids("PersistentVolumeClaim")["data-web-1"]
    scene.referee.excuse("PersistentVolumeClaim", scene.namespace, "data-web-1")
    await scene.delete("PersistentVolumeClaim", "data-web-1")
    await scene.until_condition("InstancesLeftOut")
    await scene.delete("Pod", "web-1")
    await scene.until(
        lambda: scene.uids("PersistentVolumeClaim").get("data-web-1", before) != before, what="the new claim"
    )
    await scene.until_ready()
