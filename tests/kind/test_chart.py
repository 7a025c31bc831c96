"""The chart in a cluster with real kubelets: it runs, its own test passes, and installing again changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import Cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "scaleset-operator"
NAMESPACE = "--namespace=scaleset-system"
SELECTOR = "-l=app.kubernetes.io/name=scaleset-operator,app.kubernetes.io/component!=test"


def test_two_operators_run_and_one_leads(cluster: Cluster) -> None:
    said = cluster.run("kubectl", "get", "pods", NAMESPACE, "-o=json", SELECTOR)
    pods = json.loads(said)["items"]
    assert len(pods) == 2
    assert all(status["ready"] for pod in pods for status in pod["status"]["containerStatuses"])
    leases = json.loads(cluster.run("kubectl", "get", "leases", NAMESPACE, "-o=json"))["items"]
    holders = [lease["spec"]["holderIdentity"] for lease in leases if lease["spec"].get("holderIdentity")]
    assert [any(pod["metadata"]["name"] in holder for holder in holders) for pod in pods].count(True) == 1


def test_the_charts_own_test_passes(cluster: Cluster) -> None:
    said = cluster.run("helm", "test", "scaleset-operator", NAMESPACE, "--timeout=3m")
    assert "Succeeded" in said


def test_installing_again_changes_nothing(cluster: Cluster) -> None:
    def running() -> dict[str, str]:
        said = cluster.run("kubectl", "get", "pods,deployments", NAMESPACE, "-o=json", SELECTOR)
        return {each["metadata"]["name"]: running_as(each) for each in json.loads(said)["items"]}

    before = running()
    cluster.run("helm", "upgrade", "scaleset-operator", str(CHART), NAMESPACE, "--reuse-values", "--timeout=3m")
    assert len(before) == 3
    assert running() == before


def running_as(obj: dict[str, Any]) -> str:
    """A pod's UID, or which generation of a Deployment it is."""
    metadata = obj["metadata"]
    return f"{metadata['uid']} {metadata['generation'] if obj['kind'] == 'Deployment' else ''}"


def test_the_nodes_are_two_zones(cluster: Cluster) -> None:
    nodes = json.loads(cluster.run("kubectl", "get", "nodes", "-o=json"))["items"]
    assert sorted(node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes) == ["1", "2"]
