"""An extension upgrade goes on where it was: when the operator ends, a pod is lost, a failure passes (E3, E4, E9)."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from builders import PATIENT, a_followed_extension, a_set, an_image, follows
from operators import Operator, Operators
from scene import Scene, batches, code, installed, is_ready, progress

from scalesets.local.machines.faults import Mode


async def a_followed_set(scene: Scene, *, replicas: int = 3, **fields: object) -> None:
    await scene.create(a_followed_extension("monitor", "1.0.0"), an_image("ubuntu", "1.0.0"))
    web = a_set("web", replicas=replicas, extensions=[follows("monitor")], rolling=PATIENT, **fields)  # type: ignore[arg-type]
    await scene.create(web)
    await scene.until_ready()


def versions(scene: Scene) -> list[str]:
    return [installed(pod)["monitor"] for pod in scene.pods().values()]


@pytest.mark.requirement("E2", "E9")
async def test_the_operator_is_killed_in_the_middle_of_a_batch(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--no-leader-election").start()
    scene.patch_seconds(1.0, 1.5)
    await a_followed_set(scene, replicas=10)
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.1.0")
    await scene.until_batch(2)
    operator.kill()
    before = scene.upgrades()[0]["status"]
    operator.start()
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    assert batches(upgrade)[0] == before["batches"][0], "what was done is done"
    assert len(scene.upgrades()) == 1
    assert scene.uids("Pod") == uids
    assert versions(scene) == ["1.1.0"] * 10


@pytest.mark.requirement("E3")
async def test_the_operator_is_killed_while_putting_back(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--no-leader-election").start()
    scene.patch_seconds(0.5, 1.0)
    await a_followed_set(scene)
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.1.0", "broken")
    await scene.until(lambda: [u for u in scene.upgrades() if code(u) == "RollingBack"], what="a put-back")
    operator.kill()
    await asyncio.to_thread(operator.start)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 2))
    assert not batches(upgrade)[0].get("rollBackFailed")
    await scene.until_ready()
    assert scene.uids("Pod") == uids
    assert versions(scene) == ["1.0.0"] * 3


@pytest.mark.requirement("E9")
async def test_a_pod_that_others_delete_in_mid_batch_comes_back_on_the_target(operator: Operator, scene: Scene) -> None:
    await a_followed_set(scene)
    scene.patch_seconds(1.0, 1.5)
    uids = scene.uids("Pod")
    scene.referee.excuse("Pod", scene.namespace, "web-0")
    await scene.publish_extension("monitor", "1.1.0")
    await scene.until(lambda: versions(scene)[:1] == ["1.1.0"], what="web-0 to be patched")
    await scene.delete("Pod", "web-0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
    assert versions(scene) == ["1.1.0"] * 3
    kept = {name: uid for name, uid in uids.items() if name != "web-0"}
    assert {n: u for n, u in scene.uids("Pod").items() if n != "web-0"} == kept
    assert scene.uids("Pod")["web-0"] != uids["web-0"]


@pytest.mark.requirement("E4")
async def test_a_failed_one_is_tried_again_after_the_interval(own_operators: Operators, scene: Scene) -> None:
    own_operators.new("--extension-retry-interval=PT6S").start()
    scene.patch_seconds(0, 0.2)
    await a_followed_set(scene)
    scene.fail(mode=Mode.NEVER_READY, version="1.1.0")
    await scene.publish_extension("monitor", "1.1.0")
    failed = await scene.until_ended()
    assert code(failed) == "Faulted"
    last = scene.status()["extensions"][0]["lastUpgrade"]
    assert (last["name"], last["version"]) == (failed["metadata"]["name"], "1.1.0")
    assert last["code"].startswith("MaxUnhealthyUpgraded")
    scene.heal()
    again = await scene.until_ended(count=2)
    started = datetime.fromisoformat(again["status"]["runningStatus"]["startTime"])
    assert started >= datetime.fromisoformat(last["retryTime"])
    assert (code(again), progress(again)) == ("Completed", (3, 0, 0, 0))
    assert all(map(is_ready, scene.pods().values()))


@pytest.mark.requirement("E9")
async def test_a_node_that_does_not_restart_sidecars_is_left_out(own_operators: Operators, scene: Scene) -> None:
    await scene.create(a_followed_extension("monitor", "1.0.0"), an_image("ubuntu", "1.0.0"))
    own_operators.new().start()
    await scene.create(a_set("web", replicas=4, extensions=[follows("monitor")]))
    await scene.until_ready()
    nodes = {ordinal: pod["spec"]["nodeName"] for ordinal, pod in scene.pods().items()}
    old = nodes[0]
    scene.kubelet(old, "v1.31.4")
    try:
        await scene.until_kubelet(old, "v1.31.4")
        await scene.publish_extension("monitor", "1.1.0")
        left = await scene.until_condition("InstancesLeftOut")
        assert "older than 1.32" in left["message"]
        if set(nodes.values()) != {old}:
            upgrade = await scene.until_ended()
            assert code(upgrade) == "Completed"
        wanted = ["1.0.0" if node == old else "1.1.0" for node in nodes.values()]
        await scene.until(lambda: versions(scene) == wanted, what="those on new nodes to be upgraded")
        assert scene.condition("InstancesLeftOut")["status"] == "True"
    finally:
        scene.kubelet(old, None)
