"""etcd forgets what the operator's watch would go on from: a real 410, a new list, and nobody is taken for alive.

The API server of this control plane keeps no pods in its watch cache, so that a watch is served from etcd's history.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builders import a_set, an_image
from faultproxy import UNAVAILABLE, Fault, FaultProxy, Request
from operators import Operator
from scene import Scene, code, progress

from scalesets.local.controlplane import ControlPlane


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    directory = tmp_path_factory.mktemp("compacted")
    with ControlPlane(directory, apiserver_flags=("--watch-cache-sizes=pods#0",)) as running:
        yield running


@pytest.fixture
async def proxy(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def operator(proxy: FaultProxy, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(proxy.kubeconfig, log=tmp_path / "operator.log")
    yield operator
    operator.kill()


async def compact(control_plane: ControlPlane) -> int:
    """Let etcd forget all but the present; the revision that it is at."""
    pki = control_plane.layout.pki
    context = ssl.create_default_context(cafile=str(pki.etcd_authority))
    context.load_cert_chain(pki.etcd_client.certificate, pki.etcd_client.key)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(f"https://127.0.0.1:{control_plane.ports.etcd}", connector=connector) as etcd:

        async def ask(what: str, body: dict[str, Any]) -> dict[str, Any]:
            async with etcd.post(f"/v3/kv/{what}", json=body) as answer:
                answer.raise_for_status()
                found: dict[str, Any] = await answer.json()
                return found

        now = await ask("range", {"key": base64.b64encode(b"/").decode(), "count_only": True})
        revision = now["header"]["revision"]
        await ask("compaction", {"revision": revision, "physical": True})
        return int(revision)


def no_watch_of_pods(request: Request) -> Fault | None:
    return UNAVAILABLE if request.watch and request.path.endswith("/pods") else None


async def lose_unseen(name: str, scene: Scene, proxy: FaultProxy, operator: Operator) -> None:
    """A pod goes while the operator's watch of pods is cut, and etcd forgets that it did."""
    said = operator.output().count("injected")
    proxy.rule = no_watch_of_pods
    proxy.cut_connections()
    await scene.until(lambda: operator.output().count("injected") > said, what="the operator to miss its watch")
    await scene.delete("Pod", name, gracePeriodSeconds=0)
    await scene.until(lambda: scene.find("Pod", name) is None, what="the pod to go")
    await compact(scene.control_plane)
    assert scene.find("Pod", name) is None, "the operator doesn't know"
    proxy.rule = None


def lists_anew(operator: Operator) -> int:
    return operator.output().count("pods in all namespaces: the last version seen is too old, listing again")


async def test_what_went_while_the_watch_was_cut_is_found_out(
    operator: Operator, proxy: FaultProxy, scene: Scene
) -> None:
    await asyncio.to_thread(operator.start)
    policy = {"healthTimeout": "PT30S", "pauseTimeBetweenBatches": "PT1S"}
    os_policy = {"useRollingUpgradePolicy": True}
    web = a_set("web", replicas=10, claims=True, rolling=policy, os_upgrades=os_policy)
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    disks = scene.uids("PersistentVolumeClaim")

    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    await lose_unseen("web-9", scene, proxy, operator)
    upgrade = await scene.until_ended(within=90)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    await scene.until_on("2.0.0")
    assert lists_anew(operator) == 1

    before = scene.uids("Pod")
    await lose_unseen("web-3", scene, proxy, operator)
    await scene.until_on("2.0.0")
    after = scene.uids("Pod")
    assert [name for name in after if after[name] != before[name]] == ["web-3"]
    assert scene.uids("PersistentVolumeClaim") == disks
    assert lists_anew(operator) == 2
    assert operator.output().count("ready: ") == 1, "it went on without a restart"
    assert operator.running
