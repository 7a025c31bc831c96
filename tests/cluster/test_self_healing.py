"""A lost instance comes back as what it was: its name, its disks, its versions (O6)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, progress

from scalesets.local.machines.faults import Mode


async def until_replaced(scene: Scene, name: str, uid: str) -> None:
    await scene.until(lambda: scene.uids("Pod").get(name, uid) != uid, what=f"{name} to be replaced")
    await scene.until_ready()


@pytest.mark.requirement("O6")
async def test_a_deleted_instance_comes_back_on_its_own_version(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, automatic=False, claims=True))
    await scene.until_ready()
    disks, uid = scene.uids("PersistentVolumeClaim"), scene.uids("Pod")["web-1"]
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_published("ubuntu", "2.0.0")
    await scene.delete("Pod", "web-1")
    await until_replaced(scene, "web-1", uid)
    assert scene.versions() == ["1.0.0"] * 3
    assert scene.uids("PersistentVolumeClaim") == disks


async def test_all_at_once(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    before = scene.uids("Pod")
    for name in before:
        await scene.delete("Pod", name, gracePeriodSeconds=0)
    await scene.until(lambda: not set(before.values()) & set(scene.uids("Pod").values()), what="ten new pods")
    await scene.until_ready()


async def test_an_instance_that_ended_is_made_anew(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3))
    await scene.until_ready()
    uid = scene.uids("Pod")["web-2"]
    scene.fail(2, mode=Mode.STOP, seconds=0.5)
    await until_replaced(scene, "web-2", uid)


async def test_a_member_that_others_delete_comes_back_on_the_target(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3))
    await scene.until_ready()
    scene.boot_seconds(1.0, 1.2)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until(lambda: scene.versions()[:1] == ["2.0.0"], what="the first to be on its way")
    await scene.delete("Pod", "web-0", gracePeriodSeconds=0)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
