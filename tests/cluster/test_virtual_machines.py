"""Machines by themselves: made, healed, changed and upgraded as a set of one, a few of a subscription at a time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from builders import PATIENT, a_claim_template, a_followed_extension, a_machine, a_set, an_image, follows, uses
from operators import Operator
from scene import Scene, code, condition, error_code, installed, is_ready


def pod(scene: Scene, name: str) -> dict[str, Any]:
    return scene.find("Pod", name) or {"metadata": {}, "status": {}}


async def until_ready(scene: Scene, *names: str) -> None:
    def ready() -> bool:
        known = [scene.find("VirtualMachine", name) for name in names]
        return all(condition(m, "Ready").get("status") == "True" for m in known if m is not None) and all(known)

    await scene.until(ready, what=f"{', '.join(names)} to be ready")


def upgrades(scene: Scene) -> list[dict[str, Any]]:
    return [u for u in scene.all("RollingUpgrade") if u["spec"].get("virtualMachine")]


async def until_ended(scene: Scene, number: int) -> list[dict[str, Any]]:
    def ended() -> bool:
        return len([u for u in upgrades(scene) if code(u) in ("Completed", "Faulted", "Cancelled")]) >= number

    await scene.until(ended, what=f"{number} upgrades to end")
    return upgrades(scene)


@pytest.mark.requirement("E1", "E5b", "E9", "E11")
async def test_machines_are_upgraded_in_turns(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_followed_extension("monitor", "1.0.0"))
    names = ["db-a", "db-b", "db-c"]
    await scene.create(*(a_machine(n, extensions=[follows("monitor")]) for n in names))
    await until_ready(scene, *names)
    uids = scene.uids("Pod")
    assert sorted(uids) == names
    await scene.publish_extension("monitor", "1.2.0")
    ended = await until_ended(scene, 3)
    assert [code(u) for u in ended] == ["Completed"] * 3
    spans = sorted((b["startTime"], b["completedTime"]) for u in ended for b in u["status"]["batches"])
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans)), "one at a time"
    assert {n: installed(pod(scene, n)) for n in names} == {n: {"monitor": "1.2.0"} for n in names}
    assert scene.uids("Pod") == uids

    def told() -> list[tuple[str, ...]]:
        known = [scene.find("VirtualMachine", n) or {} for n in names]
        listed = [e for m in known for e in m.get("status", {}).get("extensions", ())]
        return [(e["version"], e["automaticUpgrade"], e.get("lastUpgrade", {}).get("outcome", "")) for e in listed]

    await scene.until(lambda: told() == [("1.2.0", "Enabled", "Completed")] * 3, what="their statuses to say so")


@pytest.mark.requirement("O6")
async def test_a_lost_machine_comes_back_with_its_disk(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_machine("db", claims=True))
    await until_ready(scene, "db")
    assert a_claim_template()["metadata"]["name"] == "data"
    disks, uid = scene.uids("PersistentVolumeClaim"), scene.uids("Pod")["db"]
    assert list(disks) == ["data-db"]
    await scene.publish("ubuntu", "2.0.0")
    await scene.delete("Pod", "db")
    await scene.until(lambda: scene.uids("Pod").get("db", uid) != uid and is_ready(pod(scene, "db")), what="a new pod")
    assert pod(scene, "db")["metadata"]["labels"]["scalesets.dev/image-version"] == "1.0.0"
    assert scene.uids("PersistentVolumeClaim") == disks


@pytest.mark.requirement("E10")
async def test_a_change_of_its_model_applies_at_once(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_machine("db"))
    await until_ready(scene, "db")
    uid = scene.uids("Pod")["db"]
    await scene.change("VirtualMachine", "db", osProfile={"customData": "echo hello"})
    await scene.until(lambda: scene.uids("Pod").get("db", uid) != uid and is_ready(pod(scene, "db")), what="a new pod")
    assert [c["name"] for c in pod(scene, "db")["spec"]["initContainers"]] == ["custom-data"]
    assert not upgrades(scene)


@pytest.mark.requirement("E3")
async def test_a_failing_extension_is_put_back(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_followed_extension("monitor", "1.0.0"))
    await scene.create(a_machine("db", extensions=[follows("monitor")], rolling=PATIENT))
    await until_ready(scene, "db")
    uid = scene.uids("Pod")["db"]
    await scene.publish_extension("monitor", "1.1.0", "broken")
    (ended,) = await until_ended(scene, 1)
    assert (code(ended), error_code(ended)) == (
        "Faulted",
        "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade",
    )
    assert installed(pod(scene, "db")) == {"monitor": "1.0.0"}
    assert scene.uids("Pod")["db"] == uid
    await until_ready(scene, "db")


@pytest.mark.requirement("E1", "E10", "E11")
async def test_opting_in_and_out_of_an_extension_shows_and_restarts_nothing(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_followed_extension("monitor", "1.0.0"))
    await scene.create(a_machine("db", extensions=[uses("monitor")]))
    await until_ready(scene, "db")
    uids = scene.uids("Pod")

    def shown() -> list[tuple[str, str, str]]:
        known = (scene.find("VirtualMachine", "db") or {}).get("status", {}).get("extensions", ())
        return [(e["name"], e["version"], e["automaticUpgrade"]) for e in known]

    await scene.until(lambda: shown() == [("monitor", "1.0.0", "Disabled")], what="the status")
    await scene.publish_extension("monitor", "1.2.0")
    await scene.until_extension_published("monitor", "1.2.0")
    assert not upgrades(scene)
    await scene.change("VirtualMachine", "db", extensions=[follows("monitor")])
    await until_ended(scene, 1)
    await scene.until(lambda: shown() == [("monitor", "1.2.0", "Enabled")], what="the status")
    assert scene.uids("Pod") == uids


async def test_a_set_and_a_machine_may_have_one_name(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2), a_machine("web"))
    await scene.until_ready()
    await until_ready(scene, "web")
    assert sorted(scene.uids("Pod")) == ["web", "web-0", "web-1"]
