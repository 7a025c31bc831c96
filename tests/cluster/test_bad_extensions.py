"""Extensions that can't be: refused by the API server with the field's name, or said in a condition, by name."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_secret, a_set, an_extension, an_image, uses
from operators import Operator
from scene import Scene

from apiclient import Refused


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        pytest.param(
            [uses("monitor"), uses("again", type="monitor")],
            'extensions ["monitor", "again"] must differ in publisher or type: remove one',
            id="two-of-one-type",
        ),
        pytest.param(
            [uses("proxy", type="monitor")],
            'extensions must not be named as a container of the template: rename one of those named ["proxy"]',
            id="a-containers-name",
        ),
        pytest.param([uses("os", type="monitor")], "name can't be os or custom-data", id="the-name-of-os"),
        pytest.param(
            [uses("monitor", settings='{"level": ')],
            'spec.extensions[0].settings: Invalid value: "string"',
            id="settings-that-are-no-json",
        ),
        pytest.param(
            [uses("monitor", provisionAfterExtensions=["gone"])],
            'provisionAfterExtensions must name extensions that stand here: add [["gone"]]',
            id="after-one-that-is-not-there",
        ),
    ],
)
async def test_what_the_api_server_refuses(scene: Scene, extensions: list[Any], words: str) -> None:
    body = a_set("web", extensions=extensions)
    body["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "registry.example/proxy:1"})
    with pytest.raises(Refused) as refused:
        await scene.create(body)
    assert words in str(refused.value)


@pytest.mark.requirement("E14")
async def test_one_for_another_operating_system(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), an_extension("monitor", "1.0.0", osType="Windows"))
    await scene.create(a_set("web", replicas=2, extensions=[uses("monitor")]))
    found = await scene.until_condition("Reconciling", reason="ExtensionNotFound")
    assert found["message"] == (
        "extension monitor: Example/monitor is for Windows, but image ubuntu is Linux: take one for Linux"
    )
    assert not scene.pods()
    await scene.create(an_extension("agent", "1.0.0"))
    await scene.change("ScaleSet", "web", extensions=[uses("agent")])
    await scene.until_ready()


@pytest.mark.requirement("E8c")
async def test_one_without_a_version_of_the_wanted_major(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), an_extension("monitor", "1.0.0"))
    await scene.create(a_set("web", replicas=2, extensions=[uses("monitor", "2.0")]))
    found = await scene.until_condition("Reconciling", reason="ExtensionNotFound")
    assert "extension monitor: no version of Example/monitor for typeHandlerVersion 2.0" in found["message"]
    await scene.publish_extension("monitor", "2.0.1")
    await scene.until_ready()


@pytest.mark.requirement("O15", "O21")
async def test_a_secret_that_is_not_there_when_instances_are_made(
    operator: Operator, scene: Scene, may_read_secrets: None
) -> None:
    """A pod that waits for its volumes says nothing: what is missing is looked for."""
    keys = {"protectedSettingsFrom": {"secretRef": {"name": "keys"}}}
    await scene.create(an_image("ubuntu", "1.0.0"), an_extension("monitor", "1.0.0"))
    await scene.create(a_set("web", replicas=2, extensions=[uses("monitor", **keys)]))
    found = await scene.until_condition("Reconciling", reason="ExternalResourceMissing")
    assert found["message"] == "Secret keys is missing (extension monitor)"
    await scene.create(a_secret("keys", token="here"))
    await scene.until_ready()
    await scene.until(lambda: not scene.condition("ExternalResources"), within=60, what="the condition to go")


@pytest.mark.requirement("O21")
async def test_a_secret_that_nobody_may_look_for_and_that_is_not_there(operator: Operator, scene: Scene) -> None:
    variable = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, container={"env": [variable]}))

    def named() -> bool:
        return 'secret "keys" not found' in scene.condition("Reconciling").get("message", "")

    await scene.until(named, within=20, what="the machine's own words")
    await scene.create(a_secret("keys", token="here"))
    await scene.until_ready()
