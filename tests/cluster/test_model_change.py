"""What a change of the model does to existing instances, in the three modes (O20); what comes to new disks (O6)."""

from __future__ import annotations

import pytest
from builders import a_set, an_image
from operators import Operator
from scene import Body, Scene, batches, code, error_code, label, progress

PROTECT = "scalesets.dev/protect-from-upgrade"


def template(revision: str) -> Body:
    """The part of the spec that differs."""
    return a_set("web", env=revision)["spec"]["template"]


def revisions(scene: Scene) -> list[str]:
    found = []
    for pod in scene.pods().values():
        os = next(c for c in pod["spec"]["containers"] if c["name"] == "os")
        found.append(next((e["value"] for e in os.get("env", ()) if e["name"] == "REVISION"), ""))
    return found


async def until_revision(scene: Scene, wanted: list[str]) -> None:
    await scene.until(lambda: revisions(scene) == wanted, what=f"revisions {wanted}")
    await scene.until_ready()


@pytest.mark.requirement("O6", "O20")
async def test_rolling(operator: Operator, scene: Scene) -> None:
    web = a_set("web", replicas=10, env="a", automatic=False, claims=True, rolling={"maxBatchInstancePercent": 20})
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    await scene.publish("ubuntu", "2.0.0")

    changed = a_set("web", replicas=10, env="b", automatic=False, claims=True)["spec"]["template"]
    await scene.change("ScaleSet", "web", template=changed)
    upgrade = await scene.until_ended()

    assert (upgrade["spec"]["type"], code(upgrade), progress(upgrade)) == ("Model", "Completed", (10, 0, 0, 0))
    assert len(batches(upgrade)) == 5
    await until_revision(scene, ["b"] * 10)
    assert set(scene.versions()) == {"1.0.0"}, "a model change keeps the OS version"
    assert scene.uids("PersistentVolumeClaim") == disks
    assert scene.status()["latestModelReplicas"] == 10
    models = {label(r, "model") for r in scene.all("ControllerRevision")}
    assert {label(p, "model") for p in scene.pods().values()} < models, "the former model is kept"


@pytest.mark.requirement("O20")
async def test_rolling_by_a_policy_of_its_own(operator: Operator, scene: Scene) -> None:
    policy = {"maxBatchInstancePercent": 50, "maxUnhealthyInstancePercent": 60}
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10, updateDomains=2, env="a", rolling=policy))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", template=template("b"))
    upgrade = await scene.until_ended()
    assert [b["ordinals"] for b in batches(upgrade)] == ["0,2,4,6,8", "1,3,5,7,9"]

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended(count=2)
    assert max(len(b["ordinals"].split(",")) for b in batches(upgrade)) == 2, "an OS upgrade never exceeds a fifth"


@pytest.mark.requirement("O20")
async def test_a_model_that_does_not_work_stops_and_stays(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, env="a"))
    await scene.until_ready()
    await scene.publish("ubuntu", "1.1.0", "broken", excludeFromLatest=True)
    await scene.change("ScaleSet", "web", imageReference={"version": "1.1.0"})
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    assert error_code(upgrade) == "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"
    assert scene.versions()[0] == "1.1.0", "it stays, to be looked at"
    found = await scene.until_condition("Stalled", reason="ModelUpgradeFaulted")
    assert "change the model" in found["message"]

    await scene.change("ScaleSet", "web", imageReference={"version": "1.0.0"})
    await scene.until_on("1.0.0")
    assert scene.condition("Stalled")["status"] == "False"


@pytest.mark.requirement("O20")
async def test_a_stopped_model_goes_back_where_the_policy_says_so(operator: Operator, scene: Scene) -> None:
    policy = {"rollbackFailedInstancesOnPolicyBreach": True}
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, rolling=policy))
    await scene.until_ready()
    await scene.publish("ubuntu", "1.1.0", "broken", excludeFromLatest=True)
    await scene.change("ScaleSet", "web", imageReference={"version": "1.1.0"})
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Faulted"
    assert upgrade["status"]["rollbackInfo"]["successfullyRolledbackInstanceCount"] == 1
    assert set(scene.versions()) == {"1.0.0"}


@pytest.mark.requirement("O20")
async def test_a_newer_model_takes_over(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, env="a"))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.change("ScaleSet", "web", template=template("b"))
    await scene.until_batch(1)
    await scene.change("ScaleSet", "web", template=template("c"))
    first = await scene.until_ended(count=1)
    assert (code(first), error_code(first)) == ("Cancelled", "Superseded")
    second = await scene.until_ended(count=2)
    assert code(second) == "Completed"
    await until_revision(scene, ["c"] * 5)


