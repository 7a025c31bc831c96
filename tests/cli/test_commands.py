"""The commands against a real API server, without an operator: they write the right objects, and show what is there."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from cli.conftest import PROGRAM, Site
from cli.scenes import MODEL, NEW, OLD, Obj, an_upgrade, before
from controlplane import eventually

PATIENCE = 20.0
pytestmark = pytest.mark.timeout(90)


def a_pod(ordinal: int, owner: Obj, version: str) -> Obj:
    """An instance, as the operator makes it; the simulated machines run it."""
    labels = {
        "scalesets.dev/scaleset": "web",
        "scalesets.dev/instance-id": str(ordinal),
        "scalesets.dev/image-version": version,
        "scalesets.dev/model": MODEL,
    }
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": "ScaleSet",
        "name": "web",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{ordinal}", "labels": labels, "ownerReferences": [reference]},
        "spec": {"containers": [{"name": "os", "image": f"registry.example/os:{version}"}]},
    }


def running(name: str = "web-os-1", **more: Any) -> Obj:
    upgrade = an_upgrade(
        name,
        code="RollingForward",
        progress=(0, 0, 1, 2),
        started=before(seconds=5),
        batches=[
            {
                "number": 1,
                "updateDomain": 0,
                "startTime": before(seconds=5),
                "ordinals": "0",
                "from": [{"imageVersion": OLD, "model": MODEL, "ordinals": "0"}],
                "outcome": "Running",
            }
        ],
    )
    upgrade["status"] |= {"scope": "0-2", "targetModel": MODEL, **more}
    return upgrade


def end(site: Site, name: str, code: str) -> None:
    status = {"runningStatus": {"code": code, "startTime": before(seconds=5), "completedTime": before(seconds=1)}}
    site.write_status("rollingupgrade", name, status)


# -- looking -----------------------------------------------------------------------------------------------------------


def test_status_and_instances_of_running_pods(site: Site) -> None:
    record = [{"ordinals": "0-2", "imageVersion": OLD, "model": MODEL}]
    owner = site.a_web(imageVersion=OLD, currentUpgrade="web-os-1", instances=record)
    site.create(running())
    pods = {"apiVersion": "v1", "kind": "List", "items": [a_pod(0, owner, NEW), a_pod(1, owner, OLD)]}
    site.kubectl("create", "-f", "-", stdin=json.dumps(pods))
    site.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=20s")

    view = site.json("status", "web")

    assert (view["ready"], view["upgraded"], view["replicas"]) == (2, 1, 3)
    assert view["progress"] == {"done": 1, "working": 0, "failed": 0, "pending": 2}
    assert view["upgrade"]["batches"][0]["members"] == [0]
    assert view["batchesToCome"] == 2
    instances = site.json("instances", "web")
    assert [(i["name"], i["status"], i["standing"]) for i in instances] == [
        ("web-0", "Ready", "Upgraded"),
        ("web-1", "Ready", "Pending"),
        ("web-2", "Missing", "Unhealthy"),
    ]
    assert "web-os-1" in site.scalesets("status", "web").stdout
    assert "batch 1 done" in site.scalesets("instances", "web", "-o", "wide").stdout


def test_yaml_is_the_same_as_json(site: Site) -> None:
    site.a_web()

    document = yaml.safe_load(site.scalesets("status", "web", "-o", "yaml").stdout)

    told = site.json("status", "web")
    assert {**document, "now": ""} == {**told, "now": ""}


@pytest.mark.requirement("O22")
def test_history(site: Site) -> None:
    site.a_web()
    site.create(running())
    end(site, "web-os-1", "Completed")

    (upgrade,) = site.json("history", "web")

    assert (upgrade["code"], upgrade["startedBy"], upgrade["targetVersion"]) == ("Completed", "Platform", NEW)
    assert "web-os-1" in site.scalesets("history", "web").stdout


@pytest.mark.requirement("O23")
def test_images_of_the_namespace(site: Site) -> None:
    site.a_web()
    image = {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "GalleryImage",
        "metadata": {"name": "mine"},
        "spec": {
            "source": "Gallery",
            "publisher": "Canonical",
            "offer": "0001-com-ubuntu-server-jammy",
            "sku": "22_04-LTS",
            "osType": "Linux",
            "versions": [{"version": NEW, "image": "registry.example/os:1"}],
        },
    }
    regions = [{"name": "westeurope", "state": "Available", "since": before(days=1)}]
    seen = {"version": NEW, "image": "registry.example/os:1", "firstSeenTime": before(days=1), "regions": regions}
    site.create({**image, "status": {"versions": [seen]}})

    (view,) = site.json("images", "web")

    assert [(v["version"], v["location"], v["latest"]) for v in view["versions"]] == [(NEW, "westeurope", True)]
    assert "latest" in site.scalesets("images", "--location", "westeurope").stdout


def test_plan_and_explain_say_what_is_missing(site: Site) -> None:
    site.a_web()

    explained = site.scalesets("explain", "web")
    planned = site.scalesets("plan", "web")

    assert explained.exit_code == 0
    assert "is one running?" in explained.stdout
    assert "GalleryImage found for spec.imageReference" in explained.stdout
    assert planned.exit_code == 1
    assert "GalleryImage found for spec.imageReference" in planned.stderr


# -- acting ------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("O5", "O24")
def test_start_creates_a_users_os_upgrade(site: Site) -> None:
    site.a_web()

    result = site.scalesets("start", "web")

    (upgrade,) = site.upgrades()
    assert result.exit_code == 0
    assert upgrade["metadata"]["name"] in result.stdout
    assert upgrade["metadata"]["name"].startswith("web-os-")
    assert (
        upgrade["spec"]
        == {
            "scaleSet": "web",
            "type": "OSImage",
            "startedBy": "User",
            "cancel": False,
            "instances": [],
            "approvedInstances": [],
            "extensions": [],
        }
        or upgrade["spec"].items() >= {"scaleSet": "web", "type": "OSImage", "startedBy": "User"}.items()
    )


def test_start_behind_another_says_so_and_prints_json(site: Site) -> None:
    site.a_web(currentUpgrade="web-os-1")
    site.create(running())

    assert "It begins when web-os-1 has ended" in site.scalesets("start", "web").stderr
    created = site.json("start", "web")
    assert created["kind"] == "RollingUpgrade"
    assert "managedFields" not in created["metadata"]


def test_start_warns_of_a_pinned_version(site: Site) -> None:
    site.a_web()
    site.kubectl(
        "patch", "vmss", "web", "--type=merge", "-p", json.dumps({"spec": {"imageReference": {"version": OLD}}})
    )

    assert "needs spec.imageReference.version: latest" in site.scalesets("start", "web").stderr


@pytest.mark.requirement("O20")
def test_update_instances_names_them(site: Site) -> None:
    site.a_web(replicas=8)

    result = site.scalesets("update-instances", "web", "web-7", "0-2")

    (upgrade,) = site.upgrades()
    assert result.exit_code == 0
    assert upgrade["spec"]["type"] == "Model"
    assert upgrade["spec"]["instances"] == ["web-0", "web-1", "web-2", "web-7"]


@pytest.mark.requirement("O20")
def test_update_all_instances(site: Site) -> None:
    site.a_web()

    assert site.scalesets("update-instances", "web", "--all").exit_code == 0

    assert not site.upgrades()[0]["spec"].get("instances")


@pytest.mark.requirement("O5")
def test_cancel_the_running_upgrade(site: Site) -> None:
    site.a_web(currentUpgrade="web-os-1")
    site.create(running())

    result = site.scalesets("cancel", "web")

    assert "stops at the end of batch 1" in result.stdout
    assert site.upgrades()[0]["spec"]["cancel"] is True
    assert site.scalesets("cancel", "web").exit_code == 0  # once more is harmless


def test_cancel_without_anything_to_cancel(site: Site) -> None:
    site.a_web()
    site.create(running())
    end(site, "web-os-1", "Completed")

    assert site.scalesets("cancel", "web").exit_code == 3
    over = site.scalesets("cancel", "web", "--upgrade", "web-os-1")
    assert (over.exit_code, "over already: Completed" in over.stderr) == (1, True)


def test_cancel_needs_a_name_where_several_wait(site: Site) -> None:
    site.a_web()
    for name in ("web-os-a", "web-os-b"):
        site.create(an_upgrade(name, started_by="User"))

    unclear = site.scalesets("cancel", "web")

    assert unclear.exit_code == 2
    assert "web-os-a, web-os-b" in unclear.stderr
    assert site.scalesets("cancel", "web", "--upgrade", "web-os-b").exit_code == 0
    assert [u["spec"].get("cancel", False) for u in site.upgrades()] == [False, True]


def deferred(site: Site) -> None:
    site.a_web()
    policy = {"osRollingUpgradeDeferral": True, "enableAutomaticOSUpgrade": True}
    patch = {"spec": {"upgradePolicy": {"automaticOSUpgradePolicy": policy}}}
    site.kubectl("patch", "vmss", "web", "--type=merge", "-p", json.dumps(patch))
    site.create(running(batches=[], waitingFor="name instances"))


def test_approve_adds_to_what_is_approved(site: Site) -> None:
    deferred(site)

    first = site.scalesets("approve", "web", "1")
    second = site.scalesets("approve", "web", "web-0")

    assert f"web-1 may go to {NEW}" in first.stdout
    assert second.exit_code == 0
    assert site.upgrades()[0]["spec"]["approvedInstances"] == ["web-1", "web-0"]


def test_approve_all(site: Site) -> None:
    deferred(site)

    assert site.scalesets("approve", "web", "--all").exit_code == 0
    assert site.scalesets("approve", "web", "2").exit_code == 0  # in it already

    assert site.upgrades()[0]["spec"]["approvedInstances"] == ["*"]


def test_nothing_waits_for_approval(site: Site) -> None:
    site.a_web()
    site.create(running())

    result = site.scalesets("approve", "web", "--all")

    assert result.exit_code == 3
    assert "osRollingUpgradeDeferral is false" in result.stderr


# -- waiting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "exit_code"), [("Completed", 0), ("Faulted", 4), ("Cancelled", 4)])
def test_start_and_wait_for_the_end(site: Site, code: str, exit_code: int) -> None:
    site.a_web()
    process = site.spawn("start", "web", "--wait", "--timeout", "60s")

    name = eventually(site.upgrades)[0]["metadata"]["name"]
    site.write_status("rollingupgrade", name, running()["status"])
    site.write_status("scaleset", "web", {"currentUpgrade": name})
    end(site, name, code)
    told, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == exit_code
    assert f"{name} {code}" in told


def test_wait_ends_at_the_timeout(site: Site) -> None:
    site.a_web()

    result = site.scalesets("start", "web", "--wait", "--timeout", "1s")

    assert result.exit_code == 5
    assert "has not ended within --timeout" in result.stderr


def test_cancel_and_wait(site: Site) -> None:
    site.a_web(currentUpgrade="web-os-1")
    site.create(running())
    process = site.spawn("cancel", "web", "--wait", "-o", "json")

    eventually(lambda: site.upgrades()[0]["spec"].get("cancel"))
    end(site, "web-os-1", "Cancelled")
    told, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert json.loads(told)["status"]["runningStatus"]["code"] == "Cancelled"


def test_an_upgrade_that_is_deleted_while_waited_for(site: Site) -> None:
    site.a_web()
    process = site.spawn("update-instances", "web", "--all", "--wait")

    name = eventually(site.upgrades)[0]["metadata"]["name"]
    assert process.stdout is not None
    assert f"{name} created" in process.stdout.readline()
    assert f"{name} has not begun yet" in process.stdout.readline()
    site.kubectl("delete", "rollingupgrade", name)
    _, told = process.communicate(timeout=PATIENCE)

    assert process.returncode == 4
    assert f"{name} was deleted" in told


def test_watch_prints_a_line_per_change_and_ends_with_the_set(site: Site) -> None:
    site.a_web(imageVersion=OLD)
    process = site.spawn("status", "web", "--watch")
    assert process.stdout is not None
    lines = [process.stdout.readline()]

    site.create(running())
    site.write_status("scaleset", "web", {"currentUpgrade": "web-os-1"})
    while "RollingForward" not in lines[-1] and lines[-1]:
        lines.append(process.stdout.readline())
    site.kubectl("delete", "vmss", "web")
    _, told = process.communicate(timeout=PATIENCE)

    assert "0 of 3 ready" in lines[0], told
    assert any("web-os-1: RollingForward, 0 of 3 done" in line for line in lines), told
    assert process.returncode == 3
    assert "was deleted" in told


def test_watch_as_json_is_a_document_a_line(site: Site) -> None:
    site.a_web()
    process = site.spawn("status", "web", "--watch", "-o", "json")
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)

    assert first["name"] == "web"


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "instances", "history", "start", "cancel", "plan", "explain"])
def test_a_missing_set_is_named_with_those_that_are_there(site: Site, command: str) -> None:
    site.a_web()

    result = site.scalesets(command, "wbe")

    assert result.exit_code == 3
    assert f'no ScaleSet "wbe" in namespace "{site.namespace}" (there are: web)' in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_instance(site: Site) -> None:
    site.a_web()

    result = site.scalesets("update-instances", "web", "web-3")

    assert result.exit_code == 3
    assert "no instance web-3 (the last one is web-2)" in result.stderr
    assert not site.upgrades()


def test_what_the_user_may_not_do(site: Site, tmp_path: Any) -> None:
    site.a_web()
    site.kubectl("create", "serviceaccount", "nobody")
    token = site.kubectl("create", "token", "nobody").strip()
    config = yaml.safe_load(site.plane.kubeconfig.read_text())
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = tmp_path / "nobody"
    path.write_text(yaml.safe_dump(config))

    result = site.run("status", "web", "-n", site.namespace, "--kubeconfig", str(path))

    assert result.exit_code == 6
    assert "not allowed:" in result.stderr
    assert "nobody" in result.stderr


def test_credentials_that_are_not_accepted(site: Site, tmp_path: Any) -> None:
    config = yaml.safe_load(site.plane.kubeconfig.read_text())
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": "wrong"}}]
    path = tmp_path / "wrong"
    path.write_text(yaml.safe_dump(config))

    result = site.run("status", "web", "--kubeconfig", str(path))

    assert result.exit_code == 6
    assert "doesn't accept your credentials" in result.stderr


def test_kubectl_finds_the_plugin_and_its_completion(site: Site) -> None:
    site.a_web()
    kubectl = str(site.plane.binary("kubectl"))
    environment = {
        "PATH": f"{PROGRAM.parent}:/usr/bin:/bin",
        "KUBECONFIG": str(site.plane.kubeconfig),
        "HOME": "/nonexistent",
    }

    shown = subprocess.run(
        [kubectl, "scaleset", "status", "web", "-n", site.namespace], env=environment, capture_output=True, text=True
    )
    completed = subprocess.run(
        [kubectl, "__complete", "scaleset", "status", "-n", site.namespace, "w"],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert "web" in shown.stdout
    assert completed.stdout.splitlines()[0].startswith("web\t3 x Canonical/")
    assert completed.stdout.splitlines()[-1] == ":4"
