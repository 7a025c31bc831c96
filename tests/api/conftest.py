"""The API server for the tests of the API, with the CRDs installed."""

import pytest
from api_objects import NAMESPACE
from api_server import Server

from scalesets.local.controlplane import ControlPlane


@pytest.fixture(scope="session")
def server(control_plane: ControlPlane) -> Server:
    control_plane.kubectl("create", "namespace", NAMESPACE)
    return Server(control_plane.kubeconfig)
