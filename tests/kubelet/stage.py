"""A namespace on real kubelets: the scenes of the cluster tests, with disks that keep what was written to them."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

from builders import Body, a_followed_extension, a_set
from node import Node
from scene import Scene

ROOM: Body = {"healthTimeout": "PT12S", "provisioningTimeout": "PT30S"}
"""A real pod takes a second or two to start, more where the machine is busy."""


class Stage(Scene):
    """What scenarios do and see that needs a kubelet."""

    nodes: dict[str, Node]

    def provide_disks(self, each: int) -> None:
        """Give every node so many volumes, folders on its disk; what is in them stays when a claim's pod goes."""
        volumes = [_volume(f"{self.namespace}-{n.name}-{i}", n) for n in self.nodes.values() for i in range(each)]
        items = {"apiVersion": "v1", "kind": "List", "items": volumes}
        self.control_plane.kubectl("create", "-f", "-", stdin=json.dumps(items))

    def journal(self, ordinal: int, set_name: str = "web", claim: str = "data") -> list[str]:
        """What the instance's application noted on its data disk."""
        stored = self.find("PersistentVolumeClaim", f"{claim}-{set_name}-{ordinal}")
        volume = (stored or {}).get("spec", {}).get("volumeName", "")
        paths = [node.directory / "disks" / volume / "journal" for node in self.nodes.values()]
        found: Path | None = next((path for path in paths if path.exists()), None)
        return found.read_text().splitlines() if found is not None else []

    def containers(self, set_name: str = "web") -> dict[int, dict[str, tuple[str, int]]]:
        """Each container's id and restart count, by ordinal and name."""
        parts = ("initContainerStatuses", "containerStatuses")
        return {
            ordinal: {
                c["name"]: (c["containerID"], c["restartCount"])
                for part in parts
                for c in pod["status"].get(part) or ()
            }
            for ordinal, pod in self.pods(set_name).items()
        }

    async def answers(self, port: int, set_name: str = "web") -> dict[int, str]:
        """The version that the program at a port says it is, by ordinal: what really runs."""
        return {o: await asyncio.to_thread(_ask, p["status"]["podIP"], port) for o, p in self.pods(set_name).items()}

    def node_of(self, ordinal: int, set_name: str = "web") -> str:
        """The node that an instance runs on."""
        return str(self.pods(set_name)[ordinal]["spec"]["nodeName"])


def _ask(address: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
        return str(answer.read().decode().strip())


def a_real_set(name: str = "web", *, claims: bool = False, rolling: Body | None = None, **fields: Any) -> Body:
    """A set with enough time for real pods; with claims its application keeps a journal on the data disk."""
    if claims:
        own = fields.setdefault("container", {})
        own["env"] = [*own.get("env", ()), {"name": "DATA", "value": "/data"}]
    return a_set(name, claims=claims, rolling={**ROOM, **(rolling or {})}, **fields)


def a_real_extension(name: str, port: int, *versions: str) -> Body:
    """An extension that listens on a port of its own, with a start-up probe and a readiness probe."""
    container = {
        "env": [{"name": "PORT", "value": str(port)}],
        "startupProbe": _probe("/started", port, failureThreshold=5),
        "readinessProbe": _probe("/healthz", port),
    }
    return a_followed_extension(name, *versions, container=container)


def _probe(path: str, port: int, **fields: Any) -> Body:
    return {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, **fields}


def _volume(name: str, node: Node) -> Body:
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "local",
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(node.directory / "disks" / name), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }
