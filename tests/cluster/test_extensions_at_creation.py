"""Extensions and custom data are set up on every new OS disk, in order, and judge its health (O3, O6, O7)."""

from __future__ import annotations

import pytest
from builders import a_set, an_extension, an_image, uses
from operators import Operator
from scene import Body, Scene, code, image_of, installed, progress


def init_containers(pod: Body) -> list[str]:
    return [c["name"] for c in pod["spec"].get("initContainers", ())]


@pytest.mark.requirement("O6", "O7")
async def test_they_are_installed_in_order_and_again_by_an_os_upgrade(operator: Operator, scene: Scene) -> None:
    settings = {"port": 8080, "text": "costs $5"}
    extensions = [
        uses("app", provisionAfterExtensions=["monitor", "agent"]),
        uses("monitor", settings=settings, provisionAfterExtensions=["agent"]),
        uses("agent", autoUpgradeMinorVersion=True),
    ]
    web = a_set("web", replicas=3, extensions=extensions, osProfile={"customData": "echo hello > /data/motd"})
    web["spec"]["template"]["spec"]["initContainers"] = [{"name": "migrate", "image": "registry.example/migrate:1"}]
    for name, versions in (("app", ["1.0.0"]), ("monitor", ["1.0.0", "1.1.0"]), ("agent", ["1.0.0", "1.2.0"])):
        await scene.create(an_extension(name, *versions))
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    first = scene.pods()[0]
    assert init_containers(first) == ["custom-data", "agent", "monitor", "app", "migrate"]
    assert installed(first) == {"agent": "1.2.0", "app": "1.0.0", "monitor": "1.0.0"}
    assert image_of(first, "agent") == "registry.example/ext/agent:1.2.0"
    assert image_of(first, "custom-data") == "registry.example/os/ubuntu:1.0.0"
    monitor = next(c for c in first["spec"]["initContainers"] if c["name"] == "monitor")
    assert monitor["restartPolicy"] == "Always", "a native sidecar"
    values = {e["name"]: e.get("value") for e in monitor["env"]}
    assert values["EXTENSION_SETTINGS"] == '{"port":8080,"text":"costs $$5"}'

    stored = await scene.api.get("Extension", scene.namespace, "agent")
    newer = {"version": "1.3.0", "image": "registry.example/ext/agent:1.3.0"}
    await scene.change("Extension", "agent", versions=[*stored["spec"]["versions"], newer])
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0))
    for pod in scene.pods().values():
        assert init_containers(pod) == ["custom-data", "agent", "monitor", "app", "migrate"]
        assert installed(pod) == {"agent": "1.2.0", "app": "1.0.0", "monitor": "1.0.0"}, "their versions are kept"
        assert image_of(pod, "custom-data") == "registry.example/os/ubuntu:2.0.0", "it runs again on the new disk"
    assert {e["name"]: e["version"] for e in scene.status()["extensions"]} == installed(first)


@pytest.mark.requirement("O3", "O12")
async def test_the_health_extension_judges_an_upgrade(operator: Operator, scene: Scene) -> None:
    """The application's own probe says nothing: what the extension reports counts."""
    await scene.create(an_extension("health", "1.0.0", health=True), an_image("ubuntu", "1.0.0"))
    await scene.create(a_set("web", replicas=5, probe=False, extensions=[uses("health")]))
    await scene.until_ready()
    eligible = await scene.until_condition("AutomaticOSUpgradeEligible")
    assert eligible["reason"] == "Eligible"
    await scene.publish("ubuntu", "2.0.0", "broken")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Faulted", (0, 1, 0, 4))
    await scene.until_on("1.0.0")


@pytest.mark.requirement("O3")
async def test_an_instance_is_healthy_only_when_its_extensions_are(operator: Operator, scene: Scene) -> None:
    await scene.create(an_extension("monitor", "1.0.0"), an_extension("flaky", "1.0.0", word="broken"))
    await scene.create(an_image("ubuntu", "1.0.0"))
    await scene.create(a_set("web", replicas=2, extensions=[uses("monitor")]))
    await scene.until_ready()
    await scene.change("ScaleSet", "web", extensions=[uses("monitor"), uses("flaky")])
    upgrade = await scene.until_ended()
    assert (upgrade["spec"]["type"], code(upgrade), progress(upgrade)) == ("Model", "Faulted", (0, 1, 0, 1))
    assert scene.status()["readyReplicas"] == 1
