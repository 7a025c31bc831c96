"""A version comes to a set only once it is published, and replicated to the set's region (O10, O23)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene


@pytest.mark.requirement("O10", "O23")
async def test_a_version_for_other_regions_does_not_come_here(operator: Operator, scene: Scene) -> None:
    image = an_image("ubuntu", "1.0.0")
    here, there = a_set("here", replicas=2, location="westeurope"), a_set("there", replicas=2, location="northeurope")
    await scene.create(image, here, there)
    await scene.until_ready("here")
    await scene.until_ready("there")
    await scene.publish("ubuntu", "2.0.0", targetRegions=["northeurope"])
    await scene.until_on("2.0.0", "there")
    assert set(scene.versions("here")) == {"1.0.0"}
    assert not scene.upgrades("here")
    listed = {each["region"]: each["version"] for each in scene.find("GalleryImage", "ubuntu")["status"]["latest"]}
    assert {"westeurope": "1.0.0", "northeurope": "2.0.0"}.items() <= listed.items()

    await scene.mark("ubuntu", "2.0.0", targetRegions=["northeurope", "westeurope"])
    await scene.until_on("2.0.0", "here")


@pytest.mark.requirement("O10")
async def test_a_version_is_used_from_its_date_on(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    date = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    await scene.publish("ubuntu", "2.0.0", publishedDate=f"{date:%Y-%m-%dT%H:%M:%SZ}")
    await scene.until_on("2.0.0")
    started = scene.upgrades()[0]["status"]["runningStatus"]["startTime"]
    assert datetime.fromisoformat(started) >= date


@pytest.mark.requirement("O10")
async def test_a_version_that_comes_back_with_another_image_is_not_used(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", excludeFromLatest=True)
    await scene.until(
        lambda: "2.0.0" in [v["version"] for v in scene.find("GalleryImage", "ubuntu")["status"]["versions"]],
        what="the version to be seen",
    )
    await scene.withdraw("ubuntu", "2.0.0")
    await scene.publish("ubuntu", "2.0.0", "other")

    def told() -> bool:
        conditions = scene.find("GalleryImage", "ubuntu")["status"].get("conditions", ())
        return any(c["type"] == "ImageChanged" and c["status"] == "True" for c in conditions)

    await scene.until(told, what="the condition ImageChanged")
    assert set(scene.versions()) == {"1.0.0"}
    await scene.publish("ubuntu", "2.0.1")
    await scene.until_on("2.0.1")
