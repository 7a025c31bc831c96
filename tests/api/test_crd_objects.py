"""Objects in the hands of kubectl and of field managers: defaults, apply and diff, scale, status, columns, names."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_objects import (
    GONE,
    NAMESPACE,
    a_machine,
    a_member,
    a_set,
    a_small_set,
    an_availability_set,
    an_extension,
    an_image,
    an_upgrade,
    changed,
)
from api_server import RefusedError, Server

from scalesets.api import fleet_status, podschema, rollingupgrade, scaleset_status, versions
from scalesets.api.availabilityset import AvailabilitySet, AvailabilitySetStatus, MemberMachine
from scalesets.api.common import Condition, ConditionStatus, ErrorInfo, ExtensionVersion
from scalesets.api.extension import Extension
from scalesets.api.galleryimage import GalleryImage
from scalesets.api.generate import KINDS, root_schema
from scalesets.api.rollingupgrade import RollingUpgrade, RollingUpgradeStatus
from scalesets.api.scaleset import ScaleSet
from scalesets.api.scaleset_status import ScaleSetStatus
from scalesets.api.schema import Resource
from scalesets.api.virtualmachine import VirtualMachine, VirtualMachineStatus
from scalesets.local.controlplane import ControlPlane
from scalesets.local.errors import LocalError

Body = dict[str, Any]

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
READY = Condition(
    type="Ready",
    status=ConditionStatus.TRUE,
    reason="AllHealthy",
    message="All instances are healthy.",
    observed_generation=1,
    last_transition_time=NOON,
)
POLICY_DEFAULTS = {
    "mode": "Rolling",
    "rollingUpgradePolicy": {
        "maxBatchInstancePercent": 20,
        "maxUnhealthyInstancePercent": 20,
        "maxUnhealthyUpgradedInstancePercent": 20,
        "pauseTimeBetweenBatches": "PT0S",
        "healthTimeout": "PT5M",
        "provisioningTimeout": "PT15M",
        "enableCrossZoneUpgrade": False,
        "prioritizeUnhealthyInstances": False,
        "rollbackFailedInstancesOnPolicyBreach": False,
    },
    "automaticOSUpgradePolicy": {
        "enableAutomaticOSUpgrade": False,
        "disableAutomaticRollback": False,
        "useRollingUpgradePolicy": False,
        "osRollingUpgradeDeferral": False,
    },
}


class Cluster:
    """kubectl in the namespace of these tests."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane

    def __call__(self, *arguments: str, stdin: Body | None = None) -> str:
        text = json.dumps(stdin) if stdin is not None else None
        return self._control_plane.kubectl(f"--namespace={NAMESPACE}", *arguments, stdin=text)

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """A table of `kubectl get` as rows by column, read by where the headings stand."""
        heading, *lines = self("get", *arguments).splitlines()
        names = [(found.group(), found.start()) for found in re.finditer(r"\S+", heading)]
        ends = [start for _, start in names[1:]] + [None]
        return [
            {name: line[start:end].strip() for (name, start), end in zip(names, ends, strict=True)} for line in lines
        ]


@pytest.fixture(scope="module")
def kubectl(control_plane: ControlPlane, server: Server) -> Cluster:
    return Cluster(control_plane)


@pytest.fixture(autouse=True)
def clean(kubectl: Cluster) -> Iterator[None]:
    yield
    kubectl("delete", "scaleset-operator", "--all", "--wait=false")


# What the documents show.


def shown(kind: str) -> Body:
    """The first object under the kind's heading in docs/api.md."""
    text = (ROOT / "docs/api.md").read_text()
    found = re.search(rf"^## {kind} .*?^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1])


def documented(kind: str) -> Body:
    """The same as a manifest, without its status."""
    spec = shown(kind)["spec"]
    metadata = {"name": "documented", "namespace": NAMESPACE}
    return {"apiVersion": "scalesets.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("kind", ["ScaleSet", "GalleryImage", "Extension", "VirtualMachine", "AvailabilitySet"])
def test_the_documents_examples_are_taken(server: Server, kind: str) -> None:
    assert server.create(documented(kind))["spec"]


def test_the_documents_upgrade_is_taken_for_the_type_that_its_fields_are_for(server: Server) -> None:
    example = documented("RollingUpgrade")
    assert example["spec"]["extensions"] == ["monitor"]

    assert server.create(changed(example, {"spec.type": "Extension"}))["spec"]["startedBy"] == "User"


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind_info.name for kind in KINDS])
def test_the_documents_status_has_no_field_that_isnt_there(kind: type[Resource]) -> None:
    status = shown(kind.kind_info.name).get("status", {})

    assert list(unknown(status, root_schema(kind)["properties"]["status"])) == []


