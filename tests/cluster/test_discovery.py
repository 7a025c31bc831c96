"""New versions come from a registry by themselves: a real one on loopback, whose tags the operator watches (O1, E1)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_set, an_extension, an_image, follows
from operators import Operators
from scene import Body, Scene, condition, image_of, installed

from registries import PASSWORD, USER, Registry, TokenServer
from scalesets.kube.names import FIELD_MANAGER

INTERVAL = "PT10S"
LISTED = "--discovery-registries=127.0.0.1"
REPOSITORY = "os/ubuntu"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
async def asking(own_operators: Operators, scene: Scene) -> AsyncIterator[None]:
    """An operator that may ask a registry on loopback. It gives its Lease back, for the next not to wait for it."""
    operator = own_operators.new(LISTED).start()
    yield
    operator.stop()


def discovery(registry: Registry, repository: str = REPOSITORY, **fields: Any) -> Body:
    return {"repository": f"{registry.host}/{repository}", "interval": INTERVAL, "plainHTTP": True, **fields}


def a_discovering_image(registry: Registry, *versions: str | Body, **fields: Any) -> Body:
    return an_image("ubuntu", *versions, discovery=discovery(registry, **fields))


def pull_secret(registry: Registry, password: str) -> Body:
    auths = {registry.host: {"username": USER, "password": password}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps({"auths": auths}).encode()).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull"},
        "data": data,
    }


def said(scene: Scene, kind: str = "Discovered", *, of: str = "GalleryImage", name: str = "ubuntu") -> Body:
    return condition(scene.find(of, name) or {}, kind)


def says(scene: Scene, reason: str, *words: str, kind: str = "Discovered") -> Callable[[], bool]:
    def holds() -> bool:
        found = said(scene, kind)
        return found.get("reason") == reason and all(word in found["message"] for word in words)

    return holds


def discovered(scene: Scene, of: str = "GalleryImage", name: str = "ubuntu") -> dict[str, Body]:
    found = ((scene.find(of, name) or {}).get("status") or {}).get("discovered") or ()
    return {each["version"]: each for each in found}


async def until_found(scene: Scene, *versions: str) -> None:
    await scene.until(lambda: set(discovered(scene)) == set(versions), what=f"{versions} to be discovered")


@pytest.mark.requirement("O1", "O2")
async def test_a_pushed_tag_is_rolled_out(asking: None, scene: Scene, registry: Registry) -> None:
    first = registry.push(REPOSITORY, "1.0.0")
    registry.push(REPOSITORY, "latest", "1.0.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=3))
    await scene.until_ready()
    assert image_of(scene.pods()[0]) == f"{registry.host}/{REPOSITORY}:1.0.0@{first}"
    assert says(scene, "Current", "1 version of", "1 tag without a version (latest)")()

    second = registry.push(REPOSITORY, "v1.1.0", index=True)
    await scene.until_on("1.1.0")

    assert {image_of(pod) for pod in scene.pods().values()} == {f"{registry.host}/{REPOSITORY}:v1.1.0@{second}"}
    upgrade = await scene.until_ended()
    assert upgrade["spec"]["startedBy"] == "Platform"
    image = scene.find("GalleryImage", "ubuntu")
    assert image is not None
    assert image["metadata"]["generation"] == 1, "the spec is the user's"
    ours = [m for m in image["metadata"]["managedFields"] if m["manager"] == FIELD_MANAGER]
    assert {m.get("subresource") for m in ours} == {"status"}
    assert condition(image, "Ready")["status"] == "True"
    assert (await scene.until_event("VersionsDiscovered"))["message"] == "found 1.0.0"


async def test_the_spec_keeps_a_discovered_version_from_being_the_latest(
    asking: None, scene: Scene, registry: Registry
) -> None:
    registry.push(REPOSITORY, "1.0.0")
    by_tag = {"version": "2.0.0", "image": f"{registry.host}/{REPOSITORY}:2.0.0", "excludeFromLatest": True}
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.set_versions("ubuntu", [by_tag])
    registry.push(REPOSITORY, "2.0.0")
    await until_found(scene, "2.0.0", "1.0.0")
    registry.push(REPOSITORY, "1.5.0")
    await scene.until_on("1.5.0")
    assert not said(scene, "ImageChanged")

    await scene.set_versions("ubuntu", [])
    await scene.until_on("2.0.0")
    assert not said(scene, "ImageChanged"), "by tag and by digest it is one image"


async def test_a_tag_that_moves_is_not_followed(asking: None, scene: Scene, registry: Registry) -> None:
    before = registry.push(REPOSITORY, "1.0.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()
    uids = scene.uids()

    registry.push(REPOSITORY, "1.0.0", "something else")
    await scene.until(lambda: said(scene, "ImageChanged").get("status") == "True", what="ImageChanged")
    assert says(scene, "ImageChanged", "1.0.0", kind="Stalled")()
    assert scene.uids() == uids
    assert image_of(scene.pods()[0]).endswith(before)

    registry.push(REPOSITORY, "1.0.1")
    await scene.until_on("1.0.1")


async def test_a_deleted_tag_is_withdrawn_and_forces_nobody_off(asking: None, scene: Scene, registry: Registry) -> None:
    registry.push(REPOSITORY, "1.0.0")
    registry.push(REPOSITORY, "1.1.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()
    assert set(scene.versions()) == {"1.1.0"}

    registry.delete(REPOSITORY, "1.1.0")
    assert "1.1.0" in (await scene.until_event("VersionsWithdrawn"))["message"]
    await until_found(scene, "1.0.0")
    await scene.change("ScaleSet", "web", replicas=3)
    await scene.until_ready(replicas=3)
    assert scene.versions() == ["1.1.0", "1.1.0", "1.0.0"], "only new ones get what is offered now"


async def test_without_discovery_who_is_lost_comes_back_on_its_version(
    asking: None, scene: Scene, registry: Registry
) -> None:
    digest = registry.push(REPOSITORY, "1.0.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.patch("GalleryImage", "ubuntu", {"spec": {"discovery": None}})
    await until_found(scene)
    uids = scene.uids()

    await scene.delete("Pod", "web-1")
    await scene.until(lambda: len(scene.pods()) == 2 and scene.uids() != uids, what="web-1 to be made anew")
    await scene.until_ready()
    assert image_of(scene.pods()[1]).endswith(f":1.0.0@{digest}")


async def test_a_registry_that_is_away_takes_nothing_with_it(asking: None, scene: Scene, registry: Registry) -> None:
    registry.push(REPOSITORY, "1.0.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()

    registry.stop()
    await scene.until(says(scene, "RegistryUnreachable", registry.host, "refused", "stays"), what="the registry away")
    assert set(discovered(scene)) == {"1.0.0"}
    assert said(scene, "Ready")["status"] == "True"
    await scene.change("ScaleSet", "web", replicas=3)
    await scene.until_ready(replicas=3)
    assert (await scene.until_event("DiscoveryFailed"))["type"] == "Warning"

    registry.start()
    registry.push(REPOSITORY, "1.1.0")
    await scene.until_on("1.1.0")
    assert said(scene)["status"] == "True"


async def test_what_is_found_is_written_once(asking: None, scene: Scene, registry: Registry) -> None:
    registry.push(REPOSITORY, "1.0.0")
    await scene.create(a_discovering_image(registry), a_set("web", replicas=2))
    await scene.until_ready()
    await scene.assert_quiet(2.0)
    del scene.referee.violations[:]
    log = registry.directory / "registry.log"
    asked = log.read_text().count("/tags/list")
    version = scene.find("GalleryImage", "ubuntu")["metadata"]["resourceVersion"]

    await scene.until(lambda: log.read_text().count("/tags/list") >= asked + 2, what="two more questions")
    await scene.assert_quiet(1.0)
    assert scene.find("GalleryImage", "ubuntu")["metadata"]["resourceVersion"] == version


async def test_credentials_come_from_a_secret_and_are_renewed(
    asking: None, scene: Scene, tmp_path: Path, may_read_secrets: None
) -> None:
    with Registry(tmp_path / "registry", password=True) as registry:
        registry.push(REPOSITORY, "1.0.0")
        image = a_discovering_image(registry, pullSecretRef={"name": "pull"})
        await scene.create(image, a_set("web", replicas=2))
        await scene.until(says(scene, "PullSecretUnusable", "no Secret pull", scene.namespace), what="it to be missed")
        assert said(scene, "Reconciling")["status"] == "True"

        await scene.create(pull_secret(registry, "wrong"))
        await scene.until(says(scene, "RegistryRefused", "401", "pullSecretRef"), what="the refusal")
        await scene.patch("Secret", "pull", {"data": pull_secret(registry, PASSWORD)["data"]})
        await scene.until_ready(within=60)
        assert set(scene.versions()) == {"1.0.0"}
        stored = json.dumps(scene.find("GalleryImage", "ubuntu")) + json.dumps(scene.all("Event"))
        assert PASSWORD not in stored


async def test_a_registry_that_wants_a_token_gets_one(
    asking: None, scene: Scene, tmp_path: Path, may_read_secrets: None
) -> None:
    with TokenServer().serving() as tokens, Registry(tmp_path / "registry", tokens=tokens) as registry:
        registry.push(REPOSITORY, "1.0.0")
        image = a_discovering_image(registry, pullSecretRef={"name": "pull"})
        await scene.create(pull_secret(registry, PASSWORD), image, a_set("web", replicas=2))
        await scene.until_ready()
        assert {scope for query in tokens.asked for scope in query["scope"]} == {f"repository:{REPOSITORY}:pull"}


async def test_who_may_not_read_the_secret_says_so(asking: None, scene: Scene, registry: Registry) -> None:
    await scene.create(a_discovering_image(registry, pullSecretRef={"name": "pull"}))
    await scene.until(says(scene, "PullSecretUnusable", "may not read Secret pull", "by a Role"), what="the refusal")


@pytest.mark.requirement("E1")
async def test_extensions_are_discovered_alike(asking: None, scene: Scene, registry: Registry) -> None:
    registry.push("ext/monitor", "1.0.0")
    spec = {"supportsAutomaticUpgrade": True, "discovery": discovery(registry, "ext/monitor")}
    await scene.create(
        an_image("ubuntu", "1.0.0"),
        an_extension("monitor", **spec),
        a_set("web", replicas=2, extensions=[follows("monitor")]),
    )
    await scene.until_ready()
    uids = scene.uids()
    registry.push("ext/monitor", "1.1.0")
    await scene.until(
        lambda: {installed(pod).get("monitor") for pod in scene.pods().values()} == {"1.1.0"},
        what="the extension on 1.1.0",
    )
    assert scene.uids() == uids
    await scene.until_ended()


async def test_loopback_and_metadata_addresses_are_refused(
    own_operators: Operators, scene: Scene, registry: Registry
) -> None:
    own_operators.new().start()
    registry.push(REPOSITORY, "1.0.0")
    asked = (registry.directory / "registry.log").read_text().count("/tags/list")
    await scene.create(a_discovering_image(registry))
    await scene.until(says(scene, "RegistryNotAllowed", "--discovery-registries"), what="loopback to be refused")
    assert said(scene, "Stalled")["status"] == "True"
    await scene.change("GalleryImage", "ubuntu", discovery={"repository": "169.254.169.254/latest/meta-data"})
    await scene.until(says(scene, "RegistryNotAllowed", "metadata"), what="the metadata service to be refused")
    assert (registry.directory / "registry.log").read_text().count("/tags/list") == asked


async def test_it_can_be_switched_off(own_operators: Operators, scene: Scene, registry: Registry) -> None:
    operator = own_operators.new(LISTED).start()
    registry.push(REPOSITORY, "1.0.0")
    await scene.create(a_discovering_image(registry))
    await until_found(scene, "1.0.0")
    operator.stop()
    own_operators.new(LISTED, "--no-discovery").start()
    await scene.until(says(scene, "DiscoveryOff", "--no-discovery", "stays"), what="it to be said")
    assert set(discovered(scene)) == {"1.0.0"}
