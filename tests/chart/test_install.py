"""The chart on a real API server: installed, used with the rights that it gives, upgraded and uninstalled.

Pods are played by simulated machines, so the operator's own process is run by the test, with the arguments and the
ServiceAccount of the pod. The tests of this file follow one release through its life, in this order.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from charts import CHART, NAMESPACE, RELEASE, ROOT, Body, Helm, Refused, Rendered
from programs import A_SET, Programs, an_image

from controlplane import eventually
from scalesets.local.api import Api, ApiError
from scalesets.local.controlplane import ControlPlane

USERS = "team-a"
OURS = f"/apis/scalesets.dev/v1alpha1/namespaces/{USERS}"
FINALIZER = "scalesets.dev/finish-batch"
VALUES = ["--set=preflight.readSecrets=namespaces", f"--set=watchNamespaces={{{USERS}}}"]
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> Iterator[Api]:
    with plane.api() as api:
        for name in (NAMESPACE, USERS, "elsewhere"):
            metadata = {"name": name, "labels": RESTRICTED if name == NAMESPACE else {}}
            api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield api


@pytest.fixture(scope="module")
def released(api: Api, helm_there: Helm) -> Helm:
    """The release, installed once; `--wait`: its Deployment is available."""
    helm_there("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--wait", "--timeout=60s", *VALUES)
    return helm_there


@pytest.fixture(scope="module")
def manifest(released: Helm) -> Rendered:
    return released.installed()


@pytest.fixture(scope="module")
def operator(programs: Programs, manifest: Rendered) -> subprocess.Popen[bytes]:
    """The operator at work, as the Deployment's ServiceAccount."""
    process, said = programs.start(manifest.pods()["Deployment"], log="operator.log")
    eventually(lambda: '"ready: ' in said.read_text() or process.poll() is not None, what="the operator to lead")
    assert process.poll() is None, said.read_text()
    assert "not allowed" not in said.read_text()
    return process


def upgrades(api: Api) -> list[Body]:
    return api.get(f"{OURS}/rollingupgrades")["items"]


def code(upgrade: Body) -> str:
    return upgrade.get("status", {}).get("runningStatus", {}).get("code", "")


# ------------------------------------------------------------------------------------------------ installed


def test_all_operators_are_available(released: Helm, api: Api, manifest: Rendered) -> None:
    stored = api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}")
    assert stored["status"]["availableReplicas"] == 2
    assert stored["spec"]["template"]["spec"]["containers"][0]["args"] == manifest.arguments()


def test_every_pod_is_admitted_where_pod_security_is_restricted(
    plane: ControlPlane, released: Helm, manifest: Rendered
) -> None:
    """The server's own word; that it would refuse another pod is seen too."""
    pods = manifest.pods()
    assert set(pods) == {"Deployment", "Job", "Pod"}
    for name, spec in pods.items():
        dry_run(plane, name.lower(), spec)
    loose = {**pods["Deployment"], "securityContext": {}}
    with pytest.raises(Exception, match=r'violates PodSecurity "restricted:latest"'):
        dry_run(plane, "loose", loose)


def dry_run(plane: ControlPlane, name: str, spec: Body) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"try-{name}", "namespace": NAMESPACE}, "spec": spec}
    # A Deployment's pod has no restartPolicy of its own; the accounts of hooks come and go with them.
    pod["spec"] = {**spec, "serviceAccountName": "default"}
    said = plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    assert "created (server dry run)" in said and "would violate" not in said


def test_the_checks_of_helm_test_pass_with_these_rights(programs: Programs, manifest: Rendered) -> None:
    process, said = programs.start(manifest.one("Pod", f"{RELEASE}-test")["spec"], log="check.log")
    assert process.wait(timeout=30) == 0, said.read_text()
    assert "warning" not in said.read_text()
    assert re.search(rf"ok: \d+ rights of system:serviceaccount:{NAMESPACE}:{RELEASE}", said.read_text())


