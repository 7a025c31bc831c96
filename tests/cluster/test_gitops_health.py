"""What Flux, Argo CD and `kubectl wait` make of our objects at each step of their lives.

The worst that can happen to a pipeline is an object that says "done" before it is: a version of a set whose
observedGeneration is that of the new spec, and that is Ready as under the old one.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from builders import API_VERSION, a_machine, a_set, an_extension, an_image, uses
from judges import ROOT, ArgoHealth, Kstatus
from operators import Operator
from scene import Body, Scene

from scalesets.local.controlplane import ControlPlane
from watching import OURS

HOW_TO = ROOT / "docs" / "how-to" / "gitops.md"


@pytest.fixture(scope="module")
def kstatus(tmp_path_factory: pytest.TempPathFactory) -> Kstatus:
    return Kstatus.build(tmp_path_factory.mktemp("kstatus"))


@pytest.fixture(scope="module")
def argo() -> ArgoHealth:
    return ArgoHealth.read()


class Recording(dict[tuple[str, str], Body]):
    """Keeps every version of the objects that the watches show."""

    def __init__(self, known: dict[tuple[str, str], Body]) -> None:
        super().__init__(known)
        self.versions: list[Body] = []

    def __setitem__(self, key: tuple[str, str], value: Body) -> None:
        self.versions.append(value)
        super().__setitem__(key, value)


def record(scene: Scene) -> Recording:
    recording = Recording(scene.objects)
    scene.objects = recording
    return recording


async def test_a_set_from_waiting_for_its_image_to_current(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    recording = record(scene)
    await scene.create(a_set("web", replicas=3, extensions=[uses("monitor")]))
    await scene.until_condition("Reconciling")
    assert kstatus.of(scene.set()) == ["InProgress"]
    assert argo.of(scene.set()) == "Progressing"
    await scene.create(an_image("ubuntu", "1.0.0"), an_extension("monitor", "1.0.0"))
    await scene.until_ready()
    assert kstatus.of(scene.set()) == ["Current"]
    assert argo.of(scene.set()) == "Healthy"
    await scene.until_published("ubuntu", "1.0.0")
    await scene.until_extension_published("monitor", "1.0.0")
    catalogue = [scene.find("GalleryImage", "ubuntu") or {}, scene.find("Extension", "monitor") or {}]
    assert kstatus.of(*catalogue) == ["Current", "Current"]
    assert [argo.of(each) for each in catalogue] == ["Healthy", "Healthy"]
    too_early = [v for v in done(recording, kstatus) if ready_replicas(v) < 3]
    assert not too_early, "no version of the set said done before its instances were there"


async def test_a_new_spec_is_never_done_before_it_is(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=3, env="one"))
    await scene.until_ready()
    recording = record(scene)
    web = a_set("web", replicas=5, env="two")
    await scene.change("ScaleSet", "web", replicas=5, template=web["spec"]["template"])
    generation = scene.set()["metadata"]["generation"]
    await scene.until_ready(within=60)
    new = [v for v in done(recording, kstatus) if v["metadata"]["generation"] == generation]
    assert new, "in the end it is done"
    latest = [v["status"].get("latestModelReplicas") for v in new]
    assert set(latest) == {5}, "and never before all instances are there, on the new model"
    assert not [v for v in recording.versions if v["kind"] == "ScaleSet" and argo.of(v) == "Degraded"]
    model = scene.upgrades()[-1]
    assert kstatus.of(model) == ["Current"]
    assert argo.of(model) == "Healthy"


async def test_a_broken_model_fails(operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth) -> None:
    await scene.create(an_image("ubuntu", "1.0.0", "2.0.0"), a_set("web", replicas=3, version="1.0.0"))
    await scene.until_ready()
    image = {"galleryImage": "ubuntu", "version": "3.0.0"}
    await scene.publish("ubuntu", "3.0.0", "broken", excludeFromLatest=True)
    await scene.until(lambda: known(scene, "3.0.0"), what="3.0.0 to be known")
    await scene.change("ScaleSet", "web", imageReference=image)
    upgrade = await scene.until_ended()
    await scene.until_condition("Stalled", reason="ModelUpgradeFaulted")
    assert kstatus.of(scene.set(), upgrade) == ["Failed", "Failed"]
    assert argo.of(scene.set()) == "Degraded"
    assert argo.of(upgrade) == "Degraded"
    await scene.change("ScaleSet", "web", imageReference={**image, "version": "2.0.0"})
    await scene.until_on("2.0.0")
    assert kstatus.of(scene.set()) == ["Current"]


async def test_what_the_platform_does_leaves_the_set_current(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    """A pipeline that waits for its own commit must not wait for a publisher's version."""
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    recording = record(scene)
    await scene.publish("ubuntu", "2.0.0")
    running = await scene.until_batch()
    assert kstatus.of(running) == ["InProgress"]
    assert argo.of(running) == "Progressing"
    ended = await scene.until_ended()
    assert kstatus.of(ended) == ["Current"]
    sets = [v for v in recording.versions if v["kind"] == "ScaleSet"]
    assert {*kstatus.of(*sets)} == {"Current"}
    assert {argo.of(each) for each in sets} == {"Healthy"}


