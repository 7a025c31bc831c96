"""The control plane that tests share: a real API server with the CRDs, and simulated machines.

Import nothing from here in test files; name the fixture `control_plane`. It is started once per pytest process and dies
with it. A test that stops parts of it, or needs other settings, makes a `ControlPlane` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scalesets.local.controlplane import ControlPlane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a running control plane: `.kubeconfig`, `.operator_kubeconfig`, `.api()`, `.kubectl(...)`."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), say=print) as running:
        yield running
