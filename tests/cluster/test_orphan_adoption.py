"""After `kubectl delete --cascade=orphan` a set of the same name takes its instances over, as they are."""

from __future__ import annotations

from builders import a_set, an_image
from operators import Operator
from scene import Scene, label


async def test_instances_and_disks_are_taken_over_without_a_restart(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, claims=True, automatic=False))
    await scene.until_ready()
    pods, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")
    await scene.delete("ScaleSet", "web", propagationPolicy="Orphan")
    await scene.until(lambda: scene.find("ScaleSet", "web") is None, what="the set to go")
    await scene.until(
        lambda: not any(p["metadata"].get("ownerReferences") for p in scene.pods().values()), what="orphans"
    )
    assert scene.uids("Pod") == pods

    await scene.publish("ubuntu", "2.0.0")
    await scene.until_published("ubuntu", "2.0.0")
    await scene.create(a_set("web", replicas=4, claims=True, automatic=False))
    await scene.until_ready()
    assert pods.items() <= scene.uids("Pod").items()
    assert disks.items() <= scene.uids("PersistentVolumeClaim").items()
    assert scene.versions() == ["1.0.0", "1.0.0", "1.0.0", "2.0.0"]
    uid = scene.set()["metadata"]["uid"]
    for pod in scene.pods().values():
        assert [o["uid"] for o in pod["metadata"]["ownerReferences"]] == [uid]

    await scene.start("web", "by-hand")
    await scene.until_on("2.0.0")
    for claim in scene.all("PersistentVolumeClaim"):
        assert label(claim, "scaleset-uid") == uid
