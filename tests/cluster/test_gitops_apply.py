"""Manifests from git, applied by kubectl and by two field managers: nobody fights, and order doesn't matter.

The fleet is `examples/gitops`, built by kustomize into the scenario's namespace.
"""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import a_set, an_image, version
from operators import Operator
from scene import Body, Scene

from scalesets.local.controlplane import ControlPlane

ROOT = Path(__file__).resolve().parents[2]
FLEET = ROOT / "examples" / "gitops" / "overlays"
OPERATOR = "scaleset-operator"
CLIENT = "Python"
"""The tests' own client, by its user agent."""
OPTED_OUT = {"enableAutomaticOSUpgrade": False}
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Pipeline:
    """Applies a fleet as a GitOps tool does."""

    def __init__(self, plane: ControlPlane, namespace: str, environment: str) -> None:
        self._plane = plane
        self._namespace = namespace
        built = plane.kubectl("kustomize", str(FLEET / environment))
        here = built.replace(f"web-{environment}", namespace)
        self.manifests: list[Body] = [m for m in yaml.safe_load_all(here) if m["kind"] != "Namespace"]

    def the(self, kind: str) -> Body:
        """The manifest of a kind, to be changed by a commit."""
        return next(m for m in self.manifests if m["kind"] == kind)

    async def apply(self, *, server_side: bool = True, manager: str = "pipeline", force: bool = False) -> str:
        """kubectl apply; with force as tools do that put drift right."""
        how = ["--server-side", f"--field-manager={manager}"] if server_side else []
        return await self._run("apply", *how, *(["--force-conflicts"] if force else []))

    async def diff(self, *, server_side: bool = True, manager: str = "pipeline") -> str:
        """kubectl diff; empty when the cluster is as git says."""
        how = ["--server-side", f"--field-manager={manager}"] if server_side else []
        return await self._run("diff", *how, check=False)

    async def _run(self, verb: str, *how: str, check: bool = True) -> str:
        text = yaml.safe_dump_all(self.manifests)
        command = (verb, *how, "-n", self._namespace, "-f", "-")
        return await asyncio.to_thread(self._plane.kubectl, *command, check=check, stdin=text)


@pytest.fixture
def staging(control_plane: ControlPlane, scene: Scene) -> Pipeline:
    return Pipeline(control_plane, scene.namespace, "staging")


@pytest.mark.parametrize("environment", ["staging", "production"])
async def test_a_commit_publishes_a_version(
    operator: Operator, scene: Scene, control_plane: ControlPlane, environment: str
) -> None:
    fleet = Pipeline(control_plane, scene.namespace, environment)
    await fleet.apply()
    await scene.until_ready()
    versions = fleet.the("GalleryImage")["spec"]["versions"]
    assert {*scene.versions()} == {versions[-1]["version"]}
    versions.append({"version": "1.2.0", "image": "registry.example/os/web:1.2.0"})
    await fleet.apply()
    await scene.until_on("1.2.0")
    assert await fleet.diff() == ""


@pytest.mark.parametrize("server_side", [True, False], ids=["server side", "client side"])
async def test_the_operator_writes_nothing_that_a_manifest_owns(
    operator: Operator, scene: Scene, staging: Pipeline, server_side: bool
) -> None:
    await staging.apply(server_side=server_side)
    await scene.until_ready()
    await scene.publish("web-os", "1.2.0")
    staging.the("GalleryImage")["spec"]["versions"].append(version("1.2.0"))
    await scene.until_on("1.2.0")
    if server_side:
        await staging.apply()  # takes over the line that somebody else published
    else:
        await staging.apply(server_side=False)
    assert await staging.diff(server_side=server_side) == "", "after an upgrade the cluster is as git says"
    for kind, name in (("ScaleSet", "web"), ("GalleryImage", "web-os")):
        stored = await scene.api.get(kind, scene.namespace, name)
        managed = stored["metadata"]["managedFields"]
        ours = [m for m in managed if m["manager"].startswith(OPERATOR)]
        assert ours, "the operator writes the status"
        assert {m.get("subresource") for m in ours} == {"status"}, f"and nothing else of {kind}"
        writers = {m["manager"] for m in managed if m.get("subresource") != "status"}
        assert writers <= {"pipeline", "kubectl-client-side-apply", CLIENT}, "under no other name either"
        assert "finalizers" not in stored["metadata"]


