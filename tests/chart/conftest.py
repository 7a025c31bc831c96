"""helm, and a control plane on which nothing of ours is installed yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from charts import Helm, Rendered
from programs import Programs

from scalesets.local.api import Api
from scalesets.local.binaries import find_binaries
from scalesets.local.controlplane import ControlPlane
from scalesets.local.progress import Progress


@pytest.fixture(scope="session")
def helm_program() -> Path:
    return find_binaries(Progress(print), ["helm"])["helm"]


@pytest.fixture(scope="session")
def helm(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm without a cluster."""
    return Helm(helm_program, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> Rendered:
    """The chart with its own values."""
    return helm.render()


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without CRDs, roles and namespaces of ours."""
    with ControlPlane(tmp_path_factory.mktemp("bare"), say=print, install=False) as running:
        yield running


@pytest.fixture(scope="module")
def helm_there(plane: ControlPlane, helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm on that control plane."""
    return Helm(helm_program, plane.kubeconfig, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def programs(plane: ControlPlane, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """The processes of its pods; the module's own ``api`` has made what they need."""
    found = Programs(plane, api, tmp_path_factory.mktemp("programs"))
    yield found
    found.end()
