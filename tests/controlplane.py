"""The control plane that tests share: a real API server with the CRDs, and simulated machines.

Name the fixture `control_plane` in a test, and import nothing but `eventually`. It is started once per pytest process
and dies with it. A test that stops parts of it, or needs other settings, makes a `ControlPlane` of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from scalesets.local.controlplane import ControlPlane

T = TypeVar("T")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give a running control plane: `.kubeconfig`, `.operator_kubeconfig`, `.api()`, `.kubectl(...)`."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), say=print) as running:
        yield running


def eventually(holds: Callable[[], T], *, seconds: float = 30.0, what: str = "") -> T:
    """Wait until something holds, and return it; fails the test when it doesn't in time."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what or holds}")
        time.sleep(0.02)
    return found
