"""What the model names must be there and current before an upgrade touches anything (O15, O21)."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_secret, a_set, an_image
from operators import Operator
from scene import Body, Scene, code

from scalesets.local.machines.faults import Mode


def using_secret(**options: Any) -> Body:
    reference = {"secretKeyRef": {"name": "keys", "key": "token"}}
    return a_set("web", container={"env": [{"name": "TOKEN", "valueFrom": reference}]}, **options)


@pytest.mark.requirement("O15", "O21")
async def test_a_missing_secret_is_said_by_name_and_nothing_is_touched(
    operator: Operator, scene: Scene, may_read_secrets: None
) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), using_secret(replicas=3), a_secret(token="secret"))
    await scene.until_ready()
    before = scene.uids("Pod")
    await scene.delete("Secret", "keys")
    await scene.publish("ubuntu", "2.0.0")
    found = await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="ExternalResourceMissing")
    assert "Secret keys" in found["message"]
    assert not scene.upgrades()

    await scene.create(a_secret(other="key"))
    found = await scene.until_condition("AutomaticOSUpgradeEligible", status="False")
    await scene.until(
        lambda: "token" in scene.condition("AutomaticOSUpgradeEligible")["message"], what="the missing key by name"
    )
    assert scene.uids("Pod") == before

    await scene.patch("Secret", "keys", {"stringData": {"token": "renewed"}})
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O15", "O21")
async def test_an_expired_secret_is_as_good_as_none(operator: Operator, scene: Scene, may_read_secrets: None) -> None:
    expired = a_secret(annotations={"scalesets.dev/expires": "2020-01-01T00:00:00Z"}, token="old")
    await scene.create(an_image("ubuntu", "1.0.0"), using_secret(replicas=2), expired)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    found = await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="ExternalResourceMissing")
    assert "expired" in found["message"]
    assert "keys" in found["message"]
    renewed = {"metadata": {"annotations": {"scalesets.dev/expires": "2099-01-01T00:00:00Z"}}}
    await scene.patch("Secret", "keys", renewed)
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O15")
async def test_who_may_not_look_says_so_and_goes_on(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), using_secret(replicas=2), a_secret(token="secret"))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Completed"
    event = await scene.until_event("ExternalResourcesNotChecked")
    assert "keys" in event["message"]


@pytest.mark.requirement("O21")
async def test_credentials_that_expire_unseen_leave_the_first_batch_failed(operator: Operator, scene: Scene) -> None:
    """Nobody can see that a key inside the application is no good: new instances fail, also when they are put back."""
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, env="expired"))
    await scene.until_ready()
    scene.fail(mode=Mode.NEVER_READY)
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert code(upgrade) == "Faulted"
    info = upgrade["status"]["rollbackInfo"]
    assert info["failedRolledbackInstanceCount"] == 1
    assert "web-0" in info["rollbackError"]["message"]
    assert scene.status()["readyReplicas"] == 4

    scene.heal()
    await scene.change("ScaleSet", "web", template=a_set("web", env="renewed")["spec"]["template"])
    deployed = await scene.until_ended(count=2)
    assert (deployed["spec"]["type"], code(deployed)) == ("Model", "Completed"), "the failed one included"
    await scene.until_on("2.0.0")
