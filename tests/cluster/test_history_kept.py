"""The last five attempts of a set are kept, with all that is to be known of them (O22)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, code


@pytest.mark.requirement("O2", "O22")
async def test_the_last_five_attempts(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=1))
    await scene.until_ready()
    for number in range(2, 9):
        await scene.publish("ubuntu", f"{number}.0.0")
        await scene.until_on(f"{number}.0.0")
    await scene.until(lambda: len(scene.upgrades()) == 5, what="five to be left")
    targets = [u["status"]["targetImageReference"]["version"] for u in scene.upgrades()]
    assert sorted(targets) == ["4.0.0", "5.0.0", "6.0.0", "7.0.0", "8.0.0"]
    for upgrade in scene.upgrades():
        status = upgrade["status"]
        running = status["runningStatus"]
        assert running["code"] == "Completed"
        assert running["startTime"] <= running["completedTime"]
        assert status["startedBy"] == "Platform"
        assert status["targetImageReference"]["galleryImage"] == "ubuntu"
        assert status["progress"]["successfulInstanceCount"] == 1
        assert status["rollbackInfo"]["failedRolledbackInstanceCount"] == 0
        assert not upgrade["metadata"].get("finalizers"), "finished ones are free to go"


@pytest.mark.requirement("O22")
async def test_deleting_the_history_starts_nothing(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0", "broken")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Faulted"
    await scene.delete("RollingUpgrade", upgrade["metadata"]["name"])
    await scene.until(lambda: not scene.upgrades(), what="the history to be empty")
    await scene.until_condition("Progressing", status="False", reason="AlreadyTried")
    await scene.assert_quiet(1.0)
    assert not scene.upgrades()