async def test_two_managers_share_a_set(operator: Operator, scene: Scene, staging: Pipeline) -> None:
    """A pipeline owns the template, an autoscaler the replicas: neither forces the other's fields."""
    await staging.apply()
    await scene.until_ready()
    del staging.the("ScaleSet")["spec"]["replicas"]
    await scene.api.patch("ScaleSet", scene.namespace, "web", {"spec": {"replicas": 4}}, subresource="scale")
    await staging.apply()
    await scene.until_ready(replicas=4)
    staging.the("ScaleSet")["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
    said = await staging.apply()
    assert "conflict" not in said.lower()
    await scene.until_ended()
    await scene.until_ready(replicas=4)
    assert scene.set()["spec"]["replicas"] == 4
    assert await staging.diff() == ""


async def test_replicas_handed_over_in_the_wrong_order_scale_nothing_in(
    operator: Operator, scene: Scene, staging: Pipeline
) -> None:
    """The manifest drops `replicas` before anybody else owns them: the field falls to 1, the instances stay."""
    await staging.apply()
    await scene.until_ready()
    before = scene.uids("Pod")
    del staging.the("ScaleSet")["spec"]["replicas"]
    await staging.apply()
    await scene.until(lambda: scene.set()["spec"]["replicas"] == 1, what="the default")
    await scene.until_condition("ReplicasUnowned")
    assert scene.uids("Pod") == before
    await scene.api.patch("ScaleSet", scene.namespace, "web", {"spec": {"replicas": 5}}, subresource="scale")
    await scene.until_ready(replicas=5)
    assert before.items() <= scene.uids("Pod").items(), "the autoscaler goes on from there"


async def test_drift_is_put_right(operator: Operator, scene: Scene, staging: Pipeline) -> None:
    await staging.apply()
    await scene.until_ready()
    await scene.change("ScaleSet", "web", replicas=1, upgradePolicy={"automaticOSUpgradePolicy": OPTED_OUT})
    await scene.until_ready(replicas=1)
    assert await staging.diff() != ""
    await staging.apply(force=True)
    await scene.until_ready(replicas=3)
    assert scene.set()["spec"]["upgradePolicy"]["automaticOSUpgradePolicy"]["enableAutomaticOSUpgrade"]
    assert await staging.diff() == ""


async def test_pruned_and_made_again_with_its_disks(operator: Operator, scene: Scene, staging: Pipeline) -> None:
    await staging.apply()
    await scene.until_ready()
    claims = scene.uids("PersistentVolumeClaim")
    await scene.delete("ScaleSet", "web", propagationPolicy="Foreground")
    await scene.until(lambda: scene.find("ScaleSet", "web") is None and not scene.pods(), what="the set to be gone")
    assert scene.uids("PersistentVolumeClaim") == claims
    await staging.apply()
    await scene.until_ready()
    assert scene.uids("PersistentVolumeClaim") == claims


async def test_the_order_of_applying_does_not_matter(operator: Operator, scene: Scene, staging: Pipeline) -> None:
    everything = staging.manifests
    staging.manifests = [copy.deepcopy(staging.the("ScaleSet"))]
    await staging.apply()
    found = await scene.until_condition("Reconciling", reason="ImageNotFound")
    assert "web-os" in found["message"]
    staging.manifests = everything
    await staging.apply()
    await scene.until_ready()


async def test_a_pipeline_that_runs_all_the_time_changes_nothing(
    operator: Operator, scene: Scene, staging: Pipeline
) -> None:
    await staging.apply()
    await scene.until_ready()
    before = scene.uids("Pod")
    generation = scene.set()["metadata"]["generation"]
    for _ in range(3):
        await staging.apply()
    await staging.apply(manager="somebody-else")
    await scene.assert_quiet(1.0)
    assert scene.set()["metadata"]["generation"] == generation
    assert scene.uids("Pod") == before


async def test_client_side_apply_fits_into_its_annotation(
    operator: Operator, scene: Scene, control_plane: ControlPlane
) -> None:
    """kubectl without --server-side keeps the manifest in an annotation, which may have 256 KiB."""
    bodies: list[dict[str, Any]] = [an_image("ubuntu", "1.0.0"), a_set("web", replicas=2)]
    text = yaml.safe_dump_all(bodies)
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", scene.namespace, "-f", "-", stdin=text)
    await scene.until_ready()
    assert APPLIED in scene.set()["metadata"]["annotations"]
    # kubectl says "configured" all the same: it patches lists whole, and the API server's defaults stand in them.
    generation = scene.set()["metadata"]["generation"]
    await asyncio.to_thread(control_plane.kubectl, "apply", "-n", scene.namespace, "-f", "-", stdin=text)
    await scene.assert_quiet(0.5)
    assert scene.set()["metadata"]["generation"] == generation
