"""A claim of the right name that isn't the set's is not used, unless the set says so or an earlier set left it."""

from __future__ import annotations

from builders import Body, a_claim_template, a_set, an_image
from operators import Operator
from scene import Scene, label

ADOPT = "scalesets.dev/adopt-claims"


def a_claim(name: str) -> Body:
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **a_claim_template(name)}


async def test_it_is_left_alone_until_the_set_adopts_claims(operator: Operator, scene: Scene) -> None:
    await scene.create(a_claim("data-web-1"), an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, claims=True))
    uid = scene.uids("PersistentVolumeClaim")["data-web-1"]
    found = await scene.until_condition("ClaimConflict")
    assert "data-web-1" in found["message"]
    assert ADOPT in found["message"], "and it says what to do"
    await scene.until(lambda: list(scene.pods()) == [0, 2], what="the other two")
    claim = await scene.api.get("PersistentVolumeClaim", scene.namespace, "data-web-1")
    assert not claim["metadata"].get("labels"), "it isn't touched"

    await scene.patch("ScaleSet", "web", {"metadata": {"annotations": {ADOPT: "true"}}})
    await scene.until_ready()
    adopted = scene.find("PersistentVolumeClaim", "data-web-1")
    assert adopted is not None
    assert adopted["metadata"]["uid"] == uid
    assert label(adopted, "scaleset-uid") == scene.set()["metadata"]["uid"]
    assert not scene.condition("ClaimConflict")


async def test_claims_of_an_earlier_set_of_the_name_are_taken_over(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, claims=True))
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")
    await scene.delete("ScaleSet", "web")
    await scene.until(lambda: not scene.pods() and scene.find("ScaleSet", "web") is None, what="the set to go")
    assert scene.uids("PersistentVolumeClaim") == disks, "data disks outlive the set"

    await scene.create(a_set("web", replicas=2, claims=True))
    await scene.until_ready()
    assert scene.uids("PersistentVolumeClaim") == disks
    for claim in scene.all("PersistentVolumeClaim"):
        assert label(claim, "scaleset-uid") == scene.set()["metadata"]["uid"]
