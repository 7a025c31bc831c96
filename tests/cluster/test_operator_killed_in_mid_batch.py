"""The operator is killed at any point of an upgrade: started again, it goes on where it was (docs/design.md)."""

from __future__ import annotations

import asyncio
import random

import pytest
from builders import a_set, an_image, version
from operators import Operators
from scene import Scene, batches, code, progress


@pytest.mark.requirement("O8", "O12")
async def test_killed_in_the_middle_of_a_batch(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--no-leader-election").start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10, claims=True))
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    scene.boot_seconds(0.5, 0.8)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    operator.kill()
    before = scene.upgrades()[0]["status"]

    operator.start()
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    assert upgrade["status"]["runningStatus"]["startTime"] == before["runningStatus"]["startTime"]
    assert batches(upgrade)[0] == before["batches"][0], "what was done is done"
    assert len(scene.upgrades()) == 1
    await scene.until_on("2.0.0")
    assert scene.uids("PersistentVolumeClaim") == disks


@pytest.mark.requirement("O12", "O13")
async def test_killed_while_putting_back(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--no-leader-election").start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.boot_seconds(0.8, 1.0)
    await scene.publish("ubuntu", "2.0.0", "broken")
    await scene.until(
        lambda: [u for u in scene.upgrades() if code(u) == "RollingBack"], what="the instances to be put back"
    )
    operator.kill()
    operator.start()
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 2, 0, 8))
    await scene.until_on("1.0.0")


@pytest.mark.requirement("O8")
async def test_killed_again_and_again(own_operators: Operators, scene: Scene) -> None:
    """At moments that nobody chose; with every start it gets a little further."""
    dice = random.Random(11)
    operator = own_operators.new("--no-leader-election").start()
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=20))
    await scene.until_ready()
    await scene.set_versions("ubuntu", [version("1.0.0"), version("2.0.0")])
    for _ in range(6):
        await asyncio.sleep(dice.uniform(0.0, 0.4))
        operator.kill()
        await asyncio.to_thread(operator.start)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (20, 0, 0, 0))
    await scene.until_on("2.0.0")
    assert len(scene.upgrades()) == 1
