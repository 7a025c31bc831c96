"""An availability set is upgraded one update domain at a time, never all of it at once; its machines heal by themselves
(E5c).
"""

from __future__ import annotations

import pytest
from builders import API_VERSION, PATIENT, Body, a_followed_extension, a_machine, an_image, follows
from operators import Operator
from scene import Scene, code, condition, installed, is_ready
from test_virtual_machines import pod, until_ready


def an_availability_set(name: str = "dbs", domains: int = 2, **policy: object) -> Body:
    rolling = {"healthTimeout": "PT3S", "provisioningTimeout": "PT20S", **policy}
    spec = {"platformUpdateDomainCount": domains, "upgradePolicy": {"rollingUpgradePolicy": rolling}}
    return {"apiVersion": API_VERSION, "kind": "AvailabilitySet", "metadata": {"name": name}, "spec": spec}


async def until_ended(scene: Scene) -> Body:
    def ended() -> Body | None:
        found = [u for u in scene.all("RollingUpgrade") if u["spec"].get("availabilitySet")]
        return next((u for u in found if code(u) in ("Completed", "Faulted", "Cancelled")), None)

    await scene.until(ended, what="the upgrade to end")
    upgrade = ended()
    assert upgrade is not None
    return upgrade


async def begin(scene: Scene, *names: str, **fields: object) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_followed_extension("monitor", "1.0.0"))
    await scene.create(an_availability_set(**fields))  # type: ignore[arg-type]
    for name in names:
        await scene.create(a_machine(name, extensions=[follows("monitor")], availabilitySet="dbs"))
    await until_ready(scene, *names)


@pytest.mark.requirement("E5c", "E9")
async def test_one_update_domain_after_the_other(operator: Operator, scene: Scene) -> None:
    names = ["db-a", "db-b", "db-c"]
    await begin(scene, *names)
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.2.0")
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Completed"
    assert [(b["updateDomain"], b["machines"]) for b in upgrade["status"]["batches"]] == [
        (0, ["db-a", "db-c"]),
        (1, ["db-b"]),
    ]
    assert {n: installed(pod(scene, n)) for n in names} == {n: {"monitor": "1.2.0"} for n in names}
    assert scene.uids("Pod") == uids
    group = scene.find("AvailabilitySet", "dbs")
    assert group is not None
    assert [(m["name"], m["ordinal"], m["updateDomain"]) for m in group["status"]["machines"]] == [
        ("db-a", 0, 0),
        ("db-b", 1, 1),
        ("db-c", 2, 0),
    ]
    labels = [pod(scene, n)["metadata"]["labels"]["scalesets.dev/update-domain"] for n in names]
    assert labels == ["0", "1", "0"]


@pytest.mark.requirement("E3", "E5c")
async def test_what_fails_is_put_back_and_the_rest_left_alone(operator: Operator, scene: Scene) -> None:
    await begin(scene, "db-a", "db-b", **PATIENT)
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.1.0", "broken")
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Faulted"
    assert [b["machines"] for b in upgrade["status"]["batches"]] == [["db-a"]]
    assert {n: installed(pod(scene, n)) for n in uids} == {n: {"monitor": "1.0.0"} for n in uids}
    assert scene.uids("Pod") == uids


async def test_an_availability_set_that_does_not_exist_is_said(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_machine("db", availabilitySet="nope"))
    await until_ready(scene, "db")
    assert is_ready(pod(scene, "db"))

    def told() -> str:
        return condition(scene.find("VirtualMachine", "db") or {}, "AvailabilitySetNotFound").get("message", "")

    await scene.until(lambda: "AvailabilitySet nope" in told(), what="the condition")


@pytest.mark.requirement("E5c", "O6")
async def test_a_lost_machine_comes_back_in_its_place(operator: Operator, scene: Scene) -> None:
    await begin(scene, "db-a", "db-b")
    uid = scene.uids("Pod")["db-b"]
    await scene.delete("Pod", "db-b")
    await scene.until(
        lambda: scene.uids("Pod").get("db-b", uid) != uid and is_ready(pod(scene, "db-b")), what="a new pod"
    )
    assert pod(scene, "db-b")["metadata"]["labels"]["scalesets.dev/update-domain"] == "1"
    assert installed(pod(scene, "db-b")) == {"monitor": "1.0.0"}


@pytest.mark.requirement("E5c")
async def test_a_machine_that_is_lost_in_its_batch_comes_back_on_the_target(operator: Operator, scene: Scene) -> None:
    await begin(scene, "db-a", "db-b", healthTimeout="PT15S")
    scene.referee.excuse("Pod", scene.namespace, "db-a")
    scene.boot_seconds(1.0, 1.2)
    await scene.publish_extension("monitor", "1.2.0")
    await scene.until(lambda: installed(pod(scene, "db-a")) == {"monitor": "1.2.0"}, what="db-a to be patched")
    await scene.delete("Pod", "db-a", gracePeriodSeconds=0)
    upgrade = await until_ended(scene)
    assert code(upgrade) == "Completed"
    assert {n: installed(pod(scene, n)) for n in ("db-a", "db-b")} == {
        "db-a": {"monitor": "1.2.0"},
        "db-b": {"monitor": "1.2.0"},
    }
