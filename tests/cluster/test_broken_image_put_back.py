"""An image that doesn't work is found out in the first batch, put back, and the upgrade stops (O12, O13)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code, error_code, progress

from scalesets.local.machines.faults import Mode

STOPPED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"


@pytest.mark.requirement("O12", "O13", "O22")
@pytest.mark.parametrize("word", ["broken", "crash", "missing"])
async def test_a_failed_first_batch_is_put_back(operator: Operator, scene: Scene, word: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10, claims=True))
    await scene.until_ready()
    pods, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")

    await scene.publish("ubuntu", "2.0.0", word)
    upgrade = await scene.until_ended()

    assert (code(upgrade), error_code(upgrade)) == ("Faulted", STOPPED)
    assert progress(upgrade) == (0, 2, 0, 8)
    assert upgrade["status"]["rollbackInfo"]["successfullyRolledbackInstanceCount"] == 2
    assert [(b["ordinals"], b["failed"], b["rolledBack"], b["outcome"]) for b in batches(upgrade)] == [
        ("0,5", "0,5", "0,5", "RolledBack")
    ]
    await scene.until_on("1.0.0")
    untouched = {name: uid for name, uid in pods.items() if name not in ("web-0", "web-5")}
    assert untouched.items() <= scene.uids("Pod").items(), "nothing else was touched"
    assert scene.uids("PersistentVolumeClaim") == disks
    assert scene.status()["lastOSUpgrade"]["outcome"] == "Faulted"
    await scene.until_event("RollingBack")
    await scene.until_event("UpgradeStopped")


@pytest.mark.requirement("O2", "O13")
async def test_a_version_that_failed_is_left_alone_and_the_next_one_comes(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "broken")
    await scene.until_ended()

    await scene.until_condition("Progressing", status="False", reason="AlreadyTried")
    await scene.change("ScaleSet", "web", replicas=6)
    await scene.until_ready()
    assert scene.versions() == ["1.0.0"] * 6, "new instances don't get the version that failed here"

    await scene.publish("ubuntu", "3.0.0")
    upgrade = await scene.until_ended(count=2)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (6, 0, 0, 0))
    await scene.until_on("3.0.0")


@pytest.mark.requirement("O12")
async def test_a_late_image_is_waited_for(operator: Operator, scene: Scene) -> None:
    slow = a_set("web", replicas=2, rolling={"healthTimeout": "PT30S"})
    await scene.create(an_image("ubuntu", "1.0.0"), slow)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "slow")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (2, 0, 0, 0))


@pytest.mark.requirement("O12")
async def test_without_roll_back_a_failed_instance_stays(operator: Operator, scene: Scene) -> None:
    kept = a_set("web", replicas=5, os_upgrades={"disableAutomaticRollback": True})
    await scene.create(an_image("ubuntu", "1.0.0"), kept)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "broken")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    assert batches(upgrade)[0]["outcome"] == "Failed"
    assert scene.versions() == ["2.0.0", *["1.0.0"] * 4]


@pytest.mark.requirement("O12", "O13")
async def test_one_failure_of_twenty_does_not_stop_it(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=20))
    await scene.until_ready()
    scene.fail(4, mode=Mode.NEVER_READY, version="2.0.0")
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (19, 1, 0, 0))
    assert batches(upgrade)[-1]["rolledBack"] == "4"
    assert scene.versions().count("1.0.0") == 1


@pytest.mark.requirement("O13")
async def test_upgraded_instances_that_turn_unhealthy_later_stop_it(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.boot_seconds(0.8, 1.0)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    scene.fail(0, 5)
    upgrade = await scene.until_ended()
    assert (code(upgrade), error_code(upgrade)) == ("Faulted", STOPPED)
    assert progress(upgrade) == (4, 0, 0, 6), "at the end of the batch that was at work"
