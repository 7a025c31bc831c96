"""The processes that a release's pods would run, and what users make for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from charts import NAMESPACE, Body

from scalesets.local.api import Api
from scalesets.local.controlplane import ControlPlane
from scalesets.local.kubeconfig import write_kubeconfig

SCALESETS = Path(sys.executable).with_name("scalesets")


class Programs:
    """Processes that do what a pod's container would do, as its ServiceAccount."""

    def __init__(self, plane: ControlPlane, api: Api, directory: Path) -> None:
        self._plane = plane
        self._api = api
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []

    def kubeconfig(self, account: str) -> Path:
        """One with a token of the ServiceAccount."""
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self._api.create(path, request)["status"]["token"]
        made = self._directory / f"{account}.kubeconfig"
        authority = self._plane.layout.pki.authority
        write_kubeconfig(made, server=self._plane.server, authority=authority, user=account, token=token)
        return made

    def start(self, pod: Body, *, log: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start what the pod's one container runs; without the ports, which are taken by nobody here."""
        (container,) = pod["containers"]
        arguments = [each for each in container["args"] if not each.startswith("--liveness")]
        said = self._directory / log
        environment = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
        with said.open("wb") as file:
            process = subprocess.Popen(
                [str(SCALESETS), *arguments, f"--kubeconfig={self.kubeconfig(pod['serviceAccountName'])}"],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**environment, "POD_NAMESPACE": NAMESPACE},
            )
        self._running.append(process)
        return process, said

    def end(self) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
            process.wait()


def an_image(*versions: str) -> Body:
    listed = [{"version": v.partition("-")[0], "image": f"registry.example/os:{v}"} for v in versions]
    names = {"publisher": "p", "offer": "o", "sku": "s", "osType": "Linux"}
    return {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "GalleryImage",
        "metadata": {"name": "os"},
        "spec": {"source": "Gallery", **names, "versions": listed},
    }


A_SET: Body = {
    "apiVersion": "scalesets.dev/v1alpha1",
    "kind": "ScaleSet",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 5,
        "imageReference": {"galleryImage": "os", "version": "latest"},
        "upgradePolicy": {
            "rollingUpgradePolicy": {"healthTimeout": "PT60S"},
            "automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True},
        },
        "template": {
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "os",
                        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1},
                        "env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "there", "key": "k"}}}],
                    }
                ],
            }
        },
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
            }
        ],
    },
}
