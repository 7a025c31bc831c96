"""The cluster that `make kind-up` and `make kind-install` made; `make test-kind` says that it is there.

The operator is the chart's: its own image, its own rights, two replicas. The referee watches beside each scenario.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from scene import Scene, until_empty

from apiclient import Api, Refused
from scalesets.local.binaries import find_binaries
from scalesets.local.progress import Progress
from watching import watching

KUBECONFIG = os.environ.get("SCALESETS_KIND", "")
"""The cluster's kubeconfig; without it nothing here is collected."""
collect_ignore_glob = [] if KUBECONFIG else ["test_*.py"]


class Cluster:
    """The kind cluster, as its administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.programs = find_binaries(Progress(print), ("kubectl", "helm"))

    def run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl or helm and return what it printed."""
        command = [str(self.programs[program]), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Give the cluster; `make kind-install` has put the sample images on its nodes."""
    return Cluster(Path(KUBECONFIG))


@pytest.fixture
async def scene(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """A namespace of the test's own; in the end every upgrade must have ended and no invariant be broken."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")
    async with Api(cluster.kubeconfig) as api:
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        try:
            async with watching(cluster.kubeconfig, namespace, kind=Scene) as scene:
                yield scene
        finally:
            with suppress(Refused):
                await api.delete("Namespace", "", namespace)
            await until_empty(api, namespace, within=120)
