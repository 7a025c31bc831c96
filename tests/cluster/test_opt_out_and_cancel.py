"""The user opts out, cancels, or deletes an upgrade while it runs: it ends with its batch (O5)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code, error_code, progress


async def begin(scene: Scene, **options: object) -> None:
    """An upgrade of five, one by one, in its first batch."""
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, **options))  # type: ignore[arg-type]
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)


def opting(enabled: bool) -> dict[str, object]:
    return {"upgradePolicy": {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": enabled}}}


@pytest.mark.requirement("O5")
async def test_opting_out_ends_it_after_the_batch_and_opting_in_goes_on(operator: Operator, scene: Scene) -> None:
    await begin(scene)
    await scene.change("ScaleSet", "web", **opting(False))
    upgrade = await scene.until_ended()
    done = progress(upgrade)[0]
    assert (code(upgrade), error_code(upgrade)) == ("Cancelled", "OptedOut")
    assert 1 <= done < 5
    assert all(b["outcome"] == "Succeeded" for b in batches(upgrade))
    assert sorted(scene.versions()) == [*["1.0.0"] * (5 - done), *["2.0.0"] * done], "those that are done stay"

    await scene.change("ScaleSet", "web", **opting(True))
    upgrade = await scene.until_ended(count=2)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5 - done, 0, 0, 0))
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O5")
async def test_a_cancelled_version_does_not_start_again_by_itself(operator: Operator, scene: Scene) -> None:
    await begin(scene)
    name = scene.upgrades()[0]["metadata"]["name"]
    await scene.change("RollingUpgrade", name, cancel=True)
    upgrade = await scene.until_ended(name)
    assert (code(upgrade), error_code(upgrade)) == ("Cancelled", "CancelledByUser")
    await scene.until_condition("Progressing", status="False", reason="AlreadyTried")
    assert scene.condition("LastUpgradeSucceeded")["status"] == "False"

    await scene.start("web", "after-all")
    upgrade = await scene.until_ended("after-all")
    assert code(upgrade) == "Completed"
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O5")
async def test_deleting_a_running_upgrade_cancels_it(operator: Operator, scene: Scene) -> None:
    await begin(scene)
    name = scene.upgrades()[0]["metadata"]["name"]
    await scene.delete("RollingUpgrade", name)
    await scene.until(lambda: scene.find("RollingUpgrade", name) is None, what="the upgrade to go")
    await scene.until_ready()
    assert not scene.status().get("currentUpgrade")
    last = scene.status()["lastOSUpgrade"]
    assert (last["outcome"], last["code"]) == ("Cancelled", "CancelledByUser")
    assert set(scene.versions()) == {"1.0.0", "2.0.0"}


@pytest.mark.requirement("O5")
async def test_a_cancelled_upgrade_still_puts_back_what_failed(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "broken")
    upgrade = await scene.until_batch(1)
    await scene.change("RollingUpgrade", upgrade["metadata"]["name"], cancel=True)
    upgrade = await scene.until_ended()
    assert progress(upgrade) == (0, 1, 0, 4)
    assert batches(upgrade)[0]["outcome"] == "RolledBack"
    await scene.until_on("1.0.0")