def unknown(value: Any, schema: Body, path: str = "status") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from unknown(item, schema["items"], path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in schema.get("properties", {}):
                yield from unknown(inner, schema["properties"][name], f"{path}.{name}")
            elif name != "...":
                yield f"{path}.{name}"


# Defaults.


def test_defaults_of_a_set_that_says_nothing(server: Server) -> None:
    assert server.create(a_small_set())["spec"] == {
        "replicas": 1,
        "updateDomains": 5,
        "imageReference": {"galleryImage": "mine", "version": "latest"},
        "osProfile": {"windowsConfiguration": {"enableAutomaticUpdates": False}},
        "upgradePolicy": POLICY_DEFAULTS,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": {"spec": {"containers": [{"name": "os"}]}},
    }


@pytest.mark.parametrize(
    "policy",
    [
        {"mode": "Manual"},
        {"rollingUpgradePolicy": {"healthTimeout": "PT1M"}},
        {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}},
    ],
)
def test_defaults_fill_in_around_what_is_said(server: Server, policy: Body) -> None:
    stored = server.create(a_small_set({"spec.upgradePolicy": policy}))["spec"]["upgradePolicy"]

    ((name, said),) = policy.items()
    default = POLICY_DEFAULTS[name]
    assert stored == POLICY_DEFAULTS | {name: default | said if isinstance(default, dict) else said}


def test_defaults_of_the_other_kinds(server: Server) -> None:
    image, extension, upgrade = (server.create(body)["spec"] for body in (an_image(), an_extension(), an_upgrade()))

    assert image["osType"] == extension["osType"] == "Linux"
    assert [version["excludeFromLatest"] for version in image["versions"] + extension["versions"]] == [False] * 3
    assert upgrade == {"scaleSet": "web", "type": "OSImage", "startedBy": "User", "cancel": False}


def test_defaults_of_machines_and_their_sets(server: Server) -> None:
    timeouts = {"healthTimeout": "PT5M", "provisioningTimeout": "PT15M"}

    assert server.create(a_member())["spec"] == {
        "availabilitySet": "dbs",
        "imageReference": {"galleryImage": "mine", "version": "latest"},
        "osProfile": {"windowsConfiguration": {"enableAutomaticUpdates": False}},
        "upgradePolicy": {"rollingUpgradePolicy": timeouts},
        "template": {"spec": {"containers": [{"name": "os"}]}},
    }
    assert server.create(an_availability_set({"spec": GONE}))["spec"] == {
        "platformUpdateDomainCount": 5,
        "upgradePolicy": {
            "rollingUpgradePolicy": {
                **timeouts,
                "maxUnhealthyInstancePercent": 20,
                "maxUnhealthyUpgradedInstancePercent": 20,
                "pauseTimeBetweenBatches": "PT0S",
            }
        },
    }


def test_nothing_is_added_to_a_template_but_the_protocol_of_ports(server: Server) -> None:
    written = a_set()
    stored = server.create(written)

    assert stored["spec"]["volumeClaimTemplates"] == written["spec"]["volumeClaimTemplates"]
    protocol = {"spec.template.spec.containers.0.ports.0.protocol": "TCP"}
    assert stored["spec"]["template"] == changed(written, protocol)["spec"]["template"]


# kubectl.