@pytest.mark.requirement("O20")
async def test_automatic_replaces_all_at_once(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, mode="Automatic", env="a"))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", template=template("b"))
    await until_revision(scene, ["b"] * 5)
    assert not scene.upgrades(), "without a RollingUpgrade"

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (upgrade["spec"]["type"], len(batches(upgrade))) == ("OSImage", 5), (
        "its OS upgrades go in batches all the same"
    )


@pytest.mark.requirement("O20")
async def test_manual_waits_for_each_instance(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=4, mode="Manual", env="a"))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", template=template("b"))
    found = await scene.until_condition("InstancesLeftOut")
    assert "update-instances" in found["message"]
    assert scene.condition("Ready")["status"] == "True"

    await scene.start("web", "two", kind="Model", instances=["web-1", "web-2"])
    upgrade = await scene.until_ended("two")
    assert (code(upgrade), progress(upgrade)) == ("Completed", (2, 0, 0, 0))
    await until_revision(scene, ["a", "b", "b", "a"])

    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended(count=2)
    assert upgrade["spec"]["type"] == "OSImage"
    assert scene.versions() == ["1.0.0", "2.0.0", "2.0.0", "1.0.0"], (
        "others are not upgraded until they are on the model"
    )

    await scene.start("web", "rest", kind="Model")
    await scene.until_ended("rest")
    await until_revision(scene, ["b"] * 4)


@pytest.mark.requirement("O20")
async def test_in_manual_mode_enabling_reaches_who_is_brought_to_the_model(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, mode="Manual", automatic=False))
    await scene.until_ready()
    before = scene.uids("Pod")
    await scene.publish("ubuntu", "2.0.0")
    enabled = {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}}
    await scene.change("ScaleSet", "web", upgradePolicy=enabled)
    await scene.until_condition("InstancesLeftOut")
    assert not scene.upgrades()

    await scene.start("web", "one", kind="Model", instances=["web-0"])
    await scene.until_ended("one")
    assert scene.versions() == ["2.0.0", "1.0.0", "1.0.0"], "a named instance is brought up to date"
    await scene.publish("ubuntu", "3.0.0")
    upgrade = await scene.until_ended(count=2)
    assert (upgrade["spec"]["type"], progress(upgrade)) == ("OSImage", (1, 0, 0, 0))
    assert scene.versions() == ["3.0.0", "1.0.0", "1.0.0"]
    assert {n: u for n, u in scene.uids("Pod").items() if n != "web-0"}.items() <= before.items()


@pytest.mark.requirement("O20")
async def test_a_flag_alone_restarts_nobody(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, automatic=False))
    await scene.until_ready()
    before, models = scene.uids("Pod"), {label(p, "model") for p in scene.pods().values()}
    enabled = {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}}
    await scene.change("ScaleSet", "web", upgradePolicy=enabled)

    def relabelled() -> bool:
        now = {label(p, "model") for p in scene.pods().values()}
        return len(now) == 1 and now != models

    await scene.until(relabelled, what="the new model's label")
    await scene.until_ready()
    assert scene.uids("Pod") == before
    assert not scene.upgrades()


async def test_protected_instances_are_left_out_by_name(operator: Operator, scene: Scene) -> None:
    protected = [{"instanceId": 1, "protectFromUpgrade": True}]
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=4, instanceProtection=protected))
    await scene.until_ready()
    await scene.patch("Pod", "web-2", {"metadata": {"annotations": {PROTECT: "true"}}})
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (2, 0, 0, 0))
    assert upgrade["status"]["skipped"] == "1-2"
    assert scene.versions() == ["2.0.0", "1.0.0", "1.0.0", "2.0.0"]
    found = await scene.until_condition("InstancesLeftOut")
    assert "1-2" in found["message"]


@pytest.mark.requirement("O14")
async def test_a_sku_change_is_a_change_of_the_model(operator: Operator, scene: Scene) -> None:
    names = {"publisher": "Canonical", "offer": "ubuntu"}
    old, new = an_image("old", "16.4.1", **names, sku="16.04-LTS"), an_image("new", "18.4.1", **names, sku="18.04-LTS")
    web = a_set("web", replicas=3)
    web["spec"]["imageReference"] = {**names, "sku": "16.04-LTS"}
    await scene.create(old, new, web)
    await scene.until_ready()
    assert set(scene.versions()) == {"16.4.1"}
    await scene.change("ScaleSet", "web", imageReference={"sku": "18.04-LTS"})
    upgrade = await scene.until_ended()
    assert (upgrade["spec"]["type"], code(upgrade)) == ("Model", "Completed")
    await scene.until_on("18.4.1")
