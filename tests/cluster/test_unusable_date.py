"""A version with a date that the API server takes and nobody can reckon with: it is not used, and sets go on."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code, condition


@pytest.mark.requirement("O10")
@pytest.mark.parametrize(
    "date", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "2026-11-01T00:00:00+99:99"]
)
async def test_the_image_says_so_and_sets_stay_on_what_they_have(operator: Operator, scene: Scene, date: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", publishedDate=date)

    def said() -> bool:
        found = condition(scene.find("GalleryImage", "ubuntu") or {}, "InvalidDate")
        return found.get("status") == "True" and f"2.0.0 (publishedDate {date}" in found["message"]

    await scene.until(said, what="the image to say so")
    await scene.change("ScaleSet", "web", replicas=3)
    await scene.until_ready()
    assert set(scene.versions()) == {"1.0.0"}
    assert not scene.upgrades()

    await scene.publish("ubuntu", "3.0.0")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    await scene.until_on("3.0.0")
