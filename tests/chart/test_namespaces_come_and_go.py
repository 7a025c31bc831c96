"""A release for some namespaces: when one of them goes, it goes, and the others are served on.

With it goes the RoleBinding that gives the operator its rights there; so what holds the namespace has to be let go
before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from charts import CHART, NAMESPACE, RELEASE, Body, Helm
from programs import A_SET, Programs, an_image

from controlplane import eventually
from scalesets.local.api import Api
from scalesets.local.controlplane import ControlPlane

GOES, STAYS = "team-a", "team-b"
VALUES = [f"--set=watchNamespaces={{{GOES},{STAYS}}}", "--set=metrics.enabled=false"]


@pytest.fixture(scope="module")
def api(plane: ControlPlane) -> Iterator[Api]:
    with plane.api() as api:
        for name in (NAMESPACE, GOES, STAYS):
            make_namespace(api, name)
        yield api


def make_namespace(api: Api, name: str) -> None:
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    if name != NAMESPACE:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there"}, "stringData": {"k": "v"}}
        api.create(f"/api/v1/namespaces/{name}/secrets", secret)


@pytest.fixture(scope="module")
def pods(helm_there: Helm, api: Api) -> dict[str, Body]:
    helm_there("install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", *VALUES)
    return helm_there.installed().pods()


def ours(namespace: str, resource: str) -> str:
    return f"/apis/scalesets.dev/v1alpha1/namespaces/{namespace}/{resource}"


def make_a_set(api: Api, namespace: str) -> None:
    api.create(ours(namespace, "galleryimages"), an_image("1.0.0"))
    api.create(ours(namespace, "scalesets"), A_SET)
    eventually(lambda: ready(api, namespace) == 5, seconds=60, what=f"five instances in {namespace} to be ready")


def ready(api: Api, namespace: str) -> int:
    return int(api.get(ours(namespace, "scalesets/web")).get("status", {}).get("readyReplicas") or 0)


def running(api: Api, namespace: str) -> bool:
    codes = [u.get("status", {}).get("runningStatus", {}) for u in api.get(ours(namespace, "rollingupgrades"))["items"]]
    return "RollingForward" in [code.get("code") for code in codes]


def test_a_namespace_is_deleted_in_the_middle_of_an_upgrade(
    api: Api, helm_there: Helm, programs: Programs, pods: dict[str, Body]
) -> None:
    leader, said = programs.start(pods["Deployment"], log="leader.log")
    eventually(lambda: '"ready: ' in said.read_text(), what="the first operator to lead")
    standby, stood = programs.start(pods["Deployment"], log="standby.log")
    make_a_set(api, GOES)
    make_a_set(api, STAYS)
    eventually(lambda: " leads" in stood.read_text(), what="the second operator to wait")
    api.merge(ours(GOES, "galleryimages/os"), {"spec": an_image("1.0.0", "2.0.0-broken")["spec"]})
    eventually(lambda: running(api, GOES), what="an upgrade to be at work")

    api.delete(f"/api/v1/namespaces/{GOES}")

    eventually(lambda: api.find(f"/api/v1/namespaces/{GOES}") is None, seconds=60, what="the namespace to be gone")
    for process, log in ((leader, said), (standby, stood)):
        assert process.wait(timeout=30) == 1, log.read_text()
        assert "Traceback" not in log.read_text()
    assert f"{GOES} is served no more: it is being deleted" in said.read_text()

    # The Deployment starts them again, and they serve whom there is.
    again, said = programs.start(pods["Deployment"], log="again.log")
    eventually(lambda: '"ready: ' in said.read_text() or again.poll() is not None, what="an operator to lead again")
    assert f"namespace {GOES} is not served: it doesn't exist" in said.read_text()
    api.merge(ours(STAYS, "galleryimages/os"), {"spec": an_image("1.0.0", "2.0.0")["spec"]})
    eventually(lambda: images(api, STAYS) == {"registry.example/os:2.0.0"}, seconds=60, what="the upgrade elsewhere")
    check, checked = programs.start(pods["Pod"], log="check.log")
    assert check.wait(timeout=30) == 6, "`helm test` doesn't pass over it"
    assert f"namespace {GOES} is not served" in checked.read_text()

    # It comes back without rights of the operator's: no reason to stop. With them: to start anew.
    make_namespace(api, GOES)
    helm_there("upgrade", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--reuse-values")
    assert again.wait(timeout=90) == 1
    assert f"{GOES} can be served now" in said.read_text()
    last, said = programs.start(pods["Deployment"], log="last.log")
    make_a_set(api, GOES)
    assert "is not served" not in said.read_text() and last.poll() is None


def images(api: Api, namespace: str) -> set[str]:
    return {p["spec"]["containers"][0]["image"] for p in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]}


def test_uninstalled_when_a_namespace_is_held(
    api: Api, helm_there: Helm, programs: Programs, pods: dict[str, Body]
) -> None:
    """The operators have gone without a word, and the namespace waits for them: the hook's Job lets it go."""
    programs.end()
    held = {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "RollingUpgrade",
        "metadata": {"name": "held", "finalizers": ["scalesets.dev/finish-batch"]},
        "spec": {"scaleSet": "web", "type": "OSImage"},
    }
    api.create(ours(GOES, "rollingupgrades"), held)
    api.delete(f"/api/v1/namespaces/{GOES}")
    waits = f"/api/v1/namespaces/{GOES}"
    eventually(lambda: "finish-batch" in json.dumps(api.get(waits)["status"]), seconds=60, what="the namespace to wait")

    removing = helm_there.start("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--timeout=60s")
    selector = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/component%3Duninstall"
    eventually(lambda: bool(api.get(selector)["items"]), seconds=60, what="the hook's pod")
    hook, said = programs.start(pods["Job"], log="hook.log")
    assert hook.wait(timeout=60) == 0, said.read_text()
    eventually(lambda: api.find(waits) is None, seconds=60, what="the namespace to be gone")
    removing.kill()
    removing.wait()
