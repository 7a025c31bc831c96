"""What automatic OS upgrade needs and the set doesn't have is said by name (O15); where images come from (O4)."""

from __future__ import annotations

import pytest
from builders import Body, a_set, an_image
from operators import Operator
from scene import Scene, code, image_of


@pytest.mark.requirement("O15")
@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        ({"automatic": False}, "Disabled", "enableAutomaticOSUpgrade"),
        ({"version": "1.0.0"}, "VersionPinned", "imageReference.version"),
        ({"probe": False}, "NoHealthSignal", "readinessProbe"),
    ],
    ids=["opted out", "pinned", "without a probe"],
)
async def test_it_is_said_by_name(operator: Operator, scene: Scene, options: Body, reason: str, words: str) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=1, **options))
    await scene.until_ready()
    found = await scene.until_condition("AutomaticOSUpgradeEligible", status="False", reason=reason)
    assert words in found["message"]
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_published("ubuntu", "2.0.0")
    await scene.assert_quiet(1.0)
    assert not scene.upgrades()


@pytest.mark.requirement("O3")
async def test_a_slow_probe_is_warned_of(operator: Operator, scene: Scene) -> None:
    web = a_set("web", replicas=1)
    os = web["spec"]["template"]["spec"]["containers"][0]
    os["readinessProbe"]["periodSeconds"] = 180
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    found = await scene.until_condition("HealthProbeSlow")
    assert "two minutes" in found["message"]


@pytest.mark.requirement("O4")
async def test_a_platform_image_comes_from_the_catalogue_only(operator: Operator, scene: Scene) -> None:
    names = {"publisher": "Canonical", "offer": scene.namespace, "sku": "22_04-LTS"}
    web = a_set("web", replicas=2)
    web["spec"]["imageReference"] = names
    elsewhere = an_image("elsewhere", "9.0.0", source="Platform", **names)
    await scene.create(elsewhere, web)
    await scene.until_condition("Reconciling", reason="ImageNotFound")

    platform = an_image(scene.namespace, "22.4.1", source="Platform", **names)
    platform["metadata"]["namespace"] = "scaleset-system"
    await scene.api.create(platform)
    try:
        await scene.until_ready()
        versions = [*platform["spec"]["versions"], {"version": "22.4.2", "image": "registry.example/os/ubuntu:22.4.2"}]
        await scene.api.patch("GalleryImage", "scaleset-system", scene.namespace, {"spec": {"versions": versions}})
        upgrade = await scene.until_ended()
        assert code(upgrade) == "Completed"
        assert upgrade["status"]["targetImageReference"] == {**names, "version": "22.4.2"}
        assert image_of(scene.pods()[0]) == "registry.example/os/ubuntu:22.4.2"
    finally:
        await scene.api.delete("GalleryImage", "scaleset-system", scene.namespace)


@pytest.mark.requirement("O4")
async def test_of_two_images_for_one_sku_the_oldest_wins(operator: Operator, scene: Scene) -> None:
    names = {"publisher": "Contoso", "offer": "base", "sku": "1"}
    web = a_set("web", replicas=1)
    web["spec"]["imageReference"] = names
    await scene.create(an_image("first", "1.0.0", **names), web)
    await scene.until_ready()
    await scene.create(an_image("second", "2.0.0", **names))

    def told() -> bool:
        found = scene.find("GalleryImage", "second") or {}
        conditions = found.get("status", {}).get("conditions", ())
        return any(c["type"] == "Duplicate" and c["status"] == "True" for c in conditions)

    await scene.until(told, what="the condition Duplicate")
    await scene.assert_quiet(0.5)
    assert scene.versions() == ["1.0.0"]