@pytest.mark.parametrize(
    "body",
    [
        a_set(),
        a_small_set(),
        an_image(),
        an_extension(),
        an_upgrade(),
        a_machine(),
        a_member(),
        an_availability_set(),
    ],
    ids=lambda body: body["metadata"]["name"],
)
@pytest.mark.parametrize("side", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_after_an_apply_there_is_no_difference(
    kubectl: Cluster, server: Server, body: Body, side: tuple[str, ...]
) -> None:
    kubectl("apply", *side, "-f-", stdin=body)
    assert kubectl("diff", *side, "-f-", stdin=body) == ""
    kubectl("apply", *side, "-f-", stdin=body)  # stores the status that there is by default, unless the operator has
    stored = server.get(body)
    assert stored["metadata"]["generation"] == 1

    assert kubectl("diff", *side, "-f-", stdin=body) == ""
    kubectl("apply", *side, "-f-", stdin=body)
    assert server.get(body)["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


def test_the_crds_themselves_can_be_applied_again(control_plane: ControlPlane) -> None:
    """Client-side too, which stores the whole file in an annotation of limited length."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        manifest = path.read_text()
        control_plane.kubectl("apply", "--dry-run=server", "-f-", stdin=manifest)
        control_plane.kubectl("replace", "--save-config", "--dry-run=server", "-f-", stdin=manifest)


def test_the_pod_schema_is_that_of_the_api_server(control_plane: ControlPlane) -> None:
    served = json.loads(control_plane.kubectl("get", "--raw", "/openapi/v3/api/v1"))
    stored = json.loads((ROOT / "operator/scalesets/api/podspec.json").read_text())

    assert served["info"]["version"].removeprefix("v").startswith(podschema.kubernetes_version())
    assert podschema.cut(served, podschema.kubernetes_version()) == stored


def test_a_mistyped_field_of_the_template_is_refused_by_name(kubectl: Cluster) -> None:
    with pytest.raises(LocalError, match=r'unknown field "spec\.template\.spec\.containers\[0\]\.readynessProbe"'):
        kubectl("apply", "-f-", stdin=a_set({"spec.template.spec.containers.0.readynessProbe": {}}))


def test_short_names_and_categories(kubectl: Cluster) -> None:
    for body in (a_set(), an_image(), an_extension(), an_upgrade(), a_machine(), an_availability_set()):
        kubectl("create", "-f-", stdin=body)

    def listed(names: str) -> list[str]:
        return sorted(line.split("/")[0] for line in kubectl("get", names, "-o", "name").splitlines())

    kinds = {
        "vmss": "scaleset.scalesets.dev",
        "gimg": "galleryimage.scalesets.dev",
        "vmext": "extension.scalesets.dev",
        "rup": "rollingupgrade.scalesets.dev",
        "avset": "availabilityset.scalesets.dev",
        "virtualmachines.scalesets.dev": "virtualmachine.scalesets.dev",
    }
    assert {short: listed(short) for short in kinds} == {short: [kind] for short, kind in kinds.items()}
    assert listed("scaleset-operator") == sorted(kinds.values())
    assert listed("scalesets") == ["scaleset.scalesets.dev"]
    assert [name for name in listed("all") if "scalesets.dev" in name] == [
        "scaleset.scalesets.dev",
        "virtualmachine.scalesets.dev",
    ]


def test_upgrades_can_be_selected_by_set_and_type(kubectl: Cluster) -> None:
    for name, set_name, kind in (("a", "web", "OSImage"), ("b", "web", "Model"), ("c", "shop", "OSImage")):
        kubectl("create", "-f-", stdin=an_upgrade({"spec.scaleSet": set_name, "spec.type": kind}, name=name))

    rows = kubectl.table("rup", "--field-selector=spec.scaleSet=web,spec.type=OSImage")

    assert [row["NAME"] for row in rows] == ["a"]


def test_machines_and_their_upgrades_can_be_selected_by_whose_they_are(kubectl: Cluster) -> None:
    for body in (
        a_machine(),
        a_member(),
        an_upgrade({"spec": {"virtualMachine": "db", "type": "Extension"}}, name="of-db"),
        an_upgrade({"spec": {"availabilitySet": "dbs", "type": "Extension"}}, name="of-dbs"),
    ):
        kubectl("create", "-f-", stdin=body)

    def selected(kind: str, selector: str) -> list[str]:
        return [row["NAME"] for row in kubectl.table(kind, f"--field-selector={selector}")]

    assert selected("virtualmachine", "spec.availabilitySet=dbs") == ["member"]
    assert selected("virtualmachine", "spec.availabilitySet=") == ["db"]
    assert selected("rup", "spec.virtualMachine=db") == ["of-db"]
    assert selected("rup", "spec.availabilitySet=dbs,spec.type=Extension") == ["of-dbs"]


def test_every_field_can_be_explained(kubectl: Cluster) -> None:
    explained = kubectl("explain", "vmss.spec.upgradePolicy.rollingUpgradePolicy.healthTimeout")

    assert "How long an upgraded instance may take to become healthy" in explained


# Server-side apply with several managers.


def manage(kubectl: Cluster, manager: str, body: Body) -> Body:
    options = ("--server-side", f"--field-manager={manager}", "--show-managed-fields", "-o", "json")
    return json.loads(kubectl("apply", *options, "-f-", stdin=body))


def test_two_managers_publish_versions_of_one_image(kubectl: Cluster) -> None:
    first, second = an_image()["spec"]["versions"]
    identity = {key: value for key, value in an_image()["spec"].items() if key != "versions"}

    manage(kubectl, "one", an_image({"spec": {**identity, "versions": [first]}}))
    stored = manage(kubectl, "two", an_image({"spec": {**identity, "versions": [second]}}))
    assert [v["version"] for v in stored["spec"]["versions"]] == [first["version"], second["version"]]

    stored = manage(kubectl, "one", an_image({"spec": {**identity, "versions": []}}))
    assert [v["version"] for v in stored["spec"]["versions"]] == [second["version"]]


def test_another_manager_adds_a_container_and_a_protection(kubectl: Cluster) -> None:
    manage(kubectl, "one", a_set())
    small = a_small_set(name="web")
    template = {"spec": {"containers": [{"name": "proxy", "image": "registry.example/proxy:1"}]}}
    added = {"template": template, "instanceProtection": [{"instanceId": 7, "protectFromUpgrade": True}]}

    stored = manage(kubectl, "two", {**small, "spec": {"imageReference": {}, **added}})

    assert [c["name"] for c in stored["spec"]["template"]["spec"]["containers"]] == ["os", "log", "proxy"]
    assert [p["instanceId"] for p in stored["spec"]["instanceProtection"]] == [3, 7]


def test_replicas_that_nobody_applies_any_more_fall_to_the_default(kubectl: Cluster) -> None:
    """Which is why the operator doesn't scale a set in to a 1 that no field manager owns."""
    manage(kubectl, "one", a_small_set({"spec.replicas": 5}))
    stored = manage(kubectl, "one", a_small_set())

    assert stored["spec"]["replicas"] == 1
    owned = [entry["fieldsV1"]["f:spec"] for entry in stored["metadata"]["managedFields"]]
    assert [fields for fields in owned if "f:replicas" in fields] == []


# Scale.


def test_the_scale_subresource(kubectl: Cluster, server: Server) -> None:
    body = server.create(a_set(), keep=True)
    server.replace_status({**body, "status": {"replicas": 10, "selector": "scalesets.dev/scaleset=web"}}, keep=True)

    kubectl("scale", "vmss/web", "--replicas=4")

    path = f"/apis/scalesets.dev/v1alpha1/namespaces/{NAMESPACE}/scalesets/web/scale"
    scale = json.loads(kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 10, "selector": "scalesets.dev/scaleset=web"}
    assert server.get(body)["spec"]["replicas"] == 4


def test_scaling_beyond_the_largest_set_is_refused(kubectl: Cluster, server: Server) -> None:
    server.create(a_set(), keep=True)

    with pytest.raises(LocalError, match=r"spec\.replicas.*less than or equal to 10000"):
        kubectl("scale", "vmss/web", "--replicas=10001")


# Status and columns.

LAST_EXTENSION_UPGRADE = fleet_status.LastExtensionUpgrade(
    name="web-ext-7f3c",
    version="9.6.0",
    outcome=fleet_status.Outcome.FAULTED,
    code="MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade",
    reason="2 of 4 upgraded instances are unhealthy.",
    completed_time=NOON,
    retry_time=NOON + timedelta(days=3),
)
SET_STATUS = ScaleSetStatus(
    observed_generation=1,
    replicas=10,
    ready_replicas=9,
    upgraded_replicas=8,
    latest_model_replicas=7,
    selector="scalesets.dev/scaleset=web",
    location="westeurope",
    zones_backed=False,
    current_model="5f6c7d8e",
    image_version="22.4.202611010",
    current_upgrade="web-os-7f3c",
    upgrade_attempts=3,
    faulted_os_versions=("22.4.202610015",),
    last_os_upgrade=scaleset_status.LastUpgrade(
        name="web-os-6a2b",
        version="22.4.202610010",
        outcome=fleet_status.Outcome.FAULTED,
        code="MaxUnhealthyInstancePercentExceededInRollingUpgrade",
        reason="Too many instances are unhealthy.",
        completed_time=NOON,
        started_by="Platform",
        model="5f6c7d8e",
        enabled_time=NOON,
        within_limit_delay=timedelta(minutes=1),
    ),
    last_model_upgrade=scaleset_status.LastUpgrade(outcome=fleet_status.Outcome.COMPLETED, completed_time=NOON),
    automatic_os_upgrade_enabled_time=NOON,
    automatic_os_upgrade_first_enabled_time=NOON + timedelta(microseconds=123456),
    instances=(
        fleet_status.InstanceGroup(
            ordinals="0-3,7",
            image_version="22.4.202611010",
            model="5f6c7d8e",
            extensions=(ExtensionVersion(name="health", version="1.0.4"),),
        ),
    ),
    extensions=(
        fleet_status.ExtensionStatus(
            name="health", version="1.0.4", automatic_upgrade=fleet_status.AutomaticUpgrade.NOT_SUPPORTED
        ),
        fleet_status.ExtensionStatus(
            name="monitor",
            version="9.5.1",
            automatic_upgrade=fleet_status.AutomaticUpgrade.ENABLED,
            last_upgrade=LAST_EXTENSION_UPGRADE,
        ),
    ),
    conditions=(READY,),
)
UPGRADE_STATUS = RollingUpgradeStatus(
    observed_generation=1,
    running_status=rollingupgrade.RunningStatus(
        code=rollingupgrade.RunningCode.ROLLING_FORWARD, start_time=NOON, last_action="Start", last_action_time=NOON
    ),
    started_by=rollingupgrade.StartedBy.USER,
    progress=rollingupgrade.UpgradeProgress(
        successful_instance_count=4, failed_instance_count=1, in_progress_instance_count=2, pending_instance_count=3
    ),
    target="22.4.202611010",
    target_image_reference=rollingupgrade.TargetImageReference(
        publisher="Canonical", offer="ubuntu-server-jammy", sku="22_04-LTS", version="22.4.202611010"
    ),
    target_model="5f6c7d8e",
    target_extensions=(
        rollingupgrade.TargetExtension(
            name="monitor",
            from_="9.5.1",
            to="9.6.0",
            outcome=rollingupgrade.ExtensionOutcome.STOPPED,
            successful_instance_count=1,
            failed_instance_count=3,
            error=ErrorInfo(code="MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", message="3 of 4"),
        ),
        rollingupgrade.TargetExtension(
            name="monitor", from_="8.1.0", to="8.2.0", outcome=rollingupgrade.ExtensionOutcome.PENDING
        ),
        rollingupgrade.TargetExtension(name="health", to="1.0.5"),
    ),
    scope="0-9",
    skipped="3",
    waiting_for="2 instances to become healthy",
    rollback_info=rollingupgrade.RollbackInfo(
        successfully_rolledback_instance_count=1, rollback_error=ErrorInfo(code="NotHealthy", message="web-2")
    ),
    error=ErrorInfo(code="TargetWithdrawn", message="The version is gone."),
    batches=(
        rollingupgrade.BatchStatus(
            number=1,
            extension="monitor",
            zone="1",
            update_domain=0,
            start_time=NOON,
            completed_time=NOON,
            ordinals="0,15",
            machines=("db-a", "db-b"),
            from_=(rollingupgrade.Origin(image_version="22.4.202610010", model="5f6c7d8e", ordinals="0,15"),),
            failed="15",
            rolled_back="15",
            unhealthy_before="",
            roll_back_time=NOON,
            roll_back_failed="",
            outcome=rollingupgrade.BatchOutcome.ROLLED_BACK,
        ),
    ),
    conditions=(READY,),
)
MACHINE_STATUS = VirtualMachineStatus(
    observed_generation=1,
    location="westeurope",
    update_domain=2,
    zones_backed=True,
    current_model="5f6c7d8e",
    image_version="22.4.202611010",
    current_upgrade="db-ext-7f3c",
    upgrade_attempts=2,
    instances=(
        fleet_status.InstanceGroup(
            ordinals="0",
            image_version="22.4.202611010",
            model="5f6c7d8e",
            extensions=(ExtensionVersion(name="monitor", version="9.5.1"),),
        ),
    ),
    extensions=(
        fleet_status.ExtensionStatus(
            name="monitor",
            version="9.5.1",
            automatic_upgrade=fleet_status.AutomaticUpgrade.ENABLED,
            last_upgrade=LAST_EXTENSION_UPGRADE,
        ),
    ),
    conditions=(READY,),
)
AVAILABILITY_SET_STATUS = AvailabilitySetStatus(
    observed_generation=1,
    location="westeurope",
    replicas=2,
    ready_replicas=1,
    current_upgrade="dbs-ext-7f3c",
    upgrade_attempts=1,
    machines=(
        MemberMachine(name="db-a", update_domain=0),
        MemberMachine(name="db-b", ordinal=4, update_domain=1),
    ),
    instances=(fleet_status.InstanceGroup(ordinals="0,4"),),
    extensions=(
        fleet_status.ExtensionStatus(
            name="monitor", version="9.5.1", automatic_upgrade=fleet_status.AutomaticUpgrade.DISABLED
        ),
    ),
    conditions=(READY,),
)
CATALOGUE_STATUS = versions.CatalogueStatus(
    observed_generation=1,
    versions=(
        versions.VersionStatus(
            version="22.4.202611010",
            image="registry.example/os:22.4.202611010",
            first_seen_time=NOON,
            regions=(versions.RegionStatus(name="westeurope", state=versions.RegionState.AVAILABLE, since=NOON),),
        ),
    ),
    latest=(versions.LatestVersion(region="westeurope", version="22.4.202611010"),),
    conditions=(READY,),
)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (a_set(), ScaleSet, SET_STATUS),
        (an_upgrade(), RollingUpgrade, UPGRADE_STATUS),
        (an_image(), GalleryImage, CATALOGUE_STATUS),
        (an_extension(), Extension, CATALOGUE_STATUS),
        (a_machine(), VirtualMachine, MACHINE_STATUS),
        (an_availability_set(), AvailabilitySet, AVAILABILITY_SET_STATUS),
    ],
)
def test_a_whole_status_is_stored_and_read_as_it_was_written(
    server: Server, body: Body, kind: type[Any], status: Any
) -> None:
    stored = server.create({**body, "status": status.body()}, keep=True)
    assert stored["status"] == {"observedGeneration": 0}  # only the subresource writes another

    server.replace_status({**stored, "status": status.body()}, keep=True)

    read = server.get(body)
    assert read["status"] == status.body()
    assert kind.model_validate(read).status == status
    assert read["spec"] == stored["spec"]
    assert read["metadata"]["generation"] == 1


