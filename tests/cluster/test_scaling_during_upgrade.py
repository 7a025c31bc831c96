"""Instances come and go while an upgrade runs: new ones start on the target, those that leave don't hold it up (O8)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code, progress


async def begin(scene: Scene, replicas: int) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=replicas))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(1)


async def scale(scene: Scene, replicas: int) -> None:
    """As `kubectl scale` and an HPA do."""
    await scene.api.patch("ScaleSet", scene.namespace, "web", {"spec": {"replicas": replicas}}, subresource="scale")
    await scene.until(lambda: scene.set()["spec"]["replicas"] == replicas, what="the scale to be seen")


@pytest.mark.requirement("O8")
async def test_scale_out(operator: Operator, scene: Scene) -> None:
    await begin(scene, 5)
    await scale(scene, 12)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0)), "new instances are not in its scope"
    await scene.until_on("2.0.0")
    assert len(scene.pods()) == 12


@pytest.mark.requirement("O8")
async def test_scale_in(operator: Operator, scene: Scene) -> None:
    await begin(scene, 12)
    await scale(scene, 5)
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    assert sum(progress(upgrade)) == 5, "those that went are not in its scope any more"
    await scene.until_on("2.0.0")
    assert list(scene.pods()) == [0, 1, 2, 3, 4]
    assert {len(b["ordinals"].split(",")) for b in batches(upgrade)[1:]} == {1}, "a set of five goes one by one"


async def test_down_to_none_and_up_again(operator: Operator, scene: Scene) -> None:
    await begin(scene, 5)
    await scale(scene, 0)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (0, 0, 0, 0))
    await scene.until(lambda: not scene.pods(), what="all instances to go")
    await scene.until_ready(replicas=0)
    await scale(scene, 3)
    await scene.until_ready()
    assert scene.versions() == ["2.0.0"] * 3
    assert len(scene.upgrades()) == 1


async def test_no_field_manager_owns_replicas(operator: Operator, scene: Scene) -> None:
    """Server-side apply that drops `replicas` sets the default, 1: that is no wish to lose nine instances."""
    await scene.create(an_image("ubuntu", "1.0.0"))
    web = a_set("web", replicas=10)
    web["metadata"]["namespace"] = scene.namespace
    await scene.api.apply(web)
    await scene.until_ready()
    del web["spec"]["replicas"]
    await scene.api.apply(web)
    await scene.until_condition("ReplicasUnowned")
    assert len(scene.pods()) == 10
    web["spec"]["replicas"] = 9
    await scene.api.apply(web)
    await scene.until(lambda: scene.set()["spec"]["replicas"] == 9, what="the new number")
    await scene.until_ready()
    assert not scene.condition("ReplicasUnowned")
