"""What interrupts the upgrade of an availability set: the operator ends, the set or one of its machines is deleted."""

from __future__ import annotations

import pytest
from builders import a_machine, an_image
from operators import Operator, Operators
from scene import Scene, batches, code, condition, installed, is_ready
from test_availability_sets import begin, until_ended
from test_virtual_machines import pod, until_ready

NAMES = ["db-a", "db-b", "db-c"]


def upgrades(scene: Scene) -> list[dict[str, object]]:
    return [u for u in scene.all("RollingUpgrade") if u["spec"].get("availabilitySet")]


async def until_batch(scene: Scene, number: int) -> None:
    await scene.until(
        lambda: [u for u in upgrades(scene) if len(batches(u)) >= number], what=f"batch {number} to be written"
    )


def versions(scene: Scene, *names: str) -> list[str]:
    return [installed(pod(scene, name)).get("monitor", "") for name in names]


@pytest.mark.requirement("E5c", "E9")
@pytest.mark.parametrize("batch", [1, 2])
async def test_the_operator_is_killed_in_mid_batch_and_goes_on(
    own_operators: Operators, scene: Scene, batch: int
) -> None:
    operator = own_operators.new("--no-leader-election").start()
    await begin(scene, *NAMES, healthTimeout="PT10S")
    uids = scene.uids("Pod")
    scene.patch_seconds(1.0, 1.5)
    await scene.publish_extension("monitor", "1.2.0")
    await until_batch(scene, batch)
    operator.kill()
    (before,) = (u["status"] for u in upgrades(scene))
    operator.start()
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Completed"
    assert [b["machines"] for b in batches(upgrade)] == [["db-a", "db-c"], ["db-b"]]
    assert batches(upgrade)[: batch - 1] == before["batches"][: batch - 1], "what was done is done"
    assert len(upgrades(scene)) == 1
    assert versions(scene, *NAMES) == ["1.2.0"] * 3
    assert scene.uids("Pod") == uids


@pytest.mark.requirement("E3", "E5c")
async def test_the_operator_is_killed_while_putting_back(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new("--no-leader-election").start()
    await begin(scene, "db-a", "db-b", healthTimeout="PT7S")
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.1.0", "broken")
    await scene.until(lambda: [u for u in upgrades(scene) if code(u) == "RollingBack"], what="a put-back")
    operator.kill()
    operator.start()
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Faulted"
    assert not batches(upgrade)[0].get("rollBackFailed")
    await until_ready(scene, "db-a", "db-b")
    assert versions(scene, "db-a", "db-b") == ["1.0.0"] * 2
    assert scene.uids("Pod") == uids


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_the_set_is_deleted_in_mid_upgrade(operator: Operator, scene: Scene, policy: str) -> None:
    await begin(scene, *NAMES, healthTimeout="PT10S")
    uids = scene.uids("Pod")
    scene.patch_seconds(1.0, 1.5)
    await scene.publish_extension("monitor", "1.2.0")
    await until_batch(scene, 1)
    await scene.delete("AvailabilitySet", "dbs", propagationPolicy=policy)
    await scene.until(lambda: scene.find("AvailabilitySet", "dbs") is None, what="the set to go")
    await scene.until(lambda: not upgrades(scene), what="its upgrade to go")

    def told() -> bool:
        known = [scene.find("VirtualMachine", name) or {} for name in NAMES]
        return all(condition(m, "AvailabilitySetNotFound").get("status") == "True" for m in known)

    await scene.until(told, what="the machines to say it")
    await until_ready(scene, *NAMES)
    assert scene.uids("Pod") == uids
    assert all(is_ready(pod(scene, name)) for name in NAMES)
    assert versions(scene, "db-b") == ["1.0.0"], "nobody goes on with it"


@pytest.mark.requirement("E5c")
async def test_a_set_that_is_made_again_goes_on_with_what_is_left(operator: Operator, scene: Scene) -> None:
    await begin(scene, *NAMES, healthTimeout="PT10S")
    uids = scene.uids("Pod")
    scene.patch_seconds(1.0, 1.5)
    await scene.publish_extension("monitor", "1.2.0")
    await until_batch(scene, 1)
    former = scene.find("AvailabilitySet", "dbs")
    assert former is not None
    await scene.delete("AvailabilitySet", "dbs")
    await scene.until(lambda: not upgrades(scene), what="its upgrade to go")
    await scene.create({k: v for k, v in former.items() if k != "status"} | {"metadata": {"name": "dbs"}})
    await scene.until(lambda: versions(scene, *NAMES) == ["1.2.0"] * 3, what="all to be upgraded", within=60)
    assert scene.uids("Pod") == uids


@pytest.mark.requirement("E5c")
async def test_a_machine_of_the_batch_is_deleted(operator: Operator, scene: Scene) -> None:
    await begin(scene, *NAMES, healthTimeout="PT10S")
    scene.patch_seconds(1.0, 1.5)
    await scene.publish_extension("monitor", "1.2.0")
    await until_batch(scene, 1)
    await scene.delete("VirtualMachine", "db-a")
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Completed"
    assert versions(scene, "db-b", "db-c") == ["1.2.0"] * 2
    await scene.until(lambda: scene.find("Pod", "db-a") is None, what="its pod to go")


@pytest.mark.requirement("E5c")
async def test_a_machine_in_another_location_is_left_out_and_says_so(operator: Operator, scene: Scene) -> None:
    await begin(scene, "db-a", "db-b")
    await scene.create(an_image("debian", "1.0.0"))
    await scene.create(a_machine("db-x", image="debian", availabilitySet="dbs", location="northeurope"))

    def told() -> str:
        found = condition(scene.find("VirtualMachine", "db-x") or {}, "AvailabilitySetElsewhere")
        return found.get("message", "") if found.get("status") == "True" else ""

    message = await scene.until(told, what="the condition")
    assert "AvailabilitySet dbs is in local, the machine in northeurope" in message
    await until_ready(scene, "db-x")
    group = scene.find("AvailabilitySet", "dbs")
    assert group is not None
    assert [m["name"] for m in group["status"]["machines"]] == ["db-a", "db-b"]
