"""A version excluded from latest is never rolled out; one that is withdrawn on the way ends its upgrade (O18)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, error_code, progress


@pytest.mark.requirement("O18")
async def test_an_excluded_version_is_passed_over(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", excludeFromLatest=True)
    await scene.publish("ubuntu", "1.5.0")
    upgrade = await scene.until_ended()
    assert upgrade["status"]["targetImageReference"]["version"] == "1.5.0"
    await scene.until_on("1.5.0")

    await scene.mark("ubuntu", "2.0.0", excludeFromLatest=False)
    await scene.until_ended(count=2)
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O18")
@pytest.mark.parametrize("how", ["excluded", "removed"])
async def test_a_target_that_is_withdrawn_ends_the_upgrade(operator: Operator, scene: Scene, how: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)
    if how == "excluded":
        await scene.mark("ubuntu", "2.0.0", excludeFromLatest=True)
    else:
        await scene.withdraw("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    done = progress(upgrade)[0]
    assert (code(upgrade), error_code(upgrade)) == ("Cancelled", "TargetWithdrawn")
    assert 1 <= done < 5
    assert sorted(scene.versions()) == [*["1.0.0"] * (5 - done), *["2.0.0"] * done], "nothing is lowered again"

    await scene.delete("Pod", "web-0")
    await scene.until(lambda: scene.pods().get(0) is None or scene.pods()[0]["metadata"].get("deletionTimestamp"))
    await scene.until_ready()
    assert scene.versions()[0] == "2.0.0", "a lost instance comes back as it was, also on a version that is gone"


@pytest.mark.requirement("O18")
async def test_end_of_life_is_never_chosen_and_never_forced_off(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", endOfLifeDate="2020-01-01T00:00:00Z")
    await scene.publish("ubuntu", "1.5.0")
    await scene.until_on("1.5.0")
    await scene.mark("ubuntu", "1.5.0", endOfLifeDate="2020-01-01T00:00:00Z")
    await scene.assert_quiet(1.5)
    await scene.until_on("1.5.0")


@pytest.mark.requirement("O2")
async def test_versions_published_on_the_way_are_skipped_for_the_newest(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=4))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)
    await scene.publish("ubuntu", "3.0.0")
    await scene.publish("ubuntu", "4.0.0")
    await scene.until_ended(count=2)
    await scene.until_on("4.0.0")
    targets = [u["status"]["targetImageReference"]["version"] for u in scene.upgrades()]
    assert targets == ["2.0.0", "4.0.0"]
