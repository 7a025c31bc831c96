"""Extensions are upgraded in place: the machines stay as they are (E1, E2, E3, E9)."""

from __future__ import annotations

import pytest
from builders import PATIENT, a_set, an_extension, an_image, follows, uses
from counting import writes
from operators import Operator
from scene import Scene, batches, code, image_of, installed, progress, restarts

PATCHES = "PATCH pods/"


@pytest.mark.requirement("E1", "E2", "E8b", "E9", "E11")
async def test_a_new_version_reaches_every_instance_in_place(operator: Operator, scene: Scene) -> None:
    """Nobody's machine is restarted, and each instance costs one write."""
    other = an_extension("other", "1.0.0", supportsAutomaticUpgrade=True)
    await scene.create(an_extension("monitor", "1.0.0", supportsAutomaticUpgrade=True), other)
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
    await scene.create(an_extension("monitor", "1.0.0", supportsAutomaticUpgrade=True))
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
    assert "1.1.0" in scene.condition("LastUpgradeSucceeded")["message"]
