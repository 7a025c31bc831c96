"""Nodes that are drained, lost and given up, while the set on them is upgraded or just runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from builders import an_image
from node import OUT_OF_SERVICE
from scene import batches, code, is_ready, label, progress
from stage import Stage, a_real_set

ANY_SICK = {"maxUnhealthyInstancePercent": 100, "maxUnhealthyUpgradedInstancePercent": 100}
OWN_POLICY = {"useRollingUpgradePolicy": True}
SPREAD = {
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"scalesets.dev/scaleset": "web"}},
        }
    ]
}


def on(stage: Stage, node: str) -> dict[int, str]:
    """The UIDs of the pods on a node, by ordinal."""
    pods = stage.pods().items()
    return {o: p["metadata"]["uid"] for o, p in pods if p["spec"].get("nodeName") == node}


def leaving(stage: Stage, node: str) -> dict[int, str]:
    """The UIDs of those that are to go."""
    pods = stage.pods()
    return {o: uid for o, uid in on(stage, node).items() if "deletionTimestamp" in pods[o]["metadata"]}


@pytest.mark.requirement("O8", "O12")
async def test_a_node_is_drained_in_mid_batch(stage: Stage) -> None:
    """Its instances come back elsewhere, each at the version that it was to have just then, and the upgrade goes on."""
    web = a_real_set(replicas=5, rolling=ANY_SICK, os_upgrades=OWN_POLICY, pod=SPREAD)
    await stage.create(an_image("ubuntu", "1.0.0"), web)
    await stage.until_ready(within=60)
    await stage.publish("ubuntu", "1.1.0", "slow")
    await stage.until_batch(2)
    drained, former = stage.node_of(4), stage.uids("Pod")["web-4"]

    await asyncio.to_thread(stage.control_plane.kubectl, "drain", drained, "--timeout=60s")
    await stage.until(lambda: back(stage, 4, former), within=30, what="web-4 to be back")
    assert label(stage.pods()[4], "image-version") == "1.0.0", "its batch is yet to come"
    assert len(batches(stage.upgrades()[0])) < 5, "in the middle of it"
    upgrade = await stage.until_ended(within=120)

    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0))
    await stage.until_on("1.1.0")
    assert not on(stage, drained)


@pytest.mark.requirement("O12")
@pytest.mark.parametrize("what", ["power", "kubelet"])
async def test_a_node_is_lost_in_mid_batch(stage: Stage, what: str) -> None:
    """Nobody knows whether its pods still run, so nothing is forced; it is as before once the node is back."""
    policy = {"maxUnhealthyInstancePercent": 100, "healthTimeout": "PT8S", "provisioningTimeout": "PT6S"}
    web = a_real_set(replicas=4, rolling=policy, os_upgrades=OWN_POLICY, pod=SPREAD)
    await stage.create(an_image("ubuntu", "1.0.0"), web)
    await stage.until_ready(within=60)
    await stage.publish("ubuntu", "1.1.0", "slow")
    await stage.until_batch(1)
    await stage.until(lambda: starting(stage.pods().get(0)), what="the new web-0 to be on a node")
    lost, before, uids = stage.node_of(0), stage.containers(), stage.uids("Pod")
    stage.nodes[lost].lose(what)

    upgrade = await stage.until_ended(within=120)
    assert code(upgrade) == "Faulted"
    assert batches(upgrade)[0]["failed"] == "0"
    stuck = leaving(stage, lost)
    assert set(stuck) == {0}, "it is to go back, and waits for its node"

    stage.nodes[lost].start()
    await stage.until_on("1.0.0", within=90)
    now = stage.uids("Pod")
    assert now.pop("web-0") != stuck[0]
    assert now == {name: uid for name, uid in uids.items() if name != "web-0"}, "the others are who they were"
    if what == "kubelet":  # what ran there never ceased to
        assert {o: c for o, c in stage.containers().items() if o != 0} == {o: c for o, c in before.items() if o != 0}


@pytest.mark.requirement("O12")
async def test_a_lost_node_is_given_up(stage: Stage) -> None:
    """With short tolerations its pods are to go soon; they are gone when an administrator says that the node is."""
    soon = {
        "key": "node.kubernetes.io/unreachable",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 2,
    }
    await stage.create(an_image("ubuntu", "1.0.0"), a_real_set(replicas=4, pod={**SPREAD, "tolerations": [soon]}))
    await stage.until_ready(within=60)
    lost = stage.node_of(0)
    former, before = on(stage, lost), stage.uids("Pod")
    stage.nodes[lost].lose("power")

    await stage.until(lambda: leaving(stage, lost) == former, within=60, what="its pods to be marked for deletion")
    await asyncio.sleep(4)  # longer than their grace period of 2 s
    assert leaving(stage, lost) == former, "two pods of one name must never run: none is forced away"

    stage.control_plane.kubectl("taint", "node", lost, f"{OUT_OF_SERVICE}=nodeshutdown:NoExecute")
    await stage.until(lambda: not on(stage, lost), within=60, what="the pods to be given up")
    await stage.until_ready(within=60)
    assert stage.versions() == ["1.0.0"] * 4
    now = stage.uids("Pod")
    assert {name for name, uid in before.items() if now[name] != uid} == {f"web-{each}" for each in former}


def back(stage: Stage, ordinal: int, former: str) -> bool:
    """Whether an instance is there again as another pod."""
    return stage.uids("Pod").get(f"web-{ordinal}", former) != former


def starting(pod: dict[str, Any] | None) -> bool:
    """Whether the pod of the new version is on a node and not yet Ready."""
    return (
        pod is not None
        and pod["metadata"]["labels"]["scalesets.dev/image-version"] == "1.1.0"
        and bool(pod["spec"].get("nodeName"))
        and not is_ready(pod)
    )