def test_the_operator_does_its_work_with_these_rights(api: Api, operator: subprocess.Popen[bytes]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there"}, "stringData": {"k": "v"}}
    api.create(f"/api/v1/namespaces/{USERS}/secrets", secret)
    api.create(f"{OURS}/galleryimages", an_image("1.0.0"))
    api.create(f"{OURS}/scalesets", A_SET)
    eventually(lambda: ready(api) == 5, seconds=60, what="five instances to be ready")

    api.merge(f"{OURS}/galleryimages/os", {"spec": an_image("1.0.0", "2.0.0")["spec"]})

    eventually(
        lambda: [code(u) for u in upgrades(api)] == ["Completed"], seconds=90, what="the upgrade to be completed"
    )
    pods = api.get(f"/api/v1/namespaces/{USERS}/pods")["items"]
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"registry.example/os:2.0.0"}
    told = api.get(f"/apis/events.k8s.io/v1/namespaces/{USERS}/events")["items"]
    assert "ExternalResourcesNotChecked" not in {event["reason"] for event in told}, "the Secret was read"
    assert operator.poll() is None


def ready(api: Api) -> int:
    stored = api.get(f"{OURS}/scalesets/web")
    return int(stored.get("status", {}).get("readyReplicas") or 0)


# ------------------------------------------------------------------------------------------------ refused


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "x"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "x"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}],
}


