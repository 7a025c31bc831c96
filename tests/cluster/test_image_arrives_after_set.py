"""A set may be there before its image, its extension or a version of them; it waits, and says for what."""

from __future__ import annotations

import pytest
from builders import a_set, an_extension, an_image, uses
from operators import Operator
from scene import Scene


@pytest.mark.requirement("O15")
async def test_the_image_comes_later(operator: Operator, scene: Scene) -> None:
    await scene.create(a_set("web", replicas=2))
    found = await scene.until_condition("Reconciling", reason="ImageNotFound")
    assert "ubuntu" in found["message"]
    assert scene.condition("Stalled")["status"] == "False", "the set itself needs no change"
    await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="ImageNotFound")
    await scene.create(an_image("ubuntu"))
    await scene.until_condition("Reconciling", reason="NoVersionAvailable")
    await scene.publish("ubuntu", "1.0.0")
    await scene.until_ready()


async def test_the_extension_comes_later(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, extensions=[uses("monitor")]))
    found = await scene.until_condition("Reconciling", reason="ExtensionNotFound")
    assert "monitor" in found["message"] or "extension" in found["message"]
    await scene.create(an_extension("monitor", "1.0.0"))
    await scene.until_ready()


async def test_the_image_goes_and_comes_back(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    before = scene.uids("Pod")
    await scene.delete("GalleryImage", "ubuntu")
    await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="ImageNotFound")
    assert scene.uids("Pod") == before, "what runs goes on"
    await scene.create(an_image("ubuntu", "1.0.0", "2.0.0"))
    await scene.until_on("2.0.0")
