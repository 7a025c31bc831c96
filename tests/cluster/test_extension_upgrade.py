"""Extensions are upgraded in place: the machines stay as they are (E1, E2, E3, E9)."""

from __future__ import annotations

import pytest
from builders import PATIENT, a_followed_extension, a_set, an_extension, an_image, follows, uses
from counting import writes
from operators import Operator
from scene import Scene, batches, code, error_code, image_of, installed, progress, restarts

PATCHES = "PATCH pods/"


@pytest.mark.requirement("E1", "E2", "E8b", "E9", "E11")
async def test_a_new_version_reaches_every_instance_in_place(operator: Operator, scene: Scene) -> None:
    """Nobody's machine is restarted, and each instance costs one write."""
    other = a_followed_extension("other", "1.0.0")
    await scene.create(a_followed_extension("monitor", "1.0.0"), other)
    await scene.create(
        an_image("ubuntu", "1.0.0"), a_set("web", replicas=10, extensions=[follows("monitor"), uses("other")])
    )
    await scene.until_ready()
    uids, before, counted = scene.uids("Pod"), restarts(scene.pods()), await writes(scene)
    await scene.publish_extension("other", "1.1.0")
    await scene.publish_extension("monitor", "1.2.0")
    upgrade = await scene.until_ended()

    assert (upgrade["spec"]["type"], upgrade["spec"]["startedBy"]) == ("Extension", "Platform")
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    assert [b["extension"] for b in batches(upgrade)] == ["monitor"] * 5
    (target,) = upgrade["status"]["targetExtensions"]
    assert (target["from"], target["to"], target["outcome"]) == ("1.0.0", "1.2.0", "Succeeded")
    assert scene.uids("Pod") == uids
    for ordinal, pod in scene.pods().items():
        assert installed(pod) == {"monitor": "1.2.0", "other": "1.0.0"}
        assert image_of(pod, "monitor") == "registry.example/ext/monitor:1.2.0"
        was, now = before[ordinal], restarts(scene.pods())[ordinal]
        assert now == {**was, "monitor": was["monitor"] + 1}, "only that container was started anew"
    shown = {e["name"]: (e["version"], e["automaticUpgrade"]) for e in scene.status()["extensions"]}
    assert shown == {"monitor": ("1.2.0", "Enabled"), "other": ("1.0.0", "Disabled")}
    assert (await writes(scene))[PATCHES] - counted.get(PATCHES, 0) == 10, "one write for each instance"


@pytest.mark.requirement("E3", "E13")
async def test_what_fails_gets_its_former_version_back_at_once(operator: Operator, scene: Scene) -> None:
    await scene.create(a_followed_extension("monitor", "1.0.0"))
    await scene.create(
        an_image("ubuntu", "1.0.0"), a_set("web", replicas=10, extensions=[follows("monitor")], rolling=PATIENT)
    )
    await scene.until_ready()
    uids = scene.uids("Pod")
    await scene.publish_extension("monitor", "1.1.0", "broken")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 2, 0, 8))
    (batch,) = batches(upgrade)
    assert (batch["rolledBack"], batch.get("rollBackFailed", "")) == (batch["ordinals"], "")
    (target,) = upgrade["status"]["targetExtensions"]
    assert (target["outcome"], target["failedInstanceCount"]) == ("Stopped", 2)
    await scene.until_ready()
    assert scene.uids("Pod") == uids
    assert {installed(pod)["monitor"] for pod in scene.pods().values()} == {"1.0.0"}
    last = scene.status()["extensions"][0]["lastUpgrade"]
    assert (last["version"], last["outcome"]) == ("1.1.0", "Faulted")
    assert last["retryTime"] > last["completedTime"]
    assert "2 of 2" in last["reason"]
    assert scene.condition("LastUpgradeSucceeded")["status"] == "False"


@pytest.mark.requirement("E3")
async def test_a_version_that_was_removed_meanwhile_can_still_be_put_back(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.2)
    await scene.create(a_followed_extension("monitor", "1.0.0"), an_image("ubuntu", "1.0.0"))
    await scene.create(a_set("web", replicas=3, extensions=[follows("monitor")], rolling=PATIENT))
    await scene.until_ready()
    broken = {"version": "1.1.0", "image": "registry.example/ext/monitor:1.1.0-broken"}
    await scene.change("Extension", "monitor", versions=[broken])
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 2))
    await scene.until_ready()
    assert {image_of(p, "monitor") for p in scene.pods().values()} == {"registry.example/ext/monitor:1.0.0"}


@pytest.mark.requirement("E1", "E8b", "E8c", "O5")
async def test_a_user_starts_one_by_name_whatever_is_enabled(operator: Operator, scene: Scene) -> None:
    """Also of an extension that doesn't follow by itself, and never across a major version."""
    scene.patch_seconds(0, 0.2)
    both = [uses("agent"), uses("monitor")]
    for name in ("agent", "monitor"):
        await scene.create(an_extension(name, "1.0.0", "1.4.0", "2.0.0"))
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, extensions=both))
    await scene.until_ready()
    assert not scene.upgrades()
    await scene.start("web", "by-hand", kind="Extension", extensions=["monitor"])
    upgrade = await scene.until_ended("by-hand")
    assert (code(upgrade), upgrade["status"]["startedBy"]) == ("Completed", "User")
    assert [installed(p) for p in scene.pods().values()] == [{"agent": "1.0.0", "monitor": "1.4.0"}] * 2
    shown = {e["name"]: e["automaticUpgrade"] for e in scene.status()["extensions"]}
    assert shown == {"agent": "NotSupported", "monitor": "NotSupported"}

    await scene.start("web", "unknown", kind="Extension", extensions=["nobody"])
    refused = await scene.until_ended("unknown")
    assert (code(refused), error_code(refused)) == ("Faulted", "ExtensionNotFound")
    assert "nobody" in refused["status"]["error"]["message"]


@pytest.mark.requirement("E1", "O5")
async def test_a_cancelled_one_waits_for_a_newer_version(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.2)
    await scene.create(a_followed_extension("monitor", "1.0.0"), an_image("ubuntu", "1.0.0"))
    await scene.create(a_set("web", replicas=3, extensions=[follows("monitor")]))
    await scene.until_ready()
    await scene.publish_extension("monitor", "1.1.0")
    await scene.until_batch(1)
    name = scene.upgrades()[0]["metadata"]["name"]
    await scene.change("RollingUpgrade", name, cancel=True)
    upgrade = await scene.until_ended(name)
    assert (code(upgrade), error_code(upgrade)) == ("Cancelled", "CancelledByUser")
    done = progress(upgrade)[0]
    assert [installed(p)["monitor"] for p in scene.pods().values()].count("1.1.0") == done < 3
    last = scene.status()["extensions"][0]["lastUpgrade"]
    assert (last["outcome"], last["code"], last.get("retryTime")) == ("Cancelled", "CancelledByUser", None)
    await scene.delete("RollingUpgrade", name)  # the set itself remembers
    await scene.until(lambda: not scene.upgrades(), what="the history to be gone")

    await scene.publish_extension("monitor", "1.2.0")
    again = await scene.until_ended(count=1)
    assert (again["metadata"]["name"] != name, code(again)) == (True, "Completed")
    assert {installed(p)["monitor"] for p in scene.pods().values()} == {"1.2.0"}
