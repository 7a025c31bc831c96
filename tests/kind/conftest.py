"""The cluster that `make kind-up` and `make kind-install` made; `make test-kind` says that it is there.

The operator is the chart's: its own image, its own rights, two replicas. The referee watches beside each scenario.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from scene import Scene, until_empty

import samples
from apiclient import Api, Refused
from scalesets.local.binaries import find_binaries
from scalesets.local.progress import Progress
from watching import watching

KUBECONFIG = os.environ.get("SCALESETS_KIND", "")
"""The cluster's kubeconfig; without it nothing here is collected."""
collect_ignore_glob = [] if KUBECONFIG else ["test_*.py"]
EXAMPLES = Path(__file__).parents[2] / "examples"


class Cluster:
    """The kind cluster, as its administrator."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._programs = find_binaries(Progress(print), ("kubectl", "kind", "helm"))

    def run(self, program: str, *arguments: str) -> str:
        """Run kubectl, helm or kind and return what it printed."""
        flags = [] if program == "kind" else [f"--kubeconfig={self.kubeconfig}"]
        command = [str(self._programs[program]), *flags, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give the cluster, with the sample images on its nodes, those that the examples name among them."""
    made = Cluster(Path(KUBECONFIG))
    with tempfile.TemporaryDirectory() as directory:
        archive = samples.build(Path(directory), Progress(print), {**samples.references(), **of_examples()})
        made.run("kind", "load", "image-archive", str(archive), "--name=scalesets")
    yield made


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


def of_examples() -> dict[str, dict[str, str]]:
    """The images that the examples name or tell to publish, each listening where its probes ask."""
    found: dict[str, dict[str, str]] = {}
    for path in EXAMPLES.rglob("*.yaml"):
        for document in filter(None, yaml.safe_load_all(path.read_text())):
            variables = {"PORT": port} if (port := _probed(document.get("spec", {}).get("container", {}))) else {}
            for each in document.get("spec", {}).get("versions", ()):
                found[each["image"]] = {"VERSION": each["version"], **variables}
    for image in re.findall(r'"image": "([^"]+)"', (EXAMPLES / "README.md").read_text()):
        repository, _, tag = image.partition(":")
        number, _, word = tag.partition("-")
        like = next(variables for name, variables in found.items() if name.startswith(f"{repository}:"))
        found[image] = {**like, "VERSION": number, **({"FAULT": samples.FAULTS[word]} if word else {})}
    return found


def _probed(container: dict[str, dict[str, dict[str, int]]]) -> str:
    for probe in ("startupProbe", "readinessProbe"):
        for how in ("httpGet", "tcpSocket"):
            if port := container.get(probe, {}).get(how, {}).get("port"):
                return str(port)
    return ""
