"""The peer of extension upgrades: a CloneSet of OpenKruise, whose pods are updated in place.

What is the same: as many pods with the same containers, at most 20% of them down, and none counted before it has been
Ready for the settle time (`minReadySeconds`). What is not: OpenKruise patches regular containers only, so `agent` is
one here and no sidecar; it has no batches; each pod has a readiness gate, which it closes before the patch and opens
after it.

`kruise-manager` runs with controllers, CRDs and defaults as shipped, but for its client's rate limit (which is the
controller-manager's here) and what needs more than this control plane has: no kruise-daemon, no webhook for pods. The
webhooks for CloneSets are registered by URL on loopback.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

import yaml

import plane as planes
import subjects
from api import JSON_PATCH, Api
from kruise_program import Program
from plane import Plane
from processes import await_quiet, cpu_seconds
from scalesets.local.controlplane import free_ports
from scalesets.local.kubeconfig import write_kubeconfig
from scalesets.local.processes import spawn

NAMESPACE = "cloneset"
_SYSTEM = "kruise-system"
_ACCOUNT = "kruise-manager"
_PATIENCE = 300.0
_AT_WORK = '"msg"="Starting workers" "controller"="cloneset-controller"'


class Manager:
    """`kruise-manager` in a process of its own. Use with ``with``."""

    def __init__(self, program: Program, kubeconfig: Path, directory: Path, webhook_port: int) -> None:
        self._log = directory / "kruise-manager.log"
        self._command = [
            str(program.manager),
            f"--kubeconfig={kubeconfig}",
            "--enable-leader-election=false",
            "--metrics-addr=0",
            "--health-probe-addr=0",
            "--enable-pprof=false",
            f"--rest-config-qps={planes.QUERIES}",
            f"--rest-config-burst={2 * planes.QUERIES}",
            "--feature-gates=KruiseDaemon=false,PodWebhook=false",
        ]
        self._environment = {
            **os.environ,
            "POD_NAMESPACE": _SYSTEM,
            "WEBHOOK_HOST": "localhost",
            "WEBHOOK_PORT": str(webhook_port),
            "WEBHOOK_CERT_DIR": str(directory / "kruise-certificates"),
        }
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Manager:
        self._log.unlink(missing_ok=True)
        self._process = spawn(self._command, log=self._log, bound=True, environment=self._environment)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it logged."""
        return "\n".join(line[:400] for line in self._log.read_text(errors="replace").splitlines()[-lines:])

    def await_at_work(self) -> None:
        """Wait until its controller of CloneSets works and it has nothing left to do."""
        deadline = time.monotonic() + _PATIENCE
        while not self._log.exists() or _AT_WORK not in self._log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"kruise-manager does not get to work:\n{self.log_tail()}")
            time.sleep(0.1)
        await_quiet(self.pid, timeout=_PATIENCE)


class Peer:
    """One CloneSet with as many pods as the set that it is compared with."""

    def __init__(self, plane: Plane, api: Api, instances: int, program: Program) -> None:
        self._plane, self._api, self._instances, self._program = plane, api, instances, program
        self._kubeconfig = plane.directory / "kruise.kubeconfig"
        self._path = f"{subjects.CLONESETS.format(NAMESPACE)}/{subjects.NAME}"
        (self._port,) = free_ports(1)

    async def prepare(self) -> None:
        """Install what OpenKruise needs, and make the CloneSet."""
        for namespace in (_SYSTEM, NAMESPACE):
            await self._api.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        await self._install()
        with self._manager() as manager:
            await asyncio.to_thread(manager.await_at_work)
            body = subjects.clone_set(NAMESPACE, self._instances, "1.0.0")
            await self._api.create(subjects.CLONESETS.format(NAMESPACE), body)
            await self._until_rolled_out()

    async def upgrade(self, version: str) -> tuple[float, float, float]:
        """Seconds, CPU seconds and pod writes of an update in place."""
        with self._manager() as manager:
            await asyncio.to_thread(manager.await_at_work)
            await asyncio.to_thread(planes.await_calm, self._plane)
            cpu, start = cpu_seconds(manager.pid), time.time()
            image = f"/spec/template/spec/containers/{subjects.CLONESET_AGENT}/image"
            change = [{"op": "replace", "path": image, "value": subjects.extension_image(version)}]
            await self._api.patch(self._path, change, JSON_PATCH)
            await self._until_rolled_out()
            seconds = time.time() - start
            await asyncio.to_thread(await_quiet, manager.pid)
            cpu = cpu_seconds(manager.pid) - cpu
        await self._check(version)
        writes = self._plane.writes(planes.CLONESETS, since=start, namespace=NAMESPACE)
        return seconds, cpu, planes.pod_writes(writes)

    def _manager(self) -> Manager:
        return Manager(self._program, self._kubeconfig, self._plane.directory, self._port)

    async def _install(self) -> None:
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for crd in sorted(self._program.crds.glob("*.yaml")):
            await self._api.create(crds, yaml.safe_load(crd.read_text()))
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if all(map(_is_served, (await self._api.get(crds))["items"])):
                break
            await asyncio.sleep(0.1)
        for path, body in subjects.kruise_webhooks(_SYSTEM):
            await self._api.create(path, body)
        accounts = f"/api/v1/namespaces/{_SYSTEM}/serviceaccounts"
        await self._api.create(accounts, {"metadata": {"name": _ACCOUNT}})
        await self._api.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            {
                "metadata": {"name": _ACCOUNT},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": _SYSTEM}],
            },
        )
        asked = {"spec": {"expirationSeconds": 24 * 3600}}
        answer = await self._api.create(f"{accounts}/{_ACCOUNT}/token", asked)
        control_plane = self._plane.control_plane
        write_kubeconfig(
            self._kubeconfig,
            server=control_plane.server,
            authority=control_plane.layout.pki.authority,
            user=_ACCOUNT,
            token=answer["status"]["token"],
        )

    async def _until_rolled_out(self) -> None:
        """Wait until the CloneSet says that all its pods are updated and have been Ready for long enough."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            body = await self._api.get(self._path)
            status = body.get("status") or {}
            done = status.get("updatedAvailableReplicas") == status.get("replicas") == self._instances
            if done and status.get("observedGeneration") == body["metadata"]["generation"]:
                return
            await asyncio.sleep(0.05)
        raise TimeoutError(f"the CloneSet was not rolled out in {_PATIENCE:.0f} s: {status}")

    async def _check(self, version: str) -> None:
        pods = (await self._api.get(subjects.PODS.format(NAMESPACE)))["items"]
        image = subjects.extension_image(version)
        on = [p for p in pods if any(c["image"] == image for c in p["spec"]["containers"]) and subjects.is_ready(p)]
        if len(on) != self._instances:
            raise RuntimeError(f"{len(on)} of {self._instances} pods of the CloneSet are Ready on version {version}")


def _is_served(crd: subjects.Body) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
