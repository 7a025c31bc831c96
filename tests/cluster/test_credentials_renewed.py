"""Credentials that are gone and that nobody may look for: the first batch fails and says which Secret it was; once they
are renewed and in the model, all instances come back, those that were left failed too (O21).
"""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_followed_extension, a_secret, a_set, an_image, follows
from operators import Operator
from scene import Body, Scene, batches, code, error_code, is_ready, progress

MISSING = 'secret "keys" not found'


def token_of(secret: str) -> Body:
    """A container's variable from a Secret."""
    return {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": secret, "key": "token"}}}]}


def failing(scene: Scene) -> set[int]:
    return {ordinal for ordinal, pod in scene.pods().items() if not is_ready(pod)}


async def deploy(scene: Scene, *, count: int, **spec: Any) -> Body:
    """Change the model, and wait for the upgrade that brings it."""
    await scene.change("ScaleSet", "web", **spec)
    return await scene.until_ended(count=count)


@pytest.mark.requirement("O12", "O15", "O21")
async def test_an_os_upgrade_without_its_credentials(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_secret("keys", token="old"))
    await scene.create(a_set("web", replicas=5, container=token_of("keys")))
    await scene.until_ready()
    await scene.delete("Secret", "keys")
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()

    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    (batch,) = batches(upgrade)
    assert (batch["ordinals"], batch["rolledBack"], batch["rollBackFailed"]) == ("0", "0", "0")
    info = upgrade["status"]["rollbackInfo"]
    assert info["failedRolledbackInstanceCount"] == 1
    assert "web-0" in info["rollbackError"]["message"] and MISSING in info["rollbackError"]["message"]
    told = await scene.until_event("BatchFailed")
    assert MISSING in told["message"]
    assert failing(scene) == {0}, "the others run on"

    await scene.create(a_secret("renewed", token="new"))
    template = a_set("web", container=token_of("renewed"))["spec"]["template"]
    deployed = await deploy(scene, count=2, template=template)
    assert (deployed["spec"]["type"], code(deployed), progress(deployed)) == ("Model", "Completed", (5, 0, 0, 0))
    await scene.until_on("2.0.0")


@pytest.mark.requirement("E3", "O21")
async def test_an_extension_upgrade_without_its_credentials(operator: Operator, scene: Scene) -> None:
    container = {**a_followed_extension("monitor")["spec"]["container"], **token_of("keys")}
    await scene.create(a_followed_extension("monitor", "1.0.0", container=container), a_secret("keys", token="old"))
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, extensions=[follows("monitor")]))
    await scene.until_ready()
    uids = scene.uids("Pod")
    await scene.delete("Secret", "keys")
    await scene.publish_extension("monitor", "1.1.0")
    upgrade = await scene.until_ended()

    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    (batch,) = batches(upgrade)
    assert (batch["ordinals"], batch["rolledBack"], batch["rollBackFailed"]) == ("0", "0", "0")
    assert MISSING in upgrade["status"]["rollbackInfo"]["rollbackError"]["message"]
    (target,) = upgrade["status"]["targetExtensions"]
    assert target["outcome"] == "Stopped" and MISSING in target["error"]["message"]
    assert scene.uids("Pod") == uids and failing(scene) == {0}

    await scene.create(a_secret("keys", token="new"))
    deployed = await deploy(scene, count=2, extensions=[follows("monitor", settings={"credentials": "renewed"})])
    assert (deployed["spec"]["type"], code(deployed), progress(deployed)) == ("Model", "Completed", (5, 0, 0, 0))
    await scene.until_ready()


@pytest.mark.requirement("O15", "O20", "O24")
async def test_what_is_missing_is_found_before_a_model_or_a_users_start_touches_anything(
    operator: Operator, scene: Scene, may_read_secrets: None
) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_secret("keys", token="old"))
    await scene.create(a_set("web", replicas=3, automatic=False, container=token_of("keys")))
    await scene.until_ready()
    uids = scene.uids("Pod")
    template = a_set("web", container=token_of("renewed"))["spec"]["template"]
    await scene.change("ScaleSet", "web", template=template)
    waits = await scene.until_condition("Reconciling", reason="ExternalResourceMissing")
    assert waits["message"] == "Secret renewed is missing (container os)"
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_published("ubuntu", "2.0.0")
    await scene.start("web", "by-hand")
    refused = await scene.until_ended("by-hand", within=10)
    assert (code(refused), error_code(refused)) == ("Faulted", "ExternalResourceMissing")
    assert "Secret renewed is missing" in refused["status"]["error"]["message"]
    assert scene.uids("Pod") == uids

    await scene.create(a_secret("renewed", token="new"))
    await scene.start("web", "once-more")
    assert code(await scene.until_ended("once-more")) == "Completed", "a start is a reason to look again"
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O15", "O21")
async def test_a_model_with_renewed_credentials_is_not_held_up_by_the_old_ones(
    operator: Operator, scene: Scene, may_read_secrets: None
) -> None:
    expired = a_secret("keys", annotations={"scalesets.dev/expires": "2020-01-01"}, token="old")
    await scene.create(an_image("ubuntu", "1.0.0"), expired, a_set("web", replicas=3, container=token_of("keys")))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason="ExternalResourceMissing")
    await scene.create(a_secret("renewed", token="new"))
    await scene.change("ScaleSet", "web", template=a_set("web", container=token_of("renewed"))["spec"]["template"])
    await scene.until_on("2.0.0")
    assert not scene.condition("ExternalResources")
