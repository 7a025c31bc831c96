"""The API server for the tests of the API, with the CRDs installed."""

from typing import Any

import pytest
from api_server import Server


@pytest.fixture(scope="session")
def server(control_plane: Any) -> Server:
    return Server(control_plane.kubeconfig)
