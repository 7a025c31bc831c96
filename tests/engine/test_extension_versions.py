"""Which version of an extension is installed at creation, by a model update and by an automatic upgrade, for every
combination of `autoUpgradeMinorVersion`, `enableAutomaticUpgrade` and `typeHandlerVersion` (E8a, E8b, E8c).
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.world import FIRST_MODEL, MINUTE, World
from scalesets.engine.view import ModelExtension, OSUpgradePolicy

KEY = "acme/agent"
PUBLISHED = ("8.9.0", "9.0.0", "9.0.4", "9.5.0", "9.5.1", "9.5.3", "9.6.0", "10.0.0")
NEWER = "9.7.0"

# named, autoUpgradeMinorVersion -> installed at creation
AT_CREATION = {
    ("9", True): "9.6.0",
    ("9.5", True): "9.6.0",
    ("9.5.1", True): "9.6.0",
    ("9", False): "9.0.4",
    ("9.5", False): "9.5.3",
    ("9.5.1", False): "9.5.1",
}


def a_set(named: str, *, minor: bool, automatic: bool) -> World:
    agent = ModelExtension("agent", KEY, named, auto_upgrade_minor_version=minor, enable_automatic_upgrade=automatic)
    world = World(model=replace(FIRST_MODEL, extensions=(agent,)), os_policy=OSUpgradePolicy())
    world.publish("1.0.0").publish_extension(KEY, *PUBLISHED)
    return world


def installed(world: World) -> str:
    (version,) = {dict(pod.release.extensions)["agent"] for pod in world.pods.values()}
    return version


@pytest.mark.requirement("E8a", "E8b", "E8c")
@pytest.mark.parametrize("automatic", [False, True], ids=["by hand", "automatic"])
@pytest.mark.parametrize(("named", "minor"), AT_CREATION)
def test_every_combination(named: str, minor: bool, automatic: bool) -> None:
    world = a_set(named, minor=minor, automatic=False).run(MINUTE)
    at_creation = AT_CREATION[named, minor]
    assert installed(world) == at_creation

    world.change_model("m2", "c1", extensions=(replace(world.model.extensions[0], enable_automatic_upgrade=automatic),))
    world.publish_extension(KEY, NEWER, "10.1.0").run()
    upgraded = NEWER if automatic else at_creation
    assert installed(world) == upgraded, "the newest minor of the installed major, for either value"

    world.change_model("m3", "with other settings")
    world.run()
    assert {pod.release.model for pod in world.pods.values()} == {"m3"}
    assert installed(world) == (NEWER if minor else upgraded), "a model update installs a newer minor only if told to"


@pytest.mark.requirement("E8c")
@pytest.mark.parametrize("minor", [False, True])
def test_another_major_takes_another_type_handler_version(minor: bool) -> None:
    world = a_set("9", minor=minor, automatic=True).run()
    assert installed(world) == "9.6.0"
    agent = replace(world.model.extensions[0], type_handler_version="10")
    world.change_model("m2", extensions=(agent,))
    world.run()
    assert installed(world) == "10.0.0"


@pytest.mark.requirement("E8a")
def test_a_new_instance_beside_upgraded_ones_gets_what_the_model_says() -> None:
    """Automatic upgrade acts on existing instances, not on what is installed at creation (E8b); then it catches up."""
    world = a_set("9.5", minor=False, automatic=True).run()
    assert installed(world) == "9.6.0"
    world.replicas += 1
    world.run(until=lambda w: len(w.pods) == w.replicas)
    assert dict(world.pods[world.replicas - 1].release.extensions)["agent"] == "9.5.3"
    world.run()
    assert installed(world) == "9.6.0"
