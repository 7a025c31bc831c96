"""The controller-manager's own HorizontalPodAutoscaler, fed by metrics-server, scales a set while it is upgraded."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from typing import Any

import pytest
import yaml
from builders import an_image
from node import HOST
from scene import FINAL, code, progress
from stage import Stage, a_real_set

from scalesets.local.binaries import find_binaries
from scalesets.local.controlplane import ControlPlane
from scalesets.local.progress import Progress

PORT = 10250 + 1
RESOLUTION = "10s"
"""The shortest that metrics-server allows."""

METRICS_API = f"""
apiVersion: v1
kind: Service
metadata: {{name: metrics-server, namespace: kube-system}}
spec: {{ports: [{{name: https, port: 443, targetPort: {PORT}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: metrics-server, namespace: kube-system, labels: {{kubernetes.io/service-name: metrics-server}}}}
addressType: IPv4
endpoints: [{{addresses: [{HOST}], conditions: {{ready: true}}}}]
ports: [{{name: https, port: {PORT}}}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: v1beta1.metrics.k8s.io}}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {{name: metrics-server, namespace: kube-system}}
"""

AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: scalesets.dev/v1alpha1, kind: ScaleSet, name: web}
  minReplicas: 3
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: memory, target: {type: AverageValue, averageValue: 24Mi}}}]
"""


@pytest.fixture
def metrics(control_plane: ControlPlane, nodes: Any) -> None:
    """The metrics API, as a process beside the control plane's."""
    program = find_binaries(Progress(print), ("metrics-server",))["metrics-server"]
    kubeconfigs = [
        f"--{kind}kubeconfig={control_plane.kubeconfig}" for kind in ("", "authentication-", "authorization-")
    ]
    command = [
        str(program),
        *kubeconfigs,
        f"--secure-port={PORT}",
        f"--cert-dir={control_plane.directory / 'metrics-server'}",
        "--kubelet-insecure-tls",  # kubelets sign their own serving certificates
        "--kubelet-preferred-address-types=InternalIP",
        f"--metric-resolution={RESOLUTION}",
        "--kubelet-request-timeout=5s",
    ]
    control_plane.launch("metrics-server", command)
    control_plane.kubectl("apply", "-f", "-", stdin=METRICS_API)


def hold_memory(address: str) -> None:
    with urllib.request.urlopen(f"http://{address}:8080/hold?mib=80", timeout=5) as answer:
        assert answer.status == 200


def current(stage: Stage) -> str:
    """What the autoscaler knows, in its own words."""
    status = "-o=jsonpath={.status.currentMetrics} {.status.conditions[*].message}"
    return stage.control_plane.kubectl("get", "hpa", "web", f"--namespace={stage.namespace}", status)


@pytest.mark.requirement("O8", "O22")
async def test_an_autoscaler_scales_out_in_mid_upgrade(stage: Stage, metrics: None) -> None:
    policy = {"pauseTimeBetweenBatches": "PT8S"}
    web = a_real_set(replicas=3, rolling=policy, os_upgrades={"useRollingUpgradePolicy": True})
    await stage.create(an_image("ubuntu", "1.0.0"), web)
    await stage.until_ready(within=60)
    autoscaler = {**yaml.safe_load(AUTOSCALER), "metadata": {"name": "web", "namespace": stage.namespace}}
    stage.control_plane.kubectl("create", "-f", "-", stdin=yaml.safe_dump(autoscaler))

    deadline = time.monotonic() + 90
    while "averageValue" not in (said := await asyncio.to_thread(current, stage)):
        assert time.monotonic() < deadline, f"the autoscaler has no metrics: {said}"
        await asyncio.sleep(0.5)
    assert stage.set()["spec"]["replicas"] == 3
    for pod in stage.pods().values():
        await asyncio.to_thread(hold_memory, pod["status"]["podIP"])
    await stage.publish("ubuntu", "1.1.0", "slow")
    await stage.until_batch(1)
    await stage.until(lambda: stage.set()["spec"]["replicas"] > 3, within=60, what="the autoscaler to scale out")
    assert code(stage.upgrades()[0]) not in FINAL, "in the middle of the upgrade"

    upgrade = await stage.until_ended(within=120)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (3, 0, 0, 0)), "new instances aren't part of it"
    await stage.until_on("1.1.0")
    await stage.until(lambda: stage.set()["spec"]["replicas"] == 3, within=90, what="the autoscaler to scale in again")
    await stage.until_ready(within=60)