def test_a_status_write_leaves_the_spec_alone(server: Server) -> None:
    body = server.create(a_set(), keep=True)

    server.replace_status(changed(body, {"spec.replicas": 1, "status.replicas": 3}), keep=True)

    assert server.get(body)["spec"]["replicas"] == 10
    assert server.get(body)["status"] == {"observedGeneration": 0, "replicas": 3}


def test_a_bad_status_is_refused(server: Server) -> None:
    body = server.create(an_upgrade(), keep=True)

    with pytest.raises(RefusedError) as refused:
        server.replace_status({**body, "status": {"scope": "0..9", "waitingFor": "x" * 4097}})

    assert refused.value.names("status.scope", "should match")
    assert refused.value.names("status.waitingFor", "4096")


def test_the_columns_of_a_set(kubectl: Cluster, server: Server) -> None:
    body = server.create(a_set(), keep=True)
    server.replace_status({**body, "status": SET_STATUS.body()}, keep=True)

    (row,) = kubectl.table("vmss")
    (wide,) = kubectl.table("vmss", "-o", "wide")

    age = row.pop("AGE")
    assert re.fullmatch(r"\d+s", age)
    assert row == {
        "NAME": "web",
        "DESIRED": "10",
        "READY": "9",
        "UPGRADED": "8",
        "VERSION": "22.4.202611010",
        "UPGRADE": "web-os-7f3c",
    }
    assert wide.items() >= row.items()
    assert {name: value for name, value in wide.items() if name not in row and name != "AGE"} == {
        "LATEST-MODEL": "7",
        "MODE": "Rolling",
        "LOCATION": "westeurope",
        "REASON": "AllHealthy",
    }