async def test_an_upgrade_that_waits_for_approval_is_suspended(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    web = a_set("web", replicas=2, os_upgrades={"osRollingUpgradeDeferral": True})
    await scene.create(an_image("ubuntu", "1.0.0"), web)
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_condition("Progressing", status="False", reason="WaitingForApproval")
    assert argo.of(scene.set()) == "Suspended"
    assert kstatus.of(scene.set()) == ["Current"]
    await scene.until(lambda: argo.of(scene.upgrades()[0]) == "Suspended", what="the upgrade to be suspended")
    await scene.change("RollingUpgrade", scene.upgrades()[0]["metadata"]["name"], approvedInstances=["*"])
    await scene.until_ended()
    await scene.until(lambda: argo.of(scene.set()) == "Healthy", what="the set to be healthy")


async def test_more_unhealthy_instances_than_allowed(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=5))
    await scene.until_ready()
    scene.fail(3, 4)
    await scene.until_condition("Ready", status="False", reason="TooManyUnhealthy")
    assert kstatus.of(scene.set()) == ["InProgress"]
    assert argo.of(scene.set()) == "Degraded"
    scene.heal()
    await scene.until_ready()
    assert kstatus.of(scene.set()) == ["Current"]
    assert argo.of(scene.set()) == "Healthy"


async def test_machines_and_their_availability_set(
    operator: Operator, scene: Scene, kstatus: Kstatus, argo: ArgoHealth
) -> None:
    recording = record(scene)
    group: Body = {"apiVersion": API_VERSION, "kind": "AvailabilitySet", "metadata": {"name": "dbs"}, "spec": {}}
    await scene.create(a_machine("db", availabilitySet="dbs"), group)
    await scene.until(lambda: argo.of(the(scene, "VirtualMachine", "db")) == "Progressing", what="the machine to wait")
    assert kstatus.of(the(scene, "VirtualMachine", "db")) == ["InProgress"]
    await scene.create(an_image("ubuntu", "1.0.0"))
    for kind, name in (("VirtualMachine", "db"), ("AvailabilitySet", "dbs")):
        await scene.until(lambda k=kind, n=name: argo.of(the(scene, k, n)) == "Healthy", what=f"{kind} to be healthy")
        assert kstatus.of(the(scene, kind, name)) == ["Current"]
    machines = [v for v in recording.versions if v["kind"] == "VirtualMachine"]
    early = [v for v, status in zip(machines, kstatus.of(*machines), strict=True) if status == "Current"]
    assert early, "in the end it is done"
    conditions = [{c["type"]: c["status"] for c in v["status"].get("conditions", ())} for v in early]
    assert {c.get("Ready") for c in conditions} == {"True"}, "and never before it is up"


async def test_argo_cd_is_given_the_script_as_told(control_plane: ControlPlane, scene: Scene, argo: ArgoHealth) -> None:
    """The command of docs/how-to/gitops.md, on a ConfigMap such as Argo CD's installation makes."""
    (told,) = re.findall(r"kubectl (.* configmap argocd-cm .*) (examples/.*)", HOW_TO.read_text())
    await scene.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}})
    try:
        settings = {"timeout.reconciliation": "60s"}
        metadata = {"name": "argocd-cm", "namespace": "argocd"}
        await scene.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": settings})
        command = [*told[0].split(), str(ROOT / told[1])]
        await asyncio.to_thread(control_plane.kubectl, *command)
        data = (await scene.api.get("ConfigMap", "argocd", "argocd-cm"))["data"]
    finally:
        await scene.api.delete("Namespace", "", "argocd")
    scripts = {f"resource.customizations.health.scalesets.dev_{kind}": text for kind, text in argo.scripts.items()}
    assert data == {**settings, **scripts}
    assert set(argo.scripts) == set(OURS), "every kind of ours"


async def test_kubectl_wait(operator: Operator, scene: Scene, control_plane: ControlPlane) -> None:
    def wait(what: str, *, condition: str) -> str:
        where = ("-n", scene.namespace, "--timeout=60s")
        return control_plane.kubectl("wait", f"--for=condition={condition}", *where, what)

    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=2))
    said = await asyncio.to_thread(wait, "vmss/web", condition="Ready")
    assert "condition met" in said
    assert len(scene.pods()) == 2
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch()
    name = scene.upgrades()[0]["metadata"]["name"]
    said = await asyncio.to_thread(wait, f"rup/{name}", condition="Complete")
    assert "condition met" in said
    await scene.until_ended(name)


def done(recording: Recording, kstatus: Kstatus) -> list[Body]:
    """The versions of the set that say that it is done."""
    sets = [v for v in recording.versions if v["kind"] == "ScaleSet"]
    return [v for v, status in zip(sets, kstatus.of(*sets), strict=True) if status == "Current"]


def ready_replicas(version: Body) -> int:
    return int(version.get("status", {}).get("readyReplicas", 0))


def the(scene: Scene, kind: str, name: str) -> Body:
    return scene.find(kind, name) or {"kind": kind, "metadata": {"generation": 1}}


def known(scene: Scene, number: str) -> bool:
    image: Any = scene.find("GalleryImage", "ubuntu") or {}
    return any(v["version"] == number for v in image.get("status", {}).get("versions", ()))
