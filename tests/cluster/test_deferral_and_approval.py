"""With deferral a due OS upgrade waits until instances are approved, by name or all (docs/rules.md)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Body, Scene, code, progress

PENDING = "scalesets.dev/pending-os-upgrade"


async def begin(scene: Scene) -> str:
    """A deferred upgrade to 2.0.0 that waits; its name."""
    web = a_set("web", replicas=5, os_upgrades={"osRollingUpgradeDeferral": True})
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until(lambda: marks(scene) == {"2.0.0": 5}, what="all instances to be marked")
    return scene.upgrades()[0]["metadata"]["name"]


def marks(scene: Scene) -> dict[str, int]:
    found: dict[str, int] = {}
    for pod in scene.pods().values():
        if mark := pod["metadata"].get("annotations", {}).get(PENDING):
            found[mark] = found.get(mark, 0) + 1
    return found


def waiting(upgrade: Body) -> bool:
    return "approv" in upgrade["status"].get("waitingFor", "").lower()


@pytest.mark.requirement("O5")
async def test_only_approved_instances_are_touched(operator: Operator, scene: Scene) -> None:
    name = await begin(scene)
    found = await scene.until_condition("Progressing", status="False", reason="WaitingForApproval")
    assert name in found["message"]
    assert not scene.status().get("currentUpgrade"), "while it waits it holds nobody up"
    assert set(scene.versions()) == {"1.0.0"}

    await scene.change("RollingUpgrade", name, approvedInstances=["web-1", "web-3"])
    await scene.until(lambda: progress(scene.upgrade(name)) == (2, 0, 0, 3), what="two to be done")
    await scene.until(lambda: waiting(scene.upgrade(name)) and marks(scene) == {"2.0.0": 3}, what="it to wait again")
    assert scene.versions() == ["1.0.0", "2.0.0", "1.0.0", "2.0.0", "1.0.0"]

    await scene.change("RollingUpgrade", name, approvedInstances=["*"])
    upgrade = await scene.until_ended(name)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0))
    await scene.until_on("2.0.0")
    await scene.until(lambda: not marks(scene), what="the marks to go")


async def test_before_its_first_batch_a_newer_version_takes_its_place(operator: Operator, scene: Scene) -> None:
    name = await begin(scene)
    await scene.publish("ubuntu", "3.0.0")

    def retargeted() -> bool:
        upgrade = scene.upgrade(name)
        return upgrade["status"]["targetImageReference"]["version"] == "3.0.0" and marks(scene) == {"3.0.0": 5}

    await scene.until(retargeted, what="the newer target")
    await scene.change("RollingUpgrade", name, approvedInstances=["*"])
    await scene.until_ended(name)
    await scene.until_on("3.0.0")


async def test_a_manual_start_does_not_wait_behind_it(operator: Operator, scene: Scene) -> None:
    await begin(scene)
    await scene.start("web", "by-hand")
    upgrade = await scene.until_ended("by-hand")
    assert code(upgrade) == "Completed"
    await scene.until_on("2.0.0")
    deferred = await scene.until_ended()
    assert code(deferred) in ("Completed", "Cancelled")
    await scene.until(lambda: not marks(scene), what="the marks to go")
