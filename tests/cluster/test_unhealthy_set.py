"""While more than a fifth of the set is unhealthy, for whatever reason, no upgrade starts and none goes on (O11)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, error_code, progress


def ready(scene: Scene) -> int:
    return scene.status().get("readyReplicas", 0)


@pytest.mark.requirement("O11")
async def test_no_upgrade_starts_while_too_many_are_unhealthy(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.fail(7, 8, 9)
    await scene.until(lambda: ready(scene) == 7, what="three unhealthy instances")

    await scene.publish("ubuntu", "2.0.0")
    found = await scene.until_condition("Progressing", status="False", reason="TooManyUnhealthy")
    assert "maxUnhealthyInstancePercent=20" in found["message"]
    assert not scene.upgrades()

    scene.heal()
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))


@pytest.mark.requirement("O11")
async def test_exactly_a_fifth_may_be_unhealthy(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.fail(8, 9)
    await scene.until(lambda: ready(scene) == 8, what="two unhealthy instances")
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)
    scene.heal()
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"


@pytest.mark.requirement("O11")
async def test_a_running_upgrade_stops_at_the_end_of_its_batch(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.boot_seconds(0.8, 1.0)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)
    scene.fail(7, 8, 9)
    upgrade = await scene.until_ended()
    assert (code(upgrade), error_code(upgrade)) == ("Faulted", "MaxUnhealthyInstancePercentExceededInRollingUpgrade")
    assert progress(upgrade) == (2, 0, 0, 8)
    assert scene.status()["lastOSUpgrade"]["withinLimitDelay"] == "PT1M", "then it is tried again by itself"


@pytest.mark.requirement("O11")
async def test_a_users_start_on_a_sick_set_is_refused_with_the_reason(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, automatic=False))
    await scene.until_ready()
    scene.fail(3, 4)
    await scene.until(lambda: ready(scene) == 3, what="two unhealthy instances")
    await scene.publish("ubuntu", "2.0.0")
    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")
    assert (code(upgrade), error_code(upgrade)) == (
        "Faulted",
        "MaxUnhealthyInstancePercentExceededBeforeRollingUpgrade",
    )
    assert set(scene.versions()) == {"1.0.0"}


@pytest.mark.requirement("O11", "O20")
async def test_named_instances_are_the_cure(operator: Operator, scene: Scene) -> None:
    """A bad old version must not block its own fix: update-instances skips the check for those it names."""
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    scene.fail(version="1.0.0")
    await scene.until(lambda: ready(scene) == 0, what="a set that is down as a whole")
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("Progressing", status="False", reason="TooManyUnhealthy")

    await scene.start("web", "cure", kind="Model", instances=[f"web-{o}" for o in range(5)])
    upgrade = await scene.until_ended("cure")
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0))
    await scene.until_on("2.0.0")
