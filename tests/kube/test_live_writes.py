"""What the writes rest on, asked of the real API server under the operator's own role."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from scalesets.engine.decision import PatchExtension
from scalesets.kube.client import STRATEGIC_PATCH, Cluster, Outcome, Refusal, connect
from scalesets.kube.kinds import CLAIMS, CONFIG_MAPS, LEASES, NODES, PODS, SCALE_SETS, SECRETS, UPGRADES, Kind
from scalesets.kube.pods import extension_patch, label_patch
from scalesets.kube.stats import Stats
from scalesets.kube.upgrades import release_patch
from scalesets.local.controlplane import ControlPlane

NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    cluster = await connect(Stats(), kubeconfig=str(control_plane.kubeconfig))
    yield cluster
    await cluster.close()


@pytest.fixture
async def operator(control_plane: ControlPlane) -> AsyncIterator[Cluster]:
    cluster = await connect(Stats(), kubeconfig=str(control_plane.operator_kubeconfig))
    yield cluster
    await cluster.close()


@pytest.fixture
async def namespace(admin: Cluster) -> AsyncIterator[str]:
    name = f"writes-{uuid.uuid4().hex[:8]}"
    made = await admin.create(NAMESPACES, "", {"metadata": {"name": name}})
    yield name
    await admin.delete(NAMESPACES, "", name, uid=made["metadata"]["uid"])


def a_pod(name: str = "web-0") -> dict[str, Any]:
    # No node has this label, so the machines leave it alone.
    spec = {"nodeSelector": {"no": "node"}, "containers": [{"name": "os", "image": "registry.example/os:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def a_set(name: str = "web") -> dict[str, Any]:
    reference = {"publisher": "P", "offer": "o", "sku": "s"}
    template = {"spec": {"containers": [{"name": "os"}]}}
    spec = {"replicas": 0, "imageReference": reference, "template": template}
    return {"apiVersion": SCALE_SETS.api_version, "kind": "ScaleSet", "metadata": {"name": name}, "spec": spec}


async def refused(awaitable: Any) -> Outcome:
    with pytest.raises(Refusal) as caught:
        await awaitable
    return caught.value.outcome


async def test_a_stale_status_write_is_a_conflict_and_changes_nothing(
    admin: Cluster, operator: Cluster, namespace: str
) -> None:
    first = await admin.create(SCALE_SETS, namespace, a_set())
    version = first["metadata"]["resourceVersion"]
    stored = await operator.write_status(SCALE_SETS, namespace, "web", {"replicas": 1}, version=version)
    assert stored["status"] == {"replicas": 1}
    stale = operator.write_status(SCALE_SETS, namespace, "web", {"replicas": 2}, version=version)
    assert await refused(stale) is Outcome.CONFLICT
    assert (await operator.get(SCALE_SETS, namespace, "web"))["status"] == {"replicas": 1}


async def test_a_status_write_replaces_the_whole_and_costs_nothing_when_nothing_changes(
    admin: Cluster, operator: Cluster, namespace: str
) -> None:
    raw = await admin.create(SCALE_SETS, namespace, a_set())
    for status in ({"replicas": 1, "imageVersion": "1.0.0"}, {"replicas": 1}):
        raw = await operator.write_status(
            SCALE_SETS, namespace, "web", status, version=raw["metadata"]["resourceVersion"]
        )
    assert raw["status"] == {"replicas": 1}
    version = raw["metadata"]["resourceVersion"]
    again = await operator.write_status(SCALE_SETS, namespace, "web", {"replicas": 1}, version=version)
    assert again["metadata"]["resourceVersion"] == version


async def test_a_pod_of_another_uid_is_neither_deleted_nor_patched(operator: Cluster, namespace: str) -> None:
    pod = await operator.create(PODS, namespace, a_pod())
    other = str(uuid.uuid4())
    assert await refused(operator.delete(PODS, namespace, "web-0", uid=other)) is Outcome.CONFLICT
    patch = operator.patch(PODS, namespace, "web-0", label_patch(other, [("a", "b")]))
    assert await refused(patch) in (Outcome.CONFLICT, Outcome.INVALID)
    now = (await operator.get(PODS, namespace, "web-0"))["metadata"]
    assert now["uid"] == pod["metadata"]["uid"]
    assert "deletionTimestamp" not in now
    assert "labels" not in now


@pytest.mark.requirement("E9")
async def test_an_extension_of_a_running_pod_is_patched_by_uid_and_nothing_else_changes(
    operator: Cluster, namespace: str
) -> None:
    body = a_pod()
    sidecars = [
        {"name": n, "image": f"registry.example/{n}:1", "restartPolicy": "Always"} for n in ("agent", "monitor")
    ]
    body["spec"]["initContainers"] = sidecars
    pod = await operator.create(PODS, namespace, body)
    other = extension_patch(PatchExtension(0, str(uuid.uuid4()), "monitor", "2", "id"), "registry.example/monitor:2")
    refusal = await refused(operator.patch(PODS, namespace, "web-0", other, how=STRATEGIC_PATCH))
    assert refusal in (Outcome.CONFLICT, Outcome.INVALID)

    wanted = extension_patch(
        PatchExtension(0, pod["metadata"]["uid"], "monitor", "2", "id"), "registry.example/monitor:2"
    )
    patched = await operator.patch(PODS, namespace, "web-0", wanted, how=STRATEGIC_PATCH)
    before = {c["name"]: c for c in pod["spec"]["initContainers"]}
    after = {c["name"]: c for c in patched["spec"]["initContainers"]}
    assert list(after) == list(before), "their order is kept"
    assert after == {**before, "monitor": {**before["monitor"], "image": "registry.example/monitor:2"}}
    noted = {"extension.scalesets.dev/monitor": "2", "extension.scalesets.dev/monitor.before": "id"}
    assert patched["metadata"]["annotations"] == noted
    again = extension_patch(PatchExtension(0, pod["metadata"]["uid"], "monitor", "1", ""), "registry.example/monitor:1")
    patched = await operator.patch(PODS, namespace, "web-0", again, how=STRATEGIC_PATCH)
    assert patched["metadata"]["annotations"] == {"extension.scalesets.dev/monitor": "1"}

    unknown = extension_patch(PatchExtension(0, pod["metadata"]["uid"], "nobody", "1", ""), "registry.example/nobody:1")
    assert await refused(operator.patch(PODS, namespace, "web-0", unknown, how=STRATEGIC_PATCH)) is Outcome.INVALID


async def test_the_answer_of_a_write_carries_what_the_cache_needs(operator: Cluster, namespace: str) -> None:
    pod = await operator.create(PODS, namespace, a_pod())
    assert await refused(operator.create(PODS, namespace, a_pod())) is Outcome.EXISTS
    patched = await operator.patch(PODS, namespace, "web-0", label_patch(pod["metadata"]["uid"], [("a", "b")]))
    assert int(patched["metadata"]["resourceVersion"]) > int(pod["metadata"]["resourceVersion"])
    gone = await operator.delete(PODS, namespace, "web-0", uid=pod["metadata"]["uid"])
    assert (gone["kind"], gone["metadata"]["uid"]) == ("Pod", pod["metadata"]["uid"])
    assert await refused(operator.delete(PODS, namespace, "web-0", uid=pod["metadata"]["uid"])) is Outcome.MISSING


async def test_a_dry_run_is_strict_and_leaves_nothing(operator: Cluster, namespace: str) -> None:
    await operator.create(PODS, namespace, a_pod(), dry_run=True)
    wrong = a_pod()
    wrong["spec"]["containres"] = []
    assert await refused(operator.create(PODS, namespace, wrong, dry_run=True)) is Outcome.INVALID
    assert await operator.all(PODS, namespace) == []


async def test_taking_the_finalizer_off_lets_a_deleted_upgrade_go(operator: Cluster, namespace: str) -> None:
    metadata = {"name": "web-os-1", "finalizers": ["scalesets.dev/finish-batch", "example.org/other"]}
    spec = {"scaleSet": "web", "type": "OSImage", "startedBy": "User"}
    body = {"apiVersion": UPGRADES.api_version, "kind": "RollingUpgrade", "metadata": metadata, "spec": spec}
    raw = await operator.create(UPGRADES, namespace, body)
    raw = await operator.delete(UPGRADES, namespace, "web-os-1", uid=raw["metadata"]["uid"])
    assert raw["metadata"]["deletionTimestamp"]
    raw = await operator.patch(UPGRADES, namespace, "web-os-1", release_patch(raw), how="application/json-patch+json")
    assert raw["metadata"]["finalizers"] == ["example.org/other"]
    await operator.patch(UPGRADES, namespace, "web-os-1", {"metadata": {"finalizers": None}})
    assert await refused(operator.get(UPGRADES, namespace, "web-os-1")) is Outcome.MISSING


async def test_lists_come_in_pages_of_one_version(operator: Cluster, namespace: str) -> None:
    for number in range(5):
        await operator.create(PODS, namespace, a_pod(f"web-{number}"))
    pages = [([p["metadata"]["name"] for p in items], v) async for items, v in operator.pages(PODS, namespace, page=2)]
    assert [len(names) for names, _ in pages] == [2, 2, 1]
    assert len({version for _, version in pages}) == 1


@pytest.mark.parametrize("kind", [SCALE_SETS, UPGRADES, PODS, CLAIMS, NODES, LEASES], ids=lambda kind: kind.plural)
async def test_the_role_is_enough_to_read(operator: Cluster, namespace: str, kind: Kind) -> None:
    where = namespace if kind.namespaced else ""
    if kind is LEASES:  # its own only, in its own namespace
        assert await refused(operator.get(kind, "scaleset-system", "scaleset-operator")) is Outcome.MISSING
        assert await refused(operator.get(kind, where, "nothing")) is Outcome.FORBIDDEN
    else:
        assert isinstance(await operator.all(kind, where), list)


async def test_the_role_is_no_more_than_it_needs(operator: Cluster, namespace: str) -> None:
    assert await refused(operator.get(SECRETS, namespace, "any")) is Outcome.FORBIDDEN
    assert await refused(operator.all(SECRETS, namespace)) is Outcome.FORBIDDEN
    assert await refused(operator.all(CONFIG_MAPS, namespace)) is Outcome.FORBIDDEN
    assert await refused(operator.create(SCALE_SETS, namespace, a_set())) is Outcome.FORBIDDEN
    assert await refused(operator.create(DEPLOYMENTS, namespace, {})) is Outcome.FORBIDDEN
    assert await refused(operator.create(NAMESPACES, "", {"metadata": {"name": "x"}})) is Outcome.FORBIDDEN
