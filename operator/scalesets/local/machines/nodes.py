"""The machines themselves: Node objects, and the heartbeats that keep them Ready.

A heartbeat renews the node's Lease, as a kubelet does. A machine that people stop sends none, so that Kubernetes'
own node lifecycle controller finds it out; one that comes back, or was thought lost because this process was held
up, says at once that it is ready.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scalesets.local.machines.connection import MERGE_PATCH, STRATEGIC_PATCH, Connection
from scalesets.local.machines.faults import Steering
from scalesets.local.versions import KUBERNETES

JsonObject = dict[str, Any]

_LOG = logging.getLogger(__name__)
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_CAPACITY = {"cpu": "1000", "memory": "2000000Mi", "ephemeral-storage": "1Pi", "pods": "20000"}
"""Enough for 10,000 pods of a tenth of a CPU on each. Were it more, the scheduler, which scores in percent, would see
no difference between a full machine and an empty one, and put all pods on one."""


def node_names(count: int) -> dict[str, str]:
    """Return names and addresses of this many machines."""
    return {f"machine-{index}": f"10.0.{index >> 8}.{index & 255}" for index in range(count)}


def patches_sidecars(kubelet: str | None) -> bool:
    """Whether a kubelet restarts a native sidecar whose image is patched; None: the version that all play."""
    numbers = re.match(r"v?(\d+)\.(\d+)", kubelet or "")
    return not numbers or (int(numbers[1]), int(numbers[2])) >= (1, 32)


class Nodes:
    """All simulated machines as Kubernetes sees them."""

    def __init__(
        self, connection: Connection, *, nodes: dict[str, str], zones: Sequence[str], heartbeat: float
    ) -> None:
        self._connection = connection
        self._nodes = nodes
        self._zones = zones
        self._heartbeat = heartbeat
        self._stopped: frozenset[str] = frozenset()
        self._kubelets: Mapping[str, str] = {}
        self._said_ready = asyncio.Event()
        self._doubted: set[str] = set()

    async def run(self) -> None:
        """Register the machines, then keep them alive for ever."""
        await asyncio.gather(*(self._register(name) for name in self._nodes))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._answer_doubts())
            tasks.create_task(
                self._connection.follow(
                    "/api/v1/nodes",
                    replace=self._replace,
                    event=self._event,
                )
            )

    def steer(self, steering: Steering) -> None:
        """Take over which machines are stopped, and which play another kubelet."""
        returned = self._stopped - steering.stopped_nodes
        self._stopped = steering.stopped_nodes
        before, self._kubelets = self._kubelets, steering.kubelet_versions
        upgraded = {name for name, _ in before.items() ^ self._kubelets.items()}
        self._doubted |= (returned | upgraded) & self._nodes.keys()
        self._said_ready.set()

    def _replace(self, bodies: list[JsonObject]) -> None:
        for body in bodies:
            self._event("MODIFIED", body)

    def _event(self, kind: str, body: JsonObject) -> None:
        name = body["metadata"]["name"]
        if kind == "DELETED" or name not in self._nodes:
            return
        conditions = (body.get("status") or {}).get("conditions") or ()
        if not any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            self._doubted.add(name)
            self._said_ready.set()

    async def _answer_doubts(self) -> None:
        while True:
            await self._said_ready.wait()
            self._said_ready.clear()
            doubted, self._doubted = self._doubted - self._stopped, self._doubted & self._stopped
            for name in doubted:
                await self._renew(name)
                await self._say_ready(name)

    async def _beat(self) -> None:
        while True:
            for name in self._nodes:
                if name not in self._stopped:
                    await self._renew(name)
            await asyncio.sleep(self._heartbeat)

    async def _renew(self, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        status, answer = await self._connection.send(
            "PATCH", f"{_LEASES}/{name}", {"spec": {"renewTime": now}}, MERGE_PATCH
        )
        if status >= 400:
            _LOG.warning("lease of %s: %s %s", name, status, answer[:200].decode(errors="replace"))

    async def _register(self, name: str) -> None:
        index = list(self._nodes).index(name)
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "scalesets.dev/simulated": "true",
        }
        if self._zones:
            labels["topology.kubernetes.io/zone"] = self._zones[index % len(self._zones)]
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
        await self._connection.insist("POST", "/api/v1/nodes", node)  # 409: it is there from a former run
        await self._connection.insist(
            "POST",
            _LEASES,
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
            },
        )
        if name not in self._stopped:
            await self._renew(name)
            await self._say_ready(name)

    async def _say_ready(self, name: str) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

        def condition(kind: str, holds: bool, reason: str) -> JsonObject:
            return {
                "type": kind,
                "status": "True" if holds else "False",
                "reason": reason,
                "message": "simulated",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }

        status = {
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "addresses": [
                {"type": "InternalIP", "address": self._nodes[name]},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                condition("MemoryPressure", False, "KubeletHasSufficientMemory"),
                condition("DiskPressure", False, "KubeletHasNoDiskPressure"),
                condition("PIDPressure", False, "KubeletHasSufficientPID"),
                condition("Ready", True, "KubeletReady"),
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": "simulated://1",
                "kernelVersion": "simulated",
                "kubeProxyVersion": "",
                "kubeletVersion": self._kubelets.get(name, f"v{KUBERNETES}"),
                "machineID": name,
                "operatingSystem": "linux",
                "osImage": "simulated",
                "systemUUID": name,
            },
        }
        await self._connection.insist("PATCH", f"/api/v1/nodes/{name}/status", {"status": status}, STRATEGIC_PATCH)
