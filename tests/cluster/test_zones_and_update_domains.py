"""A batch lies in one zone and one update domain; zones that nodes have are zones that instances live in (O9b, O9c)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Scene, batches, code, label

ZONE = "topology.kubernetes.io/zone"


@pytest.mark.requirement("O9b", "O9c")
async def test_cell_by_cell(operator: Operator, scene: Scene) -> None:
    web = a_set("web", replicas=12, zones=["1", "2", "3"], updateDomains=2)
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    assert [(label(p, "zone"), label(p, "update-domain")) for p in scene.pods().values()] == [
        (str(o % 3 + 1), str(o // 3 % 2)) for o in range(12)
    ]
    why = await scene.until_condition("ZonesUnbacked")
    assert ZONE in why["message"]

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    assert [(b["zone"], b["updateDomain"], b["ordinals"]) for b in batches(upgrade)] == [
        ("1", 0, "0,6"),
        ("1", 1, "3,9"),
        ("2", 0, "1,7"),
        ("2", 1, "4,10"),
        ("3", 0, "2,8"),
        ("3", 1, "5,11"),
    ]


@pytest.mark.requirement("O9b")
async def test_across_zones_where_the_policy_says_so(operator: Operator, scene: Scene) -> None:
    web = a_set(
        "web",
        replicas=15,
        zones=["1", "2", "3"],
        rolling={"enableCrossZoneUpgrade": True},
        os_upgrades={"useRollingUpgradePolicy": True},
    )
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert [b["ordinals"] for b in batches(upgrade)] == ["0-2", "3-5", "6-8", "9-11", "12-14"]


@pytest.fixture
async def zoned_nodes(scene: Scene) -> AsyncIterator[dict[str, str]]:
    """Three nodes, each in a zone of its own."""
    zones = {f"machine-{n}": f"zone-{n}" for n in range(3)}
    for node, zone in zones.items():
        await scene.api.patch("Node", "", node, {"metadata": {"labels": {ZONE: zone}}})
    yield zones
    for node in zones:
        await scene.api.patch("Node", "", node, {"metadata": {"labels": {ZONE: None}}})


@pytest.mark.requirement("O9b")
async def test_instances_live_in_their_zone(operator: Operator, scene: Scene, zoned_nodes: dict[str, str]) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=6, zones=list(zoned_nodes.values())))
    await scene.until_ready()
    assert scene.status()["zonesBacked"] is True
    for ordinal, pod in scene.pods().items():
        zone = f"zone-{ordinal % 3}"
        assert pod["spec"]["nodeSelector"] == {ZONE: zone}
        assert zoned_nodes[pod["spec"]["nodeName"]] == zone
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_on("2.0.0")