def test_the_columns_of_an_upgrade(kubectl: Cluster, server: Server) -> None:
    body = server.create(an_upgrade(), keep=True)
    server.replace_status({**body, "status": UPGRADE_STATUS.body()}, keep=True)

    (row,) = kubectl.table("rup")

    assert list(row) == ["NAME", "SET", "TYPE", "STATUS", "DONE", "FAILED", "PENDING", "TARGET", "AGE"]
    assert list(row.values())[:-1] == ["up", "web", "OSImage", "RollingForward", "4", "1", "3", "22.4.202611010"]


def test_the_columns_of_upgrades_tell_whose_they_are(kubectl: Cluster) -> None:
    for whose, name in (("scaleSet", "web"), ("availabilitySet", "dbs"), ("virtualMachine", "db")):
        kubectl("create", "-f-", stdin=an_upgrade({"spec": {whose: name, "type": "Extension"}}, name=f"of-{name}"))

    assert {row["NAME"]: row["SET"] for row in kubectl.table("rup")} == {
        "of-web": "web",
        "of-dbs": "dbs",
        "of-db": "db",
    }


def test_the_columns_of_machines_and_their_sets(kubectl: Cluster, server: Server) -> None:
    for body, status in ((a_member(), MACHINE_STATUS), (an_availability_set(), AVAILABILITY_SET_STATUS)):
        stored = server.create(body, keep=True)
        server.replace_status({**stored, "status": status.body()}, keep=True)

    (machine,) = kubectl.table("virtualmachine")
    (wide,) = kubectl.table("virtualmachine", "-o", "wide")
    (availability_set,) = kubectl.table("avset")

    assert list(machine) == ["NAME", "READY", "VERSION", "AVAILABILITY-SET", "UPGRADE", "AGE"]
    assert list(machine.values())[:-1] == ["member", "True", "22.4.202611010", "dbs", "db-ext-7f3c"]
    assert (wide["UPDATE-DOMAIN"], wide["LOCATION"], wide["REASON"]) == ("2", "westeurope", "AllHealthy")
    assert list(availability_set) == ["NAME", "DOMAINS", "MACHINES", "READY", "UPGRADE", "AGE"]
    assert list(availability_set.values())[:-1] == ["dbs", "3", "2", "1", "dbs-ext-7f3c"]


def test_the_columns_of_the_catalogue(kubectl: Cluster, server: Server) -> None:
    for body in (an_image(), an_extension()):
        stored = server.create(body, keep=True)
        server.replace_status({**stored, "status": CATALOGUE_STATUS.body()}, keep=True)

    (image,) = kubectl.table("gimg")
    (extension,) = kubectl.table("vmext")

    assert (image["SOURCE"], image["SKU"], image["LATEST"]) == ("Platform", "22_04-LTS", "22.4.202611010")
    assert (extension["TYPE"], extension["LATEST"], extension["AUTOMATIC"]) == ("Health", "22.4.202611010", "true")


def test_kubectl_waits_for_conditions(kubectl: Cluster, server: Server) -> None:
    body = server.create(an_upgrade(), keep=True)
    complete = {**READY.body(), "type": "Complete"}
    server.replace_status({**body, "status": {"conditions": [complete]}}, keep=True)

    assert "condition met" in kubectl("wait", "rup/up", "--for=condition=Complete", "--timeout=5s")