@pytest.mark.parametrize(
    ("what", "body"),
    [
        (f"GET /api/v1/namespaces/{NAMESPACE}/secrets/x", None),
        ("GET /api/v1/namespaces/elsewhere/secrets/x", None),
        (f"GET /api/v1/namespaces/{USERS}/secrets", None),
        ("GET /api/v1/secrets", None),
        (f"POST /api/v1/namespaces/{USERS}/secrets", SECRET),
        (f"PATCH /api/v1/namespaces/{USERS}/secrets/there", {"stringData": {"k": "w"}}),
        (f"DELETE /api/v1/namespaces/{USERS}/secrets/there", None),
        (f"PATCH /api/v1/namespaces/{USERS}/configmaps/x", {"data": {}}),
        ("PATCH /api/v1/nodes/machine-0", {"metadata": {"labels": {"a": "b"}}}),
        ("PATCH /api/v1/nodes/machine-0/status", {"status": {}}),
        ("DELETE /api/v1/nodes/machine-0", None),
        ("GET /api/v1/nodes/machine-0", None),
        ("POST /api/v1/namespaces", SPACE),
        ("GET /api/v1/namespaces", None),
        ("GET /api/v1/namespaces/elsewhere", None),
        (f"PATCH /api/v1/namespaces/{USERS}", {"metadata": {"labels": {"a": "b"}}}),
        ("DELETE /api/v1/namespaces/elsewhere", None),
        ("POST /api/v1/namespaces/elsewhere/pods", POD),
        ("GET /api/v1/namespaces/elsewhere/pods", None),
        (f"POST /api/v1/namespaces/{USERS}/serviceaccounts/default/token", {"spec": {}}),
        ("POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING),
        (f"PATCH {OURS}/scalesets/web", {"spec": {"replicas": 1}}),
        (f"DELETE {OURS}/scalesets/web", None),
        (f"PATCH {OURS}/galleryimages/os", {"spec": {}}),
        ("DELETE /apis/apiextensions.k8s.io/v1/customresourcedefinitions/scalesets.scalesets.dev", None),
        (f"GET /apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/of-somebody-else", None),
        (f"POST /apis/coordination.k8s.io/v1/namespaces/{USERS}/leases", {"metadata": {"name": "x"}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_server_refuses_the_operators_account(
    programs: Programs, plane: ControlPlane, what: str, body: Any
) -> None:
    method, _, path = what.partition(" ")
    kubeconfig = yaml.safe_load(programs.kubeconfig(RELEASE).read_text())
    status, said = ask(plane, kubeconfig["users"][0]["user"]["token"], method, path, body)
    assert status == 403, said
    assert f'User "system:serviceaccount:{NAMESPACE}:{RELEASE}" cannot' in said


def ask(plane: ControlPlane, token: str, method: str, path: str, body: Any) -> tuple[int, str]:
    """One request with a token, and nothing else."""
    import http.client
    import ssl

    trust = ssl.create_default_context(cafile=str(plane.layout.pki.authority))
    connection = http.client.HTTPSConnection("127.0.0.1", plane.ports.apiserver, context=trust, timeout=10)
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    with contextlib.closing(connection):
        connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
        response = connection.getresponse()
        return response.status, str(json.loads(response.read()).get("message", ""))


def test_a_start_without_rights_names_what_is_lacking(
    api: Api, programs: Programs, manifest: Rendered, operator: subprocess.Popen[bytes]
) -> None:
    """As somebody to whom nothing is bound."""
    pod = {**manifest.pods()["Deployment"], "serviceAccountName": "default"}
    process, said = programs.start(pod, log="no-rights.log")
    assert process.wait(timeout=30) == 6
    text = said.read_text()
    assert f"system:serviceaccount:{NAMESPACE}:default is not allowed to" in text
    assert "controllerrevisions.apps" in text
    assert "Traceback" not in text


# ------------------------------------------------------------------------------------------------ upgraded


def test_an_upgrade_brings_the_crds_and_keeps_what_users_made(released: Helm, api: Api) -> None:
    before = {path: uids(api, path) for path in (f"{OURS}/scalesets", f"/api/v1/namespaces/{USERS}/pods")}
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scalesets.scalesets.dev"
    columns = api.get(crd)["spec"]["versions"][0]["additionalPrinterColumns"]
    older = [{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/0"}]
    json_patch(api, crd, older)
    assert api.get(crd)["spec"]["versions"][0]["additionalPrinterColumns"] != columns

    options = ["--wait", "--timeout=60s", "--reuse-values", "--set=replicas=3", "--force-conflicts"]
    released("upgrade", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *options)

    assert api.get(crd)["spec"]["versions"][0]["additionalPrinterColumns"] == columns
    assert {path: uids(api, path) for path in before} == before
    assert api.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}")["spec"]["replicas"] == 3


def uids(api: Api, path: str) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in api.get(path)["items"]}


def json_patch(api: Api, path: str, body: Any) -> None:
    api._request("PATCH", path, body, content_type="application/json-patch+json")


# ------------------------------------------------------------------------------------------------ uninstalled


def test_uninstalled_in_the_middle_of_an_upgrade(
    released: Helm, api: Api, programs: Programs, manifest: Rendered, operator: subprocess.Popen[bytes]
) -> None:
    """The upgrade is held by the finalizer when the operator goes; the hook lets it go."""
    api.merge(f"{OURS}/galleryimages/os", {"spec": an_image("1.0.0", "2.0.0", "3.0.0-broken")["spec"]})
    eventually(lambda: "RollingForward" in map(code, upgrades(api)), what="an upgrade to be at work")
    kept = {path: uids(api, path) for path in kept_paths()}
    assert all(kept.values())

    removing = released.start("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--timeout=100s")
    jobs = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    selector = f"{pods}?labelSelector=app.kubernetes.io/component%3Duninstall"
    eventually(lambda: bool(api.get(selector)["items"]), seconds=60, what="the hook's pod")
    assert held(api), "nothing is released while the operator leads"
    assert api.find(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}") is None
    hook, said = programs.start(manifest.one("Job", f"{RELEASE}-uninstall")["spec"]["template"]["spec"], log="hook.log")
    eventually(lambda: "to end" in said.read_text(), what="the hook to wait for the operator")
    assert held(api)
    operator.terminate()
    operator.wait(timeout=30)
    assert hook.wait(timeout=60) == 0, said.read_text()
    assert re.search(r"Released \d+ RollingUpgrades?\.", said.read_text())
    assert not held(api)
    pod = api.get(selector)["items"][0]["metadata"]["name"]
    eventually(lambda: ended(api, f"{pods}/{pod}", jobs), seconds=60, what="the hook's Job to be complete")
    out, _ = removing.communicate(timeout=120)
    assert removing.returncode == 0, out

    assert {path: uids(api, path) for path in kept_paths()} == kept
    left = [
        f"{path}/{name}"
        for path in (
            f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments",
            f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/roles",
            f"/apis/rbac.authorization.k8s.io/v1/namespaces/{USERS}/rolebindings",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            jobs,
        )
        for name in uids(api, path)
        if name.startswith(RELEASE)
    ]
    assert left == []


def kept_paths() -> tuple[str, ...]:
    return (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        f"{OURS}/scalesets",
        f"{OURS}/galleryimages",
        f"{OURS}/rollingupgrades",
        f"/api/v1/namespaces/{USERS}/persistentvolumeclaims",
    )


def held(api: Api) -> list[str]:
    return [u["metadata"]["name"] for u in upgrades(api) if FINALIZER in (u["metadata"].get("finalizers") or ())]


def ended(api: Api, pod: str, jobs: str) -> bool:
    """Let the played pod end as the process did, until its Job sees it."""
    with contextlib.suppress(ApiError):
        name = api.get(pod)["spec"]["containers"][0]["name"]
        over = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        state = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        api.merge(f"{pod}/status", {"status": {"phase": "Succeeded", "containerStatuses": [{**over, "state": state}]}})
    found = api.find(f"{jobs}/{RELEASE}-uninstall")
    return found is None or bool((found.get("status") or {}).get("succeeded"))


def test_a_later_release_takes_over_what_is_there(helm_there: Helm, api: Api) -> None:
    before = uids(api, f"{OURS}/scalesets")
    helm_there("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--wait", "--timeout=60s", *VALUES)
    assert uids(api, f"{OURS}/scalesets") == before
    helm_there("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--no-hooks", "--wait", "--timeout=60s")


def test_crds_of_somebody_else_are_not_taken(helm_there: Helm, api: Api) -> None:
    """The CRDs are there, and helm has noted whose they are."""
    with pytest.raises(
        Refused, match=r'CustomResourceDefinition "\w+\.scalesets\.dev" in namespace "" exists and cannot'
    ):
        helm_there("install", "another", str(CHART), "--namespace=elsewhere")
    assert not [name for name in uids(api, "/apis/rbac.authorization.k8s.io/v1/clusterroles") if "another" in name]


def test_a_namespace_with_an_upgrade_in_its_middle_can_be_deleted(api: Api) -> None:
    """Nobody is there who would have taken the finalizer off."""
    assert [u for u in upgrades(api) if code(u) == "RollingForward"]
    api.delete(f"/api/v1/namespaces/{USERS}")
    eventually(lambda: api.find(f"/api/v1/namespaces/{USERS}") is None, seconds=90, what="the namespace to be gone")


def test_the_plain_manifests_can_be_applied(plane: ControlPlane, api: Api) -> None:
    said = plane.kubectl("apply", "--server-side", "--force-conflicts", f"-f={ROOT / 'crds'}", f"-f={ROOT / 'deploy'}")
    assert "deployment.apps/scaleset-operator serverside-applied" in said
    deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{RELEASE}"
    eventually(lambda: api.get(deployment).get("status", {}).get("availableReplicas") == 2, what="the operators")


def test_applied_again_they_change_nothing_whoever_does_it(plane: ControlPlane, api: Api) -> None:
    """A pipeline sees no drift in them, and may take them over without force."""
    files = [f"-f={ROOT / 'crds'}", f"-f={ROOT / 'deploy'}"]
    assert plane.kubectl("diff", "--server-side", *files) == ""
    said = plane.kubectl("apply", "--server-side", "--field-manager=pipeline", *files)
    assert said.count("serverside-applied") == len(said.splitlines())
