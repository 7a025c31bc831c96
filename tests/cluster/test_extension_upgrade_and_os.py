"""Extensions beside the OS image and the model: one thing at a time, and by mode (E10, O6, O20, O21)."""

from __future__ import annotations

import itertools

import pytest
from builders import PATIENT, Body, a_followed_extension, a_secret, a_set, an_image, follows, uses
from operators import Operator
from scene import Scene, batches, code, image_of, installed, label, progress

from scalesets.local.machines.faults import Mode


def versions(scene: Scene) -> list[str]:
    return [installed(pod)["monitor"] for pod in scene.pods().values()]


async def a_set_with(scene: Scene, *extensions: Body, replicas: int = 3, **fields: object) -> None:
    await scene.create(a_followed_extension("monitor", "1.0.0"), an_image("ubuntu", "1.0.0"))
    web = a_set("web", replicas=replicas, extensions=list(extensions), rolling=PATIENT, **fields)  # type: ignore[arg-type]
    await scene.create(web)
    await scene.until_ready()


@pytest.mark.requirement("E1", "O1", "O6")
async def test_an_image_and_an_extension_published_together_follow_each_other(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.2)
    await a_set_with(scene, follows("monitor"))
    scene.fail(mode=Mode.UNREADY)  # nothing starts before both are there
    await scene.until_condition("Ready", status="False")
    await scene.publish_extension("monitor", "1.1.0")
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_extension_published("monitor", "1.1.0")
    await scene.until_published("ubuntu", "2.0.0")
    scene.heal()
    upgrades = [await scene.until_ended(count=number) for number in (1, 2)]
    assert {u["spec"]["type"]: code(u) for u in upgrades} == {"OSImage": "Completed", "Extension": "Completed"}
    times = sorted((b["startTime"], b["completedTime"]) for u in upgrades for b in batches(u))
    assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(times)), "never both at once"
    assert scene.versions() == ["2.0.0"] * 3
    assert versions(scene) == ["1.1.0"] * 3
    for pod in scene.pods().values():
        assert image_of(pod, "monitor") == "registry.example/ext/monitor:1.1.0"


@pytest.mark.requirement("E10", "O20")
async def test_in_manual_mode_enabling_waits_for_each_instance(operator: Operator, scene: Scene) -> None:
    scene.patch_seconds(0, 0.2)
    await a_set_with(scene, uses("monitor"), mode="Manual", automatic=False)
    uids = scene.uids("Pod")
    await scene.change("ScaleSet", "web", extensions=[follows("monitor")])
    await scene.publish_extension("monitor", "1.1.0")
    left = await scene.until_condition("InstancesLeftOut")
    assert "not on the latest model" in left["message"]
    await scene.until_extension_published("monitor", "1.1.0")
    await scene.start("web", "bring-one", kind="Model", instances=["web-1"])
    await scene.until_ended("bring-one")
    await scene.until(lambda: versions(scene) == ["1.0.0", "1.1.0", "1.0.0"], what="web-1 alone to be upgraded")
    upgrade = await scene.until_ended(count=2)
    assert (upgrade["spec"]["type"], code(upgrade), progress(upgrade)) == ("Extension", "Completed", (1, 0, 0, 0))
    assert upgrade["status"]["skipped"] == "0,2"
    assert scene.uids("Pod") == uids, "enabling is shown by a label"


@pytest.mark.requirement("E10", "O20")
@pytest.mark.parametrize("mode", ["Rolling", "Automatic", "Manual"])
async def test_other_settings_replace_instances_as_the_mode_says(operator: Operator, scene: Scene, mode: str) -> None:
    """The OS image, the extension's version and the claims are kept."""
    await a_set_with(scene, uses("monitor"), mode=mode, claims=True)
    await scene.publish_extension("monitor", "1.1.0")
    await scene.until_extension_published("monitor", "1.1.0")
    uids, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")
    before = scene.status()["currentModel"]
    await scene.change("ScaleSet", "web", extensions=[uses("monitor", settings={"level": "debug"})])
    await scene.until(lambda: scene.status()["currentModel"] != before, what="the new model")
    if mode == "Manual":
        await scene.until_condition("InstancesLeftOut")
        assert scene.uids("Pod") == uids
        await scene.start("web", "bring", kind="Model", instances=["web-0", "web-1", "web-2"])
    if mode != "Automatic":
        upgrade = await scene.until_ended()
        assert (upgrade["spec"]["type"], code(upgrade)) == ("Model", "Completed")
    model = scene.status()["currentModel"]
    await scene.until(lambda: {label(p, "model") for p in scene.pods().values()} == {model}, what="all on the model")
    await scene.until_ready()
    assert not set(scene.uids("Pod").values()) & set(uids.values())
    assert scene.uids("PersistentVolumeClaim") == disks
    assert versions(scene) == ["1.0.0"] * 3
    monitor = next(c for c in scene.pods()[0]["spec"]["initContainers"] if c["name"] == "monitor")
    assert {"name": "EXTENSION_SETTINGS", "value": '{"level":"debug"}'} in monitor["env"]


@pytest.mark.requirement("O15", "O21")
async def test_a_missing_secret_is_said_by_name_before_anything_is_touched(
    operator: Operator, scene: Scene, may_read_secrets: None
) -> None:
    scene.patch_seconds(0, 0.2)
    keys = {"protectedSettingsFrom": {"secretRef": {"name": "keys"}}}
    await scene.create(a_secret(token="first"))
    await a_set_with(scene, follows("monitor", **keys), replicas=2, automatic=False)
    await scene.delete("Secret", "keys")
    await scene.publish_extension("monitor", "1.1.0")
    waiting = await scene.until_condition("Progressing", status="False", reason="ExternalResourceMissing")
    assert "Secret keys is missing (extension monitor)" in waiting["message"]
    assert not scene.upgrades()
    assert versions(scene) == ["1.0.0"] * 2
    await scene.create(a_secret(token="renewed"))
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    assert versions(scene) == ["1.1.0"] * 2


@pytest.mark.requirement("O21", "E3")
async def test_renewed_credentials_bring_back_all_instances(operator: Operator, scene: Scene) -> None:
    """Nobody could see that they had expired: what starts anew fails, also when it is put back. Others stay up."""
    scene.patch_seconds(0, 0.2)
    await a_set_with(scene, follows("monitor", settings={"key": "expired"}), replicas=5)
    for number in ("1.0.0", "1.1.0"):
        scene.fail(mode=Mode.NEVER_READY, version=number)
    await scene.publish_extension("monitor", "1.1.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    info = upgrade["status"]["rollbackInfo"]
    assert info["failedRolledbackInstanceCount"] == 1
    assert "web-0" in info["rollbackError"]["message"]
    assert scene.status()["readyReplicas"] == 4

    scene.heal()
    await scene.change("ScaleSet", "web", extensions=[follows("monitor", settings={"key": "renewed"})])
    deployed = await scene.until_ended(count=2)
    assert (deployed["spec"]["type"], code(deployed)) == ("Model", "Completed"), "the failed one included"
    await scene.until_ready()
    assert versions(scene) == ["1.0.0"] * 5
