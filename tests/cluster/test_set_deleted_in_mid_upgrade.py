"""A set or its namespace is deleted while an upgrade runs: everything goes, and nothing hangs on a finalizer."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene

FINALIZER = "scalesets.dev/finish-batch"


async def begin(scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, claims=True))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_batch(1)
    assert upgrade["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_the_set_is_deleted(operator: Operator, scene: Scene, policy: str) -> None:
    await begin(scene)
    disks = scene.uids("PersistentVolumeClaim")
    await scene.delete("ScaleSet", "web", propagationPolicy=policy)
    await scene.until(lambda: scene.find("ScaleSet", "web") is None, what="the set to go")
    await scene.until(lambda: not scene.upgrades(), what="its upgrades to go")
    await scene.until(lambda: not scene.pods(), what="its instances to go")
    assert scene.uids("PersistentVolumeClaim") == disks


async def test_the_namespace_is_deleted(operator: Operator, scene: Scene) -> None:
    await begin(scene)
    scene.referee.namespace_goes(scene.namespace)
    await scene.api.delete("Namespace", "", scene.namespace)

    async def gone() -> bool:
        return await scene.api.find("Namespace", "", scene.namespace) is None

    await scene.until(lambda: not scene.objects, what="everything in it to go", within=30)
    while not await gone():
        pass


async def test_an_upgrade_for_a_set_that_is_not_there_waits_and_goes_when_deleted(
    operator: Operator, scene: Scene
) -> None:
    await scene.start("nobody", "by-hand")
    await scene.delete("RollingUpgrade", "by-hand")
    await scene.until(lambda: scene.find("RollingUpgrade", "by-hand") is None, what="it to go")
