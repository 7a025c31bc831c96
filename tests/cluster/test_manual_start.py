"""A user starts an upgrade by hand, also where automatic upgrade is off (O5, O24)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, error_code, progress


@pytest.mark.requirement("O5", "O24")
async def test_all_instances_go_to_the_latest_version_at_once(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=4, automatic=False))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_published("ubuntu", "2.0.0")
    await scene.change("ScaleSet", "web", replicas=5)
    await scene.until_ready()
    assert scene.versions() == [*["1.0.0"] * 4, "2.0.0"], "a new instance gets the latest; nothing else happens"
    before = scene.uids("Pod")

    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")

    assert (code(upgrade), progress(upgrade)) == ("Completed", (4, 0, 0, 0))
    assert upgrade["status"]["startedBy"] == "User"
    await scene.until_on("2.0.0")
    assert scene.uids("Pod")["web-4"] == before["web-4"], "who is on the latest version isn't touched"
    assert len(scene.upgrades()) == 1


@pytest.mark.requirement("O24")
async def test_there_is_no_automatic_roll_back(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, automatic=False))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "broken")
    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    assert "rolledBack" not in upgrade["status"]["batches"][0] or not upgrade["status"]["batches"][0]["rolledBack"]
    assert scene.versions() == ["2.0.0", *["1.0.0"] * 4]


@pytest.mark.requirement("O15", "O24")
async def test_a_pinned_set_says_why_it_can_not_start(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0", "2.0.0"), a_set("web", replicas=2, version="1.0.0"))
    await scene.until_ready()
    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")
    assert (code(upgrade), error_code(upgrade)) == ("Faulted", "VersionPinned")
    assert "needs latest" in upgrade["status"]["error"]["message"]


async def test_an_upgrade_of_a_set_that_is_up_to_date_completes(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")
    assert (code(upgrade), progress(upgrade)) == ("Completed", (0, 0, 0, 0))
