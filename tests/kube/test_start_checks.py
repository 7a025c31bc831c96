"""What stands in the operator's way at its start is said by name (docs/design.md, "Before it starts")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.api import generate
from scalesets.api.shipped import objects
from scalesets.kube import installed, rights, startchecks
from scalesets.kube.client import Outcome, Refusal, connect
from scalesets.kube.kinds import OURS, SCALE_SETS
from scalesets.kube.settings import Settings
from scalesets.kube.startchecks import Findings
from scalesets.kube.stats import Stats
from scalesets.local.controlplane import ControlPlane

CRDS = {crd["metadata"]["name"]: crd for crd in objects("crds")}
Body = dict[str, Any]


def a_cluster(
    *,
    version: Any = "v1.36.3",
    crds: dict[str, Body] | None = None,
    may: Callable[[Body], bool] = lambda _: True,
    kubelets: dict[str, str] | None = None,
    namespaces: dict[str, Body] | None = None,
) -> Callable[[web.Request], Any]:
    """The answers of an API server."""
    known = CRDS if crds is None else crds
    nodes = [
        {"metadata": {"name": name}, "status": {"nodeInfo": {"kubeletVersion": kubelet}}}
        for name, kubelet in (kubelets or {"n": "v1.36.3"}).items()
    ]

    async def answer(request: web.Request) -> web.Response:
        path = request.path
        if path == "/version":
            return json({"gitVersion": version})
        if "selfsubjectaccessreviews" in path:
            asked = (await request.json())["spec"]["resourceAttributes"]
            return json({"status": {"allowed": may(asked)}}, status=201)
        if "selfsubjectreviews" in path:
            return json({"status": {"userInfo": {"username": "system:serviceaccount:s:o"}}}, status=201)
        if "customresourcedefinitions" in path:
            name = path.rpartition("/")[2]
            if not may({"resource": "customresourcedefinitions", "subresource": "", "verb": "get"}):
                return status_object(403, "Forbidden", "no")
            return json(known[name]) if name in known else status_object(404, "NotFound", f"{name} not found")
        if path.startswith("/api/v1/namespaces/"):
            name = path.rpartition("/")[2]
            if namespaces is not None and name not in namespaces:
                return status_object(404, "NotFound", f"{name} not found")
            return json({"metadata": {"name": name, **(namespaces or {}).get(name, {})}})
        if path.endswith("/nodes"):
            if not may({"resource": "nodes", "subresource": "", "verb": "list"}):
                return status_object(403, "Forbidden", "no")
            return json({"metadata": {"resourceVersion": "1"}, "items": nodes})
        if f"{path.rpartition('/')[2]}.scalesets.dev" in known:
            return json({"metadata": {"resourceVersion": "1"}, "items": []})
        return status_object(404, "NotFound", "the server could not find the requested resource")

    return answer


async def examined(answer: Callable[[web.Request], Any], **settings: Any) -> Findings:
    async with serving(answer) as cluster:
        return await startchecks.examine(cluster, Settings(**settings))


async def test_a_cluster_that_suits() -> None:
    findings = await examined(a_cluster())

    assert (findings.problems, findings.warnings) == ([], [])
    assert [fact.split()[0] for fact in findings.facts] == [
        "Kubernetes",
        "CRDs:",
        str(len(rights.rights(Settings()))),
        "1",
    ]


class TestVersions:
    @pytest.mark.parametrize("version", ["v1.31.9", "v1.31.4-gke.1", "v1.9.0", "v0.36.0"])
    async def test_a_control_plane_before_1_32_is_refused(self, version: str) -> None:
        (problem,) = (await examined(a_cluster(version=version))).problems
        assert problem.startswith(f"Kubernetes {version} at http://127.0.0.1")
        assert "is too old: the operator needs 1.32 or newer" in problem

    @pytest.mark.parametrize("version", ["v1.32.0", "v1.32.0-alpha.1+abc", "v2.0.0"])
    async def test_1_32_and_newer_suit(self, version: str) -> None:
        assert (await examined(a_cluster(version=version))).problems == []

    async def test_a_server_that_does_not_say_is_not_refused(self) -> None:
        findings = await examined(a_cluster(version=None))
        assert findings.problems == []
        assert findings.warnings[0].endswith("doesn't say its version; 1.32 or newer is needed")

    async def test_a_single_old_node_is_named(self) -> None:
        findings = await examined(a_cluster(kubelets={"new": "v1.36.3", "old-one": "v1.31.2", "new-too": "v1.32.0"}))
        assert findings.problems == []
        (warning,) = findings.warnings
        assert "old-one (v1.31.2). Upgrade these nodes" in warning

    async def test_of_many_old_nodes_some_are_named(self) -> None:
        (warning,) = (await examined(a_cluster(kubelets={f"n{i}": "v1.30.0" for i in range(7)}))).warnings
        assert "n4 (v1.30.0) and 2 more." in warning


class TestCrds:
    async def test_a_missing_one_is_named(self) -> None:
        crds = {name: crd for name, crd in CRDS.items() if name != "extensions.scalesets.dev"}
        (problem,) = (await examined(a_cluster(crds=crds))).problems
        assert "doesn't know extensions.scalesets.dev: install the CRDs" in problem

    async def test_a_missing_one_is_found_without_the_right_to_read_crds(self) -> None:
        crds = {name: crd for name, crd in CRDS.items() if name != "extensions.scalesets.dev"}
        findings = await examined(a_cluster(crds=crds, may=lambda a: a["resource"] != "customresourcedefinitions"))
        (problem,) = findings.problems
        assert "doesn't know extensions.scalesets.dev" in problem
        assert (
            "not allowed to get customresourcedefinitions.apiextensions.k8s.io: whether the CRDs"
            in findings.warnings[0]
        )

    async def test_a_foreign_one_is_named(self) -> None:
        foreign = {**CRDS["scalesets.scalesets.dev"], "metadata": {"name": "scalesets.scalesets.dev"}}
        (problem,) = (await examined(a_cluster(crds={**CRDS, "scalesets.scalesets.dev": foreign}))).problems
        assert problem.startswith("the CRD scalesets.scalesets.dev isn't this operator's: it has no label")

    def test_one_of_another_version_is_named(self) -> None:
        crd = a_crd(versions=[{"name": "v1", "served": True}, {"name": "v1alpha1", "served": False}])
        assert "doesn't serve v1alpha1, which this operator needs (served: v1)" in installed.describe(crd, SCALE_SETS)

    def test_one_that_lacks_a_field_is_older(self) -> None:
        crd = a_crd()
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del spec["upgradePolicy"]["properties"]["rollingUpgradePolicy"]["properties"]["maxBatchInstancePercent"]
        del spec["imageReference"]
        said = installed.describe(crd, SCALE_SETS)
        assert "is older than this operator: it doesn't know spec." in said
        assert "spec.imageReference" in said
        assert "spec.upgradePolicy.rollingUpgradePolicy.maxBatchInstancePercent" in said

    def test_one_that_knows_more_is_well(self) -> None:
        crd = a_crd()
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["ofTomorrow"] = {"type": "string"}
        crd["spec"]["versions"].append({"name": "v1beta1", "served": True})
        assert installed.describe(crd, SCALE_SETS) == ""

    @pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.plural)
    def test_our_own_files_are_well(self, kind: Any) -> None:
        assert installed.describe(CRDS[f"{kind.plural}.scalesets.dev"], kind) == ""


def a_crd(**spec: Any) -> Body:
    """The CRD of scale sets, to be spoilt."""
    crd = generate.crd(next(kind for kind in generate.KINDS if kind.kind_info.plural == "scalesets"))
    return {**crd, "spec": {**crd["spec"], **spec}}


class TestRights:
    async def test_what_is_lacking_is_named_with_whom_it_is_lacking_for(self) -> None:
        findings = await examined(
            a_cluster(may=lambda a: not (a["resource"] == "pods" and a["verb"] in ("create", "delete")))
        )
        (problem,) = findings.problems
        assert problem.startswith(
            "system:serviceaccount:s:o is not allowed to create, delete pods in all namespaces. Bind the roles"
        )

    async def test_subresources_and_namespaces_are_named(self) -> None:
        findings = await examined(
            a_cluster(may=lambda a: a["subresource"] != "status" or a["resource"] != "scalesets"),
            namespaces=("team-a", "team-b"),
        )
        assert (
            "patch scalesets.scalesets.dev/status in team-a; patch scalesets.scalesets.dev/status in team-b"
            in (findings.problems[0])
        )

    async def test_what_it_can_do_without_is_a_warning_with_its_consequence(self) -> None:
        findings = await examined(a_cluster(may=lambda a: a["resource"] not in ("nodes", "configmaps")))
        assert findings.problems == []
        assert [warning.split(": ")[0] for warning in findings.warnings] == [
            "not allowed to list nodes",
            "not allowed to get configmaps in all namespaces",
        ]
        assert findings.warnings[1].endswith(": ConfigMaps that sets name are not checked before upgrades")

    async def test_of_very_many_some_are_named(self) -> None:
        findings = await examined(a_cluster(may=lambda _: False), namespaces=("a", "b", "c"))
        assert any("; and " in problem and " more." in problem for problem in findings.problems)

    async def test_resources_with_the_same_verbs_are_named_together(self) -> None:
        findings = await examined(a_cluster(may=lambda a: a["resource"] not in ("pods", "persistentvolumeclaims")))
        named = "create, delete, get, list, patch, watch persistentvolumeclaims, pods in all namespaces"
        assert f"is not allowed to {named}. Bind" in findings.problems[0]

    async def test_a_server_that_will_not_say_is_taken_to_grant(self) -> None:
        async def answer(_: web.Request) -> web.Response:
            return status_object(403, "Forbidden", "no reviews for you")

        async with serving(answer) as cluster:
            assert await rights.missing(cluster, rights.rights(Settings())) == []
            assert await rights.user(cluster) == ""

    async def test_a_server_in_trouble_is_asked_again_later(self) -> None:
        async def answer(_: web.Request) -> web.Response:
            return status_object(503, "ServiceUnavailable", "starting")

        async with serving(answer) as cluster:
            with pytest.raises(Refusal) as caught:
                await startchecks.examine(cluster, Settings())
        assert caught.value.outcome is Outcome.BUSY

    def test_they_are_wanted_where_the_settings_say(self) -> None:
        wanted = rights.rights(Settings(namespaces=("a", "b"), catalog_namespace="c", lease_namespace="l"))
        assert {right.namespace for right in wanted if right.resource == "pods"} == {"a", "b"}
        assert {right.namespace for right in wanted if right.resource == "galleryimages"} == {"a", "b", "c"}
        assert {
            (right.namespace, right.name) for right in wanted if right.resource == "leases" and right.verb == "get"
        } == {("l", "scaleset-operator")}
        assert not [right for right in wanted if right.resource == "namespaces"]

    def test_without_leader_election_no_lease_is_wanted(self) -> None:
        assert not [right for right in rights.rights(Settings(leader_election=False)) if right.resource == "leases"]


class TestNamespaces:
    """One of several that can't be served doesn't stop the operator for the others (docs/design.md)."""

    async def test_one_without_rights_is_left_out(self) -> None:
        findings = await examined(
            a_cluster(may=lambda a: a.get("namespace") != "team-b"), namespaces=("team-a", "team-b")
        )
        assert findings.problems == []
        (words,) = findings.unserved
        assert words.startswith("namespace team-b is not served: not allowed to create, ")
        assert "Bind the roles of the chart there" in words
        assert not [warning for warning in findings.warnings if "team-b" in warning]

    async def test_one_that_is_gone_is_left_out_with_its_rights(self) -> None:
        answer = a_cluster(may=lambda a: a.get("namespace") != "team-b", namespaces={"team-a": {}})
        findings = await examined(answer, namespaces=("team-a", "team-b"))
        assert (findings.problems, findings.left_out) == ([], {"team-b": "it doesn't exist"})

    async def test_one_that_leaves_is_left_out_while_the_rights_are_there(self) -> None:
        answer = a_cluster(namespaces={"team-a": {}, "team-b": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
        findings = await examined(answer, namespaces=("team-a", "team-b"))
        assert (findings.problems, findings.left_out) == ([], {"team-b": "it is being deleted"})

    async def test_one_that_is_yet_to_come_is_served_with_rights_everywhere(self) -> None:
        findings = await examined(a_cluster(namespaces={}), namespaces=("team-a",))
        assert (findings.problems, findings.left_out) == ([], {})

    async def test_when_none_is_left_the_operator_does_not_start(self) -> None:
        """And never serves all there are instead."""
        answer = a_cluster(may=lambda a: not a.get("namespace", "").startswith("team"), namespaces={})
        findings = await examined(answer, namespaces=("team-a", "team-b"))
        assert findings.problems[0] == (
            "of the namespaces to serve none can be: team-a: it doesn't exist; team-b: it doesn't exist. "
            "Create one, or name others"
        )
        with pytest.raises(ValueError, match="none of team-a, team-b is left to serve"):
            Settings(namespaces=("team-a", "team-b")).serving(())

    async def test_the_catalogs_is_not_left_out(self) -> None:
        answer = a_cluster(may=lambda a: a.get("namespace") != "shop")
        findings = await examined(answer, namespaces=("team-a", "shop"), catalog_namespace="shop")
        assert "in shop" in findings.problems[0] and findings.left_out == {}


async def test_the_local_control_plane_suits_its_operator(control_plane: ControlPlane) -> None:
    cluster = await connect(Stats(), kubeconfig=str(control_plane.operator_kubeconfig))
    try:
        findings = await startchecks.examine(cluster, Settings())
    finally:
        await cluster.close()

    assert (findings.problems, findings.warnings) == ([], [])
    assert findings.facts[2].endswith("rights of system:serviceaccount:scaleset-system:scaleset-operator")


class TestTraces:
    """Whether traces are wanted, and can be had."""

    async def test_where_they_go_is_a_fact(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
        assert "traces go to http://collector:4318/v1/traces" in (await examined(a_cluster())).facts

    async def test_what_cannot_be_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        (problem,) = (await examined(a_cluster())).problems
        assert "http/protobuf only" in problem and "4318" in problem
