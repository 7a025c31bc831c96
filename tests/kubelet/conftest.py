"""A control plane with two real kubelets, and a namespace to play in, with the referee beside it.

Only inside the namespaces that `make test-kubelet` makes (tools/kubelets.py): elsewhere nothing here is collected.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from node import HOST, Node, make_network
from operators import Operator, Operators
from scene import until_empty
from stage import Stage

import samples
from apiclient import Api, Refused
from scalesets.local.binaries import find_binaries
from scalesets.local.controlplane import ControlPlane
from scalesets.local.progress import Progress
from watching import watching

INSIDE = os.environ.get("SCALESETS_KUBELETS", "")
"""Where the nodes keep their disks; without it nothing here is collected."""
collect_ignore_glob = [] if INSIDE else ["test_*.py"]

ZONES = {"alpha": "1", "beta": "2"}
"""The nodes, with their zones."""
NODE_GRACE = 12.0
_READY_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unfinished: the scenario ends with an upgrade at work")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A scenario that fails shows what the operator and the nodes logged last."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        fixtures = getattr(item, "funcargs", {})
        if operators := fixtures.get("operators"):
            report.sections.extend(operators.logs())
        if plane := fixtures.get("control_plane"):
            report.sections.append(("metrics-server", plane.log_tail("metrics-server")))
        for node in fixtures.get("nodes", {}).values():
            report.sections.extend(node.logs())


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The real thing on the bridge's address; its controllers look quickly after nodes and autoscalers."""
    make_network()
    hurry = ("--horizontal-pod-autoscaler-sync-period=2s", "--horizontal-pod-autoscaler-downscale-stabilization=5s")
    plane = ControlPlane(
        tmp_path_factory.mktemp("control-plane"),
        say=print,
        machines=False,
        address=HOST,
        kubelets=tuple(ZONES),
        node_grace_seconds=NODE_GRACE,
        kcm_flags=hurry,
    )
    with plane:
        yield plane


@pytest.fixture(scope="session")
def nodes(control_plane: ControlPlane) -> Iterator[dict[str, Node]]:
    """Two nodes that are Ready, by name."""
    programs = find_binaries(Progress(print), ("kubelet",))["kubelet"].parent
    directory = Path(INSIDE)
    archive = samples.build(directory, Progress(print))
    made = {
        name: Node(name, number, zone=zone, directory=directory, programs=programs, samples=archive)
        for number, (name, zone) in enumerate(ZONES.items(), start=1)
    }
    try:
        for node in made.values():
            node.prepare(control_plane)
            node.start()
        control_plane.kubectl("create", "-f", "-", stdin=_STORAGE_CLASS)
        try:
            await_nodes(control_plane, made)
        except AssertionError as error:  # no test has them yet, whose report would show it
            for title, text in (log for node in made.values() for log in node.logs()):
                error.add_note(f"--- {title}\n{text}")
            raise
        yield made
    finally:
        for node in made.values():
            node.remove()


def await_nodes(control_plane: ControlPlane, nodes: dict[str, Node]) -> None:
    """Wait until every node is Ready and pods may be bound to it."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with control_plane.api() as api:
            found = api.get("/api/v1/nodes")["items"]
        usable = [n for n in found if not n["spec"].get("taints") and not n["spec"].get("unschedulable") and _ready(n)]
        if len(usable) == len(nodes):
            return
        if time.monotonic() > deadline:
            said = {n["metadata"]["name"]: [c["message"] for c in n["status"]["conditions"]] for n in found}
            raise AssertionError(f"nodes aren't ready after {_READY_SECONDS} s: {said}")
        time.sleep(0.1)


@pytest.fixture(scope="session")
def operators(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    pool = Operators(control_plane.operator_kubeconfig, tmp_path_factory.mktemp("operators"))
    yield pool
    pool.end_all()


@pytest.fixture
def operator(operators: Operators) -> Operator:
    return operators.shared()


@pytest.fixture
async def stage(
    control_plane: ControlPlane, nodes: dict[str, Node], operator: Operator, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """A namespace of the test's own; in the end every upgrade must have ended and no invariant be broken."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    unfinished = request.node.get_closest_marker("unfinished") is not None
    async with Api(control_plane.kubeconfig) as api:
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        try:
            async with watching(control_plane.kubeconfig, namespace, unfinished=unfinished, kind=Stage) as stage:
                stage.control_plane, stage.nodes = control_plane, nodes
                yield stage
        finally:
            for node in nodes.values():
                node.restore(control_plane)
            with suppress(Refused):
                await api.delete("Namespace", "", namespace)
            await until_empty(api, namespace, within=60)
            await_nodes(control_plane, nodes)


def _ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


_STORAGE_CLASS = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
"""
