"""A newly published image comes to every instance, in batches of a fifth, by itself."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code, image_of, progress


@pytest.mark.requirement("O1", "O2", "O6", "O8", "O9c", "O19")
async def test_a_new_version_rolls_out_in_batches(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=20, claims=True))
    await scene.until_ready("web")
    assert set(scene.versions()) == {"1.0.0"}
    pods, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()

    await scene.until_on("2.0.0")
    assert (code(upgrade), progress(upgrade)) == ("Completed", (20, 0, 0, 0))
    assert [b["ordinals"] for b in batches(upgrade)] == [
        "0,5,10,15",
        "1,6,11,16",
        "2,7,12,17",
        "3,8,13,18",
        "4,9,14,19",
    ]
    assert upgrade["status"]["startedBy"] == "Platform"
    assert {image_of(pod) for pod in scene.pods().values()} == {"registry.example/os/ubuntu:2.0.0"}
    assert scene.uids("Pod").keys() == pods.keys(), "every instance has its name"
    assert not set(scene.uids("Pod").values()) & set(pods.values()), "and a new OS disk"
    assert scene.uids("PersistentVolumeClaim") == disks, "and its data disks"
    for reason in ("UpgradeStarted", "BatchSucceeded", "UpgradeCompleted"):
        await scene.until_event(reason)
