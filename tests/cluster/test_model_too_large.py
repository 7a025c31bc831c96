"""A set and its extension that each fit into etcd, but not together into one model: Stalled, until the spec changes."""

from __future__ import annotations

import pytest
from builders import Body, a_set, an_extension, an_image, uses
from operators import Operator
from scene import Scene

LARGE = 900_000
"""Bytes: one such object fits, etcd takes 1.5 MiB; two in one don't."""


def ballast(size: int) -> list[Body]:
    return [{"name": f"BALLAST_{n}", "value": "x" * 10_000} for n in range(size // 10_000)]


@pytest.mark.requirement("O15")
async def test_it_is_said_and_the_instances_stay_as_they_are(operator: Operator, scene: Scene) -> None:
    heavy = an_extension("monitor", "1.0.0")
    heavy["spec"]["container"]["env"] = ballast(LARGE)
    await scene.create(an_image("ubuntu", "1.0.0"), heavy, a_set("web", replicas=2))
    await scene.until_ready()
    pods, model = scene.uids("Pod"), scene.status()["currentModel"]

    container = {"env": ballast(LARGE)}
    await scene.change("ScaleSet", "web", **a_set("web", container=container, extensions=[uses("monitor")])["spec"])
    found = await scene.until_condition("Stalled", reason="ModelRefused")
    assert "too large" in found["message"] or "larger than max" in found["message"]
    await scene.until_event("ModelRefused")
    assert (scene.uids("Pod"), scene.status()["currentModel"]) == (pods, model)

    await scene.change("ScaleSet", "web", extensions=[], template=a_set("web")["spec"]["template"])
    await scene.until_condition("Stalled", status="False")
    await scene.until(lambda: not scene.condition("ModelRefused"), what="the condition to go")
    assert scene.uids("Pod") == pods
