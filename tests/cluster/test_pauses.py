"""The policy's pause between batches holds for OS upgrades that use it, and is said in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code


async def test_batches_keep_their_distance(operator: Operator, scene: Scene) -> None:
    web = a_set(
        "web",
        replicas=3,
        rolling={"pauseTimeBetweenBatches": "PT1.5S"},
        os_upgrades={"useRollingUpgradePolicy": True},
    )
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("Progressing", reason="PauseBetweenBatches")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    done = [datetime.fromisoformat(b["completedTime"]) for b in batches(upgrade)]
    begun = [datetime.fromisoformat(b["startTime"]) for b in batches(upgrade)]
    gaps = [later - earlier for earlier, later in zip(done, begun[1:], strict=False)]
    assert len(gaps) == 2
    assert all(timedelta(seconds=1.4) <= gap < timedelta(seconds=3) for gap in gaps), gaps


async def test_a_pause_of_the_model_policy_is_not_for_os_upgrades(operator: Operator, scene: Scene) -> None:
    await scene.create(
        an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, rolling={"pauseTimeBetweenBatches": "PT1H"})
    )
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_on("2.0.0")


async def test_a_cancel_does_not_wait_for_the_pause(operator: Operator, scene: Scene) -> None:
    web = a_set(
        "web", replicas=3, rolling={"pauseTimeBetweenBatches": "PT1H"}, os_upgrades={"useRollingUpgradePolicy": True}
    )
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("Progressing", reason="PauseBetweenBatches")
    await scene.change("RollingUpgrade", scene.upgrades()[0]["metadata"]["name"], cancel=True)
    assert code(await scene.until_ended()) == "Cancelled"
