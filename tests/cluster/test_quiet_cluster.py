"""When nothing happens, the operator writes nothing but its Lease (I9)."""

from __future__ import annotations

import asyncio

from builders import a_set, an_extension, an_image, uses
from counting import writes
from operators import Operator
from scene import Scene

QUIET = 6.0


def ours(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What came in between, without what Kubernetes itself and the machines write all the time.

    The metrics don't say whose Events were posted; the referee, which sees them, does.
    """
    own = ("scalesets", "rollingupgrades", "galleryimages", "extensions", "pods", "persistentvolumeclaims")
    resources = (*own, "controllerrevisions")
    grown = {what: count - before.get(what, 0) for what, count in after.items() if count != before.get(what, 0)}
    return {what: count for what, count in grown.items() if what.split(" ")[1].split("/")[0] in resources}


async def until_others_are_gone(scene: Scene) -> None:
    """The namespaces of earlier scenarios are still being emptied: that is written too."""
    async with asyncio.timeout(90):
        while True:
            namespaces = (await scene.api.list("Namespace"))["items"]
            if not any("deletionTimestamp" in n["metadata"] for n in namespaces):
                return
            await asyncio.sleep(0.1)


async def test_nothing_is_written(operator: Operator, scene: Scene) -> None:
    await scene.create(
        an_image("ubuntu", "1.0.0"),
        an_extension("monitor", "1.0.0"),
        a_set("plain", replicas=3),
        a_set("zoned", replicas=4, zones=["1", "2"], claims=True),
        a_set("extended", replicas=2, extensions=[uses("monitor")]),
        a_set("waiting", replicas=2, os_upgrades={"osRollingUpgradeDeferral": True}),
        a_set("by-hand", replicas=2, mode="Manual", automatic=False),
        a_set("without-image", replicas=2, image="nowhere"),
    )
    for name in ("plain", "zoned", "extended", "waiting", "by-hand"):
        await scene.until_ready(name)
    await scene.publish("ubuntu", "2.0.0")
    for name in ("plain", "zoned", "extended"):
        await scene.until_on("2.0.0", name)
    await scene.until_condition("Progressing", status="False", reason="WaitingForApproval", name="waiting")
    await scene.until_event("UpgradeCompleted")
    await until_others_are_gone(scene)
    await scene.assert_quiet(2.0)  # what was held back for a moment is written first
    del scene.referee.violations[:]

    before = await writes(scene)
    await scene.assert_quiet(QUIET)
    assert ours(before, await writes(scene)) == {}
