"""What the API server doesn't let the operator read or store: said in a condition and an event; nothing is guessed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from builders import API_VERSION, a_set, an_image
from faultproxy import Answer, Fault, FaultProxy, Request
from operators import Operator, Operators
from scene import Scene, batches, code, progress

from scalesets.local.controlplane import ControlPlane

INVALID = Answer(422, "Invalid", "RollingUpgrade.scalesets.dev is invalid: status.batches: Invalid value")
NO_NODES = Answer(403, "Forbidden", 'nodes is forbidden: User "op" cannot list resource "nodes"')


@pytest.fixture
async def proxy(own_operators: Operators, control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    """The way of an operator of the test's own, which is at work."""
    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        operator = own_operators.new("--no-leader-election", kubeconfig=proxy.kubeconfig)
        await asyncio.to_thread(operator.start)
        yield proxy


async def test_without_a_look_at_nodes_a_set_with_zones_waits_and_others_do_not(
    proxy: FaultProxy, scene: Scene
) -> None:
    def no_nodes(request: Request) -> Fault | None:
        return NO_NODES if request.path == "/api/v1/nodes" else None

    proxy.rule = no_nodes
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2, zones=["1", "2"]), a_set("plain"))
    found = await scene.until_condition("ZonesUnknown")
    assert "give the operator list on nodes" in found["message"]
    assert scene.condition("Reconciling")["reason"] == "ZonesUnknown"
    await scene.until_event("ZonesUnknown")
    await scene.until_ready("plain")
    assert not scene.pods()

    proxy.rule = None
    await scene.until_ready()
    assert scene.status()["zonesBacked"] is False
    assert not scene.condition("ZonesUnknown")


@pytest.mark.requirement("O22")
async def test_an_upgrade_whose_status_is_refused_waits_and_goes_on_from_there(proxy: FaultProxy, scene: Scene) -> None:
    def refuse(request: Request) -> Fault | None:
        return INVALID if request.write and "/rollingupgrades/" in request.path else None

    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5, rolling={"healthTimeout": "PT30S"}))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    proxy.rule = refuse
    found = await scene.until_condition("WriteRefused")
    assert "the status of RollingUpgrade web-os-" in found["message"]
    assert INVALID.message in found["message"]
    await scene.until_event("WriteRefused")
    await scene.delete("Pod", "web-4", gracePeriodSeconds=0)
    await scene.until(lambda: 4 in scene.pods(), what="what is lost meanwhile to come back")
    number = len(batches(scene.upgrades()[0]))

    proxy.rule = None
    upgrade = await scene.until_ended(within=90)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0))
    assert number < len(batches(upgrade)) == 5
    await scene.until(lambda: not scene.condition("WriteRefused"), what="the condition to go")
    assert proxy.injected.total() < 40, "no loop"


@asynccontextmanager
async def webhook_that_is_down(scene: Scene) -> AsyncIterator[None]:
    """Pods of this namespace must pass a webhook, and nobody answers there."""
    name, kind = f"down.{scene.namespace}.example", "ValidatingWebhookConfiguration"
    hook = {
        "name": name,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    group = "admissionregistration.k8s.io/v1"
    body = {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]}
    kubectl = scene.control_plane.kubectl
    await asyncio.to_thread(kubectl, "create", "-f", "-", stdin=json.dumps(body))
    try:
        yield
    finally:
        await asyncio.to_thread(kubectl, "delete", kind, name)


async def test_a_webhook_that_is_down_holds_the_batch_and_is_said(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    pods = scene.uids("Pod")
    async with webhook_that_is_down(scene):
        await scene.until(lambda: asks_the_webhook(scene), what="the API server to ask the webhook")
        await scene.publish("ubuntu", "2.0.0")
        found = await scene.until_condition("WriteRefused", within=45)
        assert "could not be tried by a dry run" in found["message"]
        assert "failed calling webhook" in found["message"]
        await scene.until_event("WriteRefused")
        assert scene.uids("Pod") == pods
        assert not [b for u in scene.upgrades() for b in batches(u)]
    upgrade = await scene.until_ended(within=90)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (5, 0, 0, 0))
    await scene.until(lambda: not scene.condition("WriteRefused"), what="the condition to go")


def asks_the_webhook(scene: Scene) -> bool:
    """It takes a moment to read a new configuration."""
    run = ("run", "probe", "--image=x", "--dry-run=server", f"--namespace={scene.namespace}")
    return "failed calling webhook" in scene.control_plane.kubectl(*run, check=False)


async def test_an_upgrade_of_another_set_has_the_name(operator: Operator, scene: Scene) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2), a_set("other", replicas=0))
    await scene.until_ready()
    uid = scene.set()["metadata"]["uid"]
    name = f"web-os-{hashlib.sha256(f'{uid}/OSImage/2.0.0/0'.encode()).hexdigest()[:8]}"
    spec = {"scaleSet": "nobody", "type": "OSImage"}
    await scene.create({"apiVersion": API_VERSION, "kind": "RollingUpgrade", "metadata": {"name": name}, "spec": spec})
    await scene.publish("ubuntu", "2.0.0")
    found = await scene.until_condition("UpgradeNameConflict")
    assert f"RollingUpgrade {name} is not of this set but of scaleSet nobody" in found["message"]
    await scene.until_event("UpgradeNameConflict")
    assert set(scene.versions()) == {"1.0.0"}
    assert "finalizers" not in scene.upgrade(name)["metadata"], "it isn't touched"

    await scene.delete("RollingUpgrade", name)
    upgrade = await scene.until_ended(name)
    assert code(upgrade) == "Completed"
    await scene.until_on("2.0.0")
    assert not scene.condition("UpgradeNameConflict")
