"""A set that names one exact version stays on it; another name is a change of its model (O15)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code


@pytest.mark.requirement("O15", "O20")
async def test_it_stays_until_the_model_names_another(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0", "2.0.0"), a_set("web", replicas=3, version="1.0.0"))
    await scene.until_ready()
    assert set(scene.versions()) == {"1.0.0"}
    why = await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="VersionPinned")
    assert "1.0.0" in why["message"]

    await scene.change("ScaleSet", "web", imageReference={"version": "2.0.0"})
    upgrade = await scene.until_ended()
    assert (upgrade["spec"]["type"], code(upgrade)) == ("Model", "Completed")
    await scene.until_on("2.0.0")

    await scene.publish("ubuntu", "3.0.0")
    await scene.change("ScaleSet", "web", imageReference={"version": "latest"})
    await scene.until_condition("AutomaticOSUpgradeEligible", status="True")
    await scene.until_on("3.0.0")


@pytest.mark.requirement("O15")
async def test_an_excluded_version_may_be_named(operator: Operator, scene: Scene) -> None:
    image = an_image("ubuntu", "1.0.0", "2.0.0")
    image["spec"]["versions"][1]["excludeFromLatest"] = True
    await scene.create(image, a_set("web", replicas=2, version="1.0.0"))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", imageReference={"version": "2.0.0"})
    await scene.until_on("2.0.0")


async def test_a_version_that_is_not_there_is_waited_for(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, version="9.0.0"))
    why = await scene.until_condition("Reconciling", reason="ImageNotFound")
    assert "9.0.0" in why["message"]
    await scene.publish("ubuntu", "9.0.0")
    await scene.until_ready()
