"""What the scenarios share: the control plane, the operator as a process, and a namespace with the referee in it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from operators import Operator, Operators
from scene import Scene

from apiclient import Api, Refused
from scalesets.local.controlplane import ControlPlane
from scalesets.local.machines import steering
from watching import watching

RBAC = "rbac.authorization.k8s.io"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "beside: the scenario has a second namespace, scene.beside[0]")
    config.addinivalue_line("markers", "unfinished: the scenario ends with an upgrade at work")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A scenario that fails shows what the operator logged last."""
    outcome: Any = yield
    report = outcome.get_result()
    pool = getattr(item, "funcargs", {}).get("own_operators") or getattr(item, "funcargs", {}).get("operators")
    if report.failed and isinstance(pool, Operators):
        report.sections.extend(pool.logs())


@pytest.fixture(scope="session")
def operators(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operators]:
    pool = Operators(control_plane.operator_kubeconfig, tmp_path_factory.mktemp("operators"))
    yield pool
    pool.end_all()


@pytest.fixture
def operator(operators: Operators) -> Operator:
    """The operator that most scenarios share; it serves all namespaces."""
    return operators.shared()


@pytest.fixture
def own_operators(operators: Operators) -> Iterator[Operators]:
    """For scenarios that kill, stop or disturb their operator: nobody else's acts meanwhile."""
    operators.alone()
    yield operators
    operators.end_own()


@pytest.fixture
async def scene(control_plane: ControlPlane, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A namespace of the test's own; in the end every upgrade must have ended and no invariant be broken."""
    namespace = _namespace(request)
    unfinished = request.node.get_closest_marker("unfinished") is not None
    beside = [f"{namespace}-b"] if request.node.get_closest_marker("beside") is not None else []
    async with Api(control_plane.kubeconfig) as api:
        for name in (namespace, *beside):
            await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            async with watching(
                control_plane.kubeconfig, namespace, unfinished=unfinished, kind=Scene, beside=beside
            ) as scene:
                scene.control_plane = control_plane
                yield scene
        finally:
            with control_plane.api() as blocking:
                steering.heal(blocking)
                steering.set_boot_seconds(blocking, *control_plane.settings.boot_seconds)
                steering.set_patch_seconds(blocking, *control_plane.settings.patch_seconds)
            for name in (namespace, *beside):
                with suppress(Refused):  # the scenario may have deleted it
                    await api.delete("Namespace", "", name)


@pytest.fixture
async def may_read_secrets(scene: Scene) -> AsyncIterator[None]:
    """The Role that the chart gives in each watched namespace."""
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    metadata = {"name": "scaleset-operator-preflight", "namespace": scene.namespace}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    account = {"kind": "ServiceAccount", "name": "scaleset-operator", "namespace": "scaleset-system"}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": metadata["name"]}
    binding = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference}
    await scene.api.create(role)
    await scene.api.create({**binding, "subjects": [account]})
    yield


def _namespace(request: pytest.FixtureRequest) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    return f"{name[:40].strip('-')}-{abs(hash(request.node.nodeid)) % 10_000}"
