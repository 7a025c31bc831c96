"""A data disk that is to grow, but whose storage class can't let it: said by name, and nothing else waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from builders import Body, a_claim_template, a_set, an_image
from operators import Operator
from scene import Scene

from scalesets.local.machines.claims import STORAGE_CLASS


async def let_grow(scene: Scene, allowed: bool) -> None:
    await scene.api.patch("StorageClass", "", STORAGE_CLASS, {"allowVolumeExpansion": allowed})


@pytest.fixture
async def rigid(scene: Scene) -> AsyncIterator[None]:
    """The storage class doesn't expand volumes."""
    await let_grow(scene, False)
    yield
    await let_grow(scene, True)


def storage(claim: Body) -> str:
    found: str = claim["spec"]["resources"]["requests"]["storage"]
    return found


@pytest.mark.requirement("O6")
async def test_it_is_said_until_the_class_lets_it_grow(operator: Operator, scene: Scene, rigid: None) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, claims=True))
    await scene.until_ready()
    pods, disks = scene.uids("Pod"), scene.uids("PersistentVolumeClaim")
    await scene.change("ScaleSet", "web", volumeClaimTemplates=[a_claim_template(storage="2Gi")])
    found = await scene.until_condition("ClaimNotExpanded")
    assert "claim data-web-0" in found["message"]
    assert "must support resize" in found["message"], "the server's words"
    await scene.until_event("ClaimNotExpanded")
    assert not scene.condition("ClaimNotAdopted")
    assert scene.condition("Ready")["status"] == "True", "the instances run on what they have"

    await let_grow(scene, True)
    await scene.until(lambda: {storage(c) for c in scene.all("PersistentVolumeClaim")} == {"2Gi"}, what="the disks")
    await scene.until(lambda: not scene.condition("ClaimNotExpanded"), what="the condition to go")
    assert (scene.uids("Pod"), scene.uids("PersistentVolumeClaim")) == (pods, disks)
