"""GitOps as docs/how-to/gitops.md tells it: `examples/gitops`, applied by two managers, with an autoscaler as third."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from conftest import Cluster
from samples import EXAMPLES

FLEET = EXAMPLES / "gitops" / "overlays" / "production"
WHERE = "--namespace=web-production"
PROMOTED = yaml.safe_load((FLEET.parent / "staging" / "image.yaml").read_text())["spec"]["versions"][-1]
"""The version that is published in staging already."""
MANAGERS = ("publisher", "team")

# Below its minimum an autoscaler needs no metrics to scale.
AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: scalesets.dev/v1alpha1, kind: ScaleSet, name: web}
  minReplicas: 11
  maxReplicas: 12
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}}]
"""


class Fleet:
    """What stands in git: the publisher owns the policy of upgrades and the image, the team the rest of the set."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        built = list(yaml.safe_load_all(cluster.run("kubectl", "kustomize", str(FLEET))))
        self.team = [each for each in built if each["kind"] not in ("GalleryImage", "Namespace")]
        (self.set,) = (each for each in self.team if each["kind"] == "ScaleSet")
        policy = {**self.set, "spec": {"upgradePolicy": self.set["spec"].pop("upgradePolicy")}}
        (self.image,) = (each for each in built if each["kind"] == "GalleryImage")
        self.publisher = [self.image, policy]

    def apply(self, manager: str) -> None:
        """Apply what is the manager's, forcing nothing."""
        self._kubectl("apply", manager)

    def diff(self, manager: str) -> str:
        """What `kubectl diff` says; an error isn't silence."""
        done = self._kubectl("diff", manager, allowed=(0, 1))
        assert done.returncode == (1 if done.stdout else 0), done.stderr
        return done.stdout

    def _kubectl(self, verb: str, manager: str, *, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        text = yaml.safe_dump_all(getattr(self, manager))
        program, kubeconfig = str(self.cluster.programs["kubectl"]), f"--kubeconfig={self.cluster.kubeconfig}"
        command = [program, kubeconfig, verb, "--server-side", f"--field-manager={manager}", WHERE, "-f", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode in allowed, done.stderr
        return done

    def stored(self, *what: str) -> Any:
        return json.loads(self.cluster.run("kubectl", "get", *what, WHERE, "-o=json"))

    def pods(self) -> dict[str, tuple[str, str]]:
        """The UID and the version of each instance."""
        found = [pod["metadata"] for pod in self.stored("pods", "-l=scalesets.dev/scaleset=web")["items"]]
        return {each["name"]: (each["uid"], each["labels"]["scalesets.dev/image-version"]) for each in found}

    def wait(self, what: str) -> None:
        self.cluster.run("kubectl", "wait", f"--for={what}", "vmss/web", WHERE, "--timeout=4m")

    def wait_ready(self, count: int) -> None:
        self.wait(f"jsonpath={{.status.readyReplicas}}={count}")
        self.wait("condition=Ready")
        assert len(self.pods()) == count


@pytest.fixture
def fleet(cluster: Cluster) -> Iterator[Fleet]:
    try:
        yield Fleet(cluster)
    finally:
        cluster.run("kubectl", "delete", "namespace", "web-production", "--ignore-not-found", "--timeout=3m")


def test_two_managers_and_an_autoscaler_share_a_set(cluster: Cluster, fleet: Fleet) -> None:
    """Whoever applies again changes nothing of the others', and sees no difference."""
    cluster.run("kubectl", "apply", "--server-side", "--field-manager=team", "-k", str(FLEET))
    fleet.wait_ready(10)
    former = fleet.pods()
    fleet.apply("publisher")
    fleet.apply("team")  # gives up what is the publisher's
    assert {manager: fleet.diff(manager) for manager in MANAGERS} == dict.fromkeys(MANAGERS, "")

    cluster.run("kubectl", "create", WHERE, "-f", "-", stdin=AUTOSCALER)
    fleet.wait("jsonpath={.spec.replicas}=11")
    with pytest.raises(AssertionError, match=r"conflict with .*kube-controller-manager"):
        fleet.apply("team")  # whose manifest still says 10
    del fleet.set["spec"]["replicas"]
    fleet.apply("team")
    fleet.wait_ready(11)
    assert former.items() < fleet.pods().items(), "one more, and nobody was restarted"
    assert {manager: fleet.diff(manager) for manager in MANAGERS} == dict.fromkeys(MANAGERS, "")

    fleet.image["spec"]["versions"].append(PROMOTED)
    assert PROMOTED["image"] in fleet.diff("publisher")
    fleet.apply("publisher")
    fleet.wait("jsonpath={.status.lastOSUpgrade.outcome}=Completed")
    fleet.wait_ready(11)

    assert {version for _, version in fleet.pods().values()} == {PROMOTED["version"]}
    assert {manager: fleet.diff(manager) for manager in MANAGERS} == dict.fromkeys(MANAGERS, "")
    stored = fleet.stored("vmss", "web", "--show-managed-fields")
    owners = {(each["manager"], each.get("subresource", "")) for each in stored["metadata"]["managedFields"]}
    assert owners == {
        *((manager, "") for manager in MANAGERS),
        ("kube-controller-manager", "scale"),
        ("scaleset-operator", "status"),
    }
    assert stored["spec"]["replicas"] == 11
