"""Data disks are kept unless the set says otherwise: when it is scaled in, and when it is deleted (O6)."""

from __future__ import annotations

import pytest
from builders import a_claim_template, a_set, an_image
from operators import Operator
from scene import Body, Scene


def retaining(scaled: str = "Retain", deleted: str = "Retain") -> Body:
    return {"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted}}


async def test_scaled_in_disks_are_kept_and_found_again(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, claims=True))
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    await scene.change("ScaleSet", "web", replicas=1)
    await scene.until_ready()
    assert scene.uids("PersistentVolumeClaim") == disks
    await scene.change("ScaleSet", "web", replicas=3)
    await scene.until_ready()
    assert scene.uids("PersistentVolumeClaim") == disks


async def test_scaled_in_disks_go_where_the_policy_says_so(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, claims=True, **retaining(scaled="Delete")))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", replicas=1)
    await scene.until(lambda: list(scene.uids("PersistentVolumeClaim")) == ["data-web-0"], what="two disks to go")
    await scene.until_ready()
    await scene.change("ScaleSet", "web", replicas=3)
    await scene.until_ready()


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_when_the_set_is_deleted(operator: Operator, scene: Scene, policy: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, claims=True, **retaining(deleted=policy)))
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    await scene.delete("ScaleSet", "web")
    await scene.until(lambda: scene.find("ScaleSet", "web") is None and not scene.pods(), what="the set to go")
    if policy == "Delete":
        await scene.until(lambda: not scene.uids("PersistentVolumeClaim"), what="the disks to go")
    else:
        assert scene.uids("PersistentVolumeClaim") == disks


@pytest.mark.requirement("O6")
async def test_a_larger_request_grows_the_disks_and_is_no_model_change(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, claims=True))
    await scene.until_ready()
    pods = scene.uids("Pod")
    await scene.change("ScaleSet", "web", volumeClaimTemplates=[a_claim_template(storage="2Gi")])

    def grown() -> bool:
        claims = scene.all("PersistentVolumeClaim")
        return all(c["spec"]["resources"]["requests"]["storage"] == "2Gi" for c in claims)

    await scene.until(grown, what="larger requests")
    await scene.until_ready()
    assert scene.uids("Pod") == pods
    assert not scene.upgrades()
