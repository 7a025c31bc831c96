"""Each rule of the API, told by the API server: the bad object, the field that the refusal points to, and its words.

Nothing is stored: every request is a dry run, changes are tried on objects that stand for the whole module.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from api_objects import (
    GONE,
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

from scalesets.api.generate import KINDS, root_schema
from scalesets.api.schema import Resource

Body = dict[str, Any]

POD = "spec.template.spec"
OS = f"{POD}.containers.0"
CLAIM = "spec.volumeClaimTemplates.0"
ROLLING = "spec.upgradePolicy.rollingUpgradePolicy"
START_UP = "spec.container.startupProbe"
DOMAINS = "spec.platformUpdateDomainCount"
LONG = "x" * 64
A_LABEL = "should match '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'"
A_DURATION = "must be an ISO 8601 duration"


def new(bad: Body, field: str, words: str) -> Any:
    """A row: this object is refused for the field, with the words."""
    return pytest.param(bad, field, words, id=f"{bad['kind']} {field}: {words}")


NEW_SETS = [
    # name
    new(a_set(name="w" * 53), "metadata.name", "must be a DNS label of at most 52 characters"),
    new(a_set(name="web.shop"), "metadata.name", "must be a DNS label"),
    # numbers
    new(a_set({"spec.replicas": -1}), "spec.replicas", "greater than or equal to 0"),
    new(a_set({"spec.replicas": 10_001}), "spec.replicas", "less than or equal to 10000"),
    new(a_set({"spec.updateDomains": 0}), "spec.updateDomains", "greater than or equal to 1"),
    new(a_set({"spec.updateDomains": 21}), "spec.updateDomains", "less than or equal to 20"),
    # place
    new(a_set({"spec.location": "West Europe"}), "spec.location", "such as westeurope"),
    new(a_set({"spec.location": LONG}), "spec.location", "63"),
    new(a_set({"spec.zones": []}), "spec.zones", "at least 1 items"),
    new(a_set({"spec.zones": ["1", "2", "1"]}), "spec.zones", "zones must differ: remove the duplicate"),
    new(a_set({"spec.zones": [str(n) for n in range(11)]}), "spec.zones", "at most 10 items"),
    new(a_set({"spec.zones": ["a zone"]}), "spec.zones[0]", "should match"),
    new(
        a_set({f"{POD}.nodeSelector": {"topology.kubernetes.io/zone": "1"}}),
        f"{POD}.nodeSelector",
        "must not choose a zone beside spec.zones: remove one of the two",
    ),
    new(
        a_set({f"{POD}.nodeSelector": {"failure-domain.beta.kubernetes.io/zone": "1"}}),
        f"{POD}.nodeSelector",
        "must not choose a zone beside spec.zones",
    ),
    # image
    new(a_set({"spec.imageReference": GONE}), "spec.imageReference", "Required value"),
    new(a_set({"spec.imageReference.sku": GONE}), "spec.imageReference", "either publisher, offer and sku, or"),
    new(a_set({"spec.imageReference.galleryImage": "mine"}), "spec.imageReference", "or galleryImage"),
    new(a_small_set({"spec.imageReference": {}}), "spec.imageReference", "must have either publisher, offer and sku"),
    new(a_set({"spec.imageReference.publisher": ""}), "spec.imageReference.publisher", "at least 1 chars"),
    new(a_set({"spec.imageReference.version": "newest"}), "spec.imageReference.version", "must be latest or Major.Mi"),
    new(a_set({"spec.imageReference.version": "22.4"}), "spec.imageReference.version", "Major.Minor.Patch"),
    new(a_set({"spec.imageReference.version": "22.4.1-rc"}), "spec.imageReference.version", "Major.Minor.Patch"),
    # custom data
    new(
        a_set({"spec.osProfile": {"customData": "a", "customDataFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}}),
        "spec.osProfile.customDataFrom",
        "customData and customDataFrom exclude each other: remove one",
    ),
    new(a_set({"spec.osProfile.customData": "x" * 65_536}), "spec.osProfile.customData", "65535"),
    new(
        a_set({"spec.osProfile.customDataFrom": {"secretKeyRef": {"name": "s"}}}),
        "spec.osProfile.customDataFrom.secretKeyRef.key",
        "Required value",
    ),
    # upgrade policy
    new(a_set({"spec.upgradePolicy.mode": "Sometimes"}), "spec.upgradePolicy.mode", '"Automatic", "Rolling", "Manual"'),
    new(a_set({f"{ROLLING}.maxBatchInstancePercent": 4}), f"{ROLLING}.maxBatchInstancePercent", "equal to 5"),
    new(
        a_set({f"{ROLLING}.maxBatchInstancePercent": 21}),
        f"{ROLLING}.maxBatchInstancePercent",
        "maxBatchInstancePercent must not be above maxUnhealthyInstancePercent",
    ),
    new(
        a_set({f"{ROLLING}.maxUnhealthyInstancePercent": 10}),
        f"{ROLLING}.maxBatchInstancePercent",
        "must not be above maxUnhealthyInstancePercent: lower it or raise that",
    ),
    new(a_set({f"{ROLLING}.maxUnhealthyInstancePercent": 101}), f"{ROLLING}.maxUnhealthyInstancePercent", "to 100"),
    new(
        a_set({f"{ROLLING}.maxUnhealthyUpgradedInstancePercent": -1}),
        f"{ROLLING}.maxUnhealthyUpgradedInstancePercent",
        "greater than or equal to 0",
    ),
    new(a_set({f"{ROLLING}.healthTimeout": "5m"}), f"{ROLLING}.healthTimeout", A_DURATION),
    new(a_set({f"{ROLLING}.healthTimeout": "PT0S"}), f"{ROLLING}.healthTimeout", "must be longer than zero"),
    new(a_set({f"{ROLLING}.provisioningTimeout": "P0DT0H"}), f"{ROLLING}.provisioningTimeout", "longer than zero"),
    new(a_set({f"{ROLLING}.provisioningTimeout": "PT"}), f"{ROLLING}.provisioningTimeout", A_DURATION),
    new(a_set({f"{ROLLING}.pauseTimeBetweenBatches": "P1Y"}), f"{ROLLING}.pauseTimeBetweenBatches", A_DURATION),
    new(a_set({f"{ROLLING}.pauseTimeBetweenBatches": "P1D2H"}), f"{ROLLING}.pauseTimeBetweenBatches", "such as PT5M"),
    new(a_set({f"{ROLLING}.pauseTimeBetweenBatches": "PT1S1M"}), f"{ROLLING}.pauseTimeBetweenBatches", A_DURATION),
    new(
        a_set({"spec.serviceFabric.clusterDurabilityLevel": "Iron"}),
        "spec.serviceFabric.clusterDurabilityLevel",
        '"Bronze", "Silver", "Gold"',
    ),
    # the rest
    new(a_set({"spec.serviceName": "Web"}), "spec.serviceName", A_LABEL),
    new(a_set({"spec.instanceProtection.1": {"instanceId": 3}}), "spec.instanceProtection[1]", "Duplicate value"),
    new(
        a_set({"spec.instanceProtection": [{"instanceId": n} for n in range(101)]}),
        "spec.instanceProtection",
        "at most 100 items",
    ),
    new(
        a_set({"spec.persistentVolumeClaimRetentionPolicy.whenScaled": "Keep"}),
        "spec.persistentVolumeClaimRetentionPolicy.whenScaled",
        '"Retain", "Delete"',
    ),
]

EXTENSIONS = "spec.extensions"
FIRST, SECOND = f"{EXTENSIONS}[0]", f"{EXTENSIONS}[1]"
THIRD = {"name": "audit", "publisher": "Example", "type": "Audit", "typeHandlerVersion": "1"}


def new_extensions(good: Body) -> list[Any]:
    """The rows that hold for the extensions of a set and of a machine."""

    def extensions(changes: Body) -> Body:
        return changed(good, {f"{EXTENSIONS}.{path}": value for path, value in changes.items()})

    return [
        new(extensions({"1.name": "monitor"}), SECOND, "Duplicate value"),
        new(extensions({"0.name": "os"}), f"{FIRST}.name", "name can't be os or custom-data"),
        new(extensions({"0.name": "custom-data"}), f"{FIRST}.name", "name can't be os or custom-data"),
        new(extensions({"0.name": "e" * 57}), f"{FIRST}.name", "56"),
        new(extensions({"0.name": "Monitor"}), f"{FIRST}.name", A_LABEL),
        new(extensions({"0.publisher": GONE}), f"{FIRST}.publisher", "Required value"),
        new(extensions({"0.type": GONE}), f"{FIRST}.type", "Required value"),
        new(extensions({"0.typeHandlerVersion": GONE}), f"{FIRST}.typeHandlerVersion", "Required value"),
        new(
            extensions({"0.typeHandlerVersion": "1.x"}),
            f"{FIRST}.typeHandlerVersion",
            "must be Major, Major.Minor or Major.Minor.Patch",
        ),
        # Two that can't stand beside each other: by name.
        new(extensions({"1.type": "Monitor"}), EXTENSIONS, "must differ in publisher or type: remove one"),
        new(extensions({"1.type": "Monitor"}), EXTENSIONS, 'extensions ["monitor", "health"] must differ in'),
        new(
            extensions({"0.name": "log", "1.provisionAfterExtensions": GONE}),
            EXTENSIONS,
            'must not be named as a container of the template: rename one of those named ["log"]',
        ),
        new(
            extensions({"0.name": "prepare", "1.provisionAfterExtensions": GONE}),
            EXTENSIONS,
            "extensions must not be named as a container of the template: rename one",
        ),
        # Order: by name.
        new(
            extensions({"1.provisionAfterExtensions": ["health"]}),
            EXTENSIONS,
            "can't name the extension itself: remove it",
        ),
        new(
            extensions({"1.provisionAfterExtensions": ["health"]}),
            EXTENSIONS,
            'itself: remove it from ["health"]',
        ),
        new(
            extensions({"1.provisionAfterExtensions": ["monitor", "gone", "lost"]}),
            EXTENSIONS,
            'stand here: add [["gone", "lost"]] or remove their names',
        ),
        new(
            extensions({"1.provisionAfterExtensions": ["gone"]}),
            EXTENSIONS,
            "provisionAfterExtensions must name extensions that stand here",
        ),
        new(
            extensions({"0.provisionAfterExtensions": ["health"]}),
            EXTENSIONS,
            "provisionAfterExtensions must not form a circle",
        ),
        new(
            extensions({"0.provisionAfterExtensions": ["health"], "2": THIRD}),
            EXTENSIONS,
            '["monitor", "health"] wait for each other; remove one of the names',
        ),
        new(
            extensions({"1.provisionAfterExtensions": [f"e{n}" for n in range(21)]}),
            f"{SECOND}.provisionAfterExtensions",
            "at most 20 items",
        ),
        new(
            changed(good, {EXTENSIONS: [{**THIRD, "name": f"e{n}", "type": f"t{n}"} for n in range(21)]}),
            EXTENSIONS,
            "at most 20 items",
        ),
        # Settings are an object, whatever is in it.
        *(
            new(extensions({"0.settings": value}), f"{FIRST}.settings", "must be of type object")
            for value in ("port=1", '{"port": 1}', ["port"], 1, True)
        ),
        new(
            extensions({"1.protectedSettingsFrom": {"secretRef": {}}}),
            f"{SECOND}.protectedSettingsFrom.secretRef.name",
            "Required value",
        ),
    ]


def new_templates(good: Body) -> list[Any]:
    """The rows that hold for the template of a set and of a machine."""
    return [
        new(changed(good, {"spec.template": GONE}), "spec.template", "Required value"),
        new(changed(good, {f"{POD}.containers": []}), f"{POD}.containers", "must have one named os"),
        new(
            changed(good, {f"{OS}.name": "main", f"{OS}.image": "i"}), f"{POD}.containers", "name the main container os"
        ),
        new(
            changed(good, {f"{OS}.image": "i"}),
            f"{POD}.containers",
            "can't give os an image: it comes from spec.imageReference",
        ),
        new(changed(good, {f"{OS}.restartPolicy": "Never"}), f"{POD}.containers", "can't give os a restartPolicy"),
        new(
            changed(good, {f"{POD}.containers.1.image": GONE}),
            f"{POD}.containers",
            "other than os must have an image: add it",
        ),
        new(
            changed(good, {f"{POD}.initContainers.0.image": GONE}),
            f"{POD}.initContainers",
            "must have an image: add it",
        ),
        new(changed(good, {f"{POD}.containers.1.image": ""}), f"{POD}.containers[1].image", "at least 1 chars"),
        new(
            changed(good, {f"{POD}.initContainers.0.name": "custom-data"}),
            f"{POD}.initContainers",
            "can't be named os or custom-",
        ),
        new(
            changed(good, {f"{POD}.initContainers.0.name": "os"}),
            f"{POD}.initContainers",
            "can't be named os or custom-data",
        ),
        new(
            changed(good, {f"{POD}.containers.1.name": "custom-data"}),
            f"{POD}.containers",
            "can't be named custom-data",
        ),
        new(changed(good, {f"{POD}.containers.1.name": "os"}), f"{POD}.containers[1]", "Duplicate value"),
        new(changed(good, {f"{POD}.containers.1.name": LONG}), f"{POD}.containers[1].name", "63"),
        new(
            changed(
                good, {f"{POD}.containers": [{"name": "os"}, *({"name": f"c{n}", "image": "i"} for n in range(32))]}
            ),
            f"{POD}.containers",
            "at most 32 items",
        ),
        new(
            changed(good, {f"{POD}.initContainers": [{"name": f"c{n}", "image": "i"} for n in range(33)]}),
            f"{POD}.initContainers",
            "at most 32 items",
        ),
        new(changed(good, {f"{POD}.nodeName": "n1"}), f"{POD}.nodeName", "use nodeSelector or affinity"),
        new(changed(good, {f"{POD}.hostname": "h"}), f"{POD}.hostname", "set spec.serviceName"),
        new(changed(good, {f"{POD}.hostnameOverride": "h"}), f"{POD}.hostnameOverride", "set spec.serviceName"),
        new(changed(good, {f"{POD}.subdomain": "s"}), f"{POD}.subdomain", "set spec.serviceName instead"),
        new(
            changed(good, {f"{POD}.activeDeadlineSeconds": 9}),
            f"{POD}.activeDeadlineSeconds",
            "an instance runs until it is repl",
        ),
        new(changed(good, {f"{POD}.restartPolicy": "Never"}), f"{POD}.restartPolicy", "restartPolicy must be Always"),
        new(
            changed(good, {f"{POD}.restartPolicy": "OnFailure"}), f"{POD}.restartPolicy", "restartPolicy must be Always"
        ),
        new(
            changed(good, {"spec.template.metadata.labels": {"scalesets.dev/model": "m"}}),
            "spec.template.metadata.labels",
            "labels of scalesets.dev/ are the operator's own: remove them",
        ),
        new(
            changed(good, {"spec.template.metadata.annotations": {"extension.scalesets.dev/health": "1"}}),
            "spec.template.metadata.annotations",
            "annotations of scalesets.dev/ are the operator's own: remove them",
        ),
        new(
            changed(good, {"spec.template.metadata.labels": {f"l{n}": "" for n in range(65)}}),
            "spec.template.metadata.labels",
            "must have at most 64 items",
        ),
        # Kubernetes' own schema
        new(
            changed(good, {f"{OS}.ports.0.containerPort": "http"}),
            f"{POD}.containers[0].ports[0].containerPort",
            "type integer",
        ),
        new(
            changed(good, {f"{OS}.ports.1": {"containerPort": 8080}}),
            f"{POD}.containers[0].ports[1]",
            "Duplicate value",
        ),
        new(
            changed(good, {f"{OS}.imagePullPolicy": "Maybe"}), f"{POD}.containers[0].imagePullPolicy", '"IfNotPresent"'
        ),
        new(
            changed(good, {f"{OS}.resources": {"limits": {"memory": "1Gx"}}}),
            f"{POD}.containers[0].resources.limits.memory",
            "should match",
        ),
        new(
            changed(good, {f"{OS}.volumeMounts.0.mountPath": GONE}),
            f"{POD}.containers[0].volumeMounts[0].mountPath",
            "Required value",
        ),
    ]


def new_claims(good: Body) -> list[Any]:
    """The rows that hold for the data disks of a set and of a machine."""
    return [
        new(
            changed(good, {f"{CLAIM}.metadata.name": GONE}),
            "spec.volumeClaimTemplates[0].metadata.name",
            "Required value",
        ),
        new(changed(good, {f"{CLAIM}.metadata.name": "Data"}), "spec.volumeClaimTemplates[0].metadata.name", A_LABEL),
        new(
            changed(good, {f"{CLAIM}.metadata.name": "logs"}),
            "spec.volumeClaimTemplates",
            "must have different names: rename one",
        ),
        new(
            changed(good, {f"{CLAIM}.metadata.labels": {"scalesets.dev/scaleset": "web"}}),
            "spec.volumeClaimTemplates[0].metadata.labels",
            "labels of scalesets.dev/ are the operator's own",
        ),
        new(changed(good, {f"{CLAIM}.spec": GONE}), "spec.volumeClaimTemplates[0].spec", "Required value"),
        new(
            changed(good, {f"{CLAIM}.spec.accessModes": GONE}),
            "spec.volumeClaimTemplates[0].spec.accessModes",
            "Required value",
        ),
        new(
            changed(good, {f"{CLAIM}.spec.resources.requests": {}}),
            "spec.volumeClaimTemplates[0].spec.resources.requests.storage",
            "Required value",
        ),
        new(
            changed(good, {f"{CLAIM}.spec.resources.requests.storage": "much"}),
            "spec.volumeClaimTemplates[0].spec.resources.requests.storage",
            "should match",
        ),
        new(
            changed(good, {"spec.volumeClaimTemplates": [good["spec"]["volumeClaimTemplates"][0]] * 17}),
            "spec.volumeClaimTemplates",
            "at most 16 items",
        ),
    ]


NEW_IMAGES = [
    new(an_image({"spec.source": GONE}), "spec.source", "Required value"),
    new(an_image({"spec.source": "Moon"}), "spec.source", '"Platform", "Gallery"'),
    new(
        an_image({"spec.sku": GONE}),
        "spec.publisher",
        "publisher, offer and sku belong together: give all three or none",
    ),
    new(
        an_image({"spec.publisher": GONE, "spec.offer": GONE, "spec.sku": GONE}),
        "spec.publisher",
        "publisher, offer and sku are required with source Platform: add them",
    ),
    new(an_image({"spec.osType": "BeOS"}), "spec.osType", '"Linux", "Windows"'),
    new(an_image({"spec.imagePullSecrets": [{}]}), "spec.imagePullSecrets[0].name", "Required value"),
]


def new_versions(good: Body) -> list[Any]:
    """The rows that hold for the versions of an image and of an extension."""
    version = "spec.versions.0"
    another = {"version": "1.2.3", "image": "i"}
    return [
        new(changed(good, {f"{version}.version": "1.2"}), "spec.versions[0].version", "must be Major.Minor.Patch"),
        new(changed(good, {f"{version}.version": "1.2.3.4"}), "spec.versions[0].version", "must be Major.Minor.Patch"),
        new(changed(good, {f"{version}.version": "v1.2.3"}), "spec.versions[0].version", "must be Major.Minor.Patch"),
        new(changed(good, {f"{version}.version": GONE}), "spec.versions[0].version", "Required value"),
        new(changed(good, {f"{version}.image": GONE}), "spec.versions[0].image", "Required value"),
        new(changed(good, {f"{version}.image": "two words"}), "spec.versions[0].image", "should match"),
        new(changed(good, {"spec.versions": [another, another]}), "spec.versions[1]", "Duplicate value"),
        new(
            changed(good, {"spec.versions": [another, {**another, "version": "01.002.0003"}]}),
            "spec.versions",
            "compared as numbers, so 1.02.3 and 1.2.3 are equal and only one may stand here: remove one",
        ),
        new(
            changed(good, {"spec.versions": [{"version": f"1.0.{n}", "image": "i"} for n in range(51)]}),
            "spec.versions",
            "at most 50 items",
        ),
        new(
            changed(good, {f"{version}.publishedDate": "yesterday"}),
            "spec.versions[0].publishedDate",
            "must be of type date-time",
        ),
        new(
            changed(good, {f"{version}.targetRegions": ["westeurope", "westeurope"]}),
            "spec.versions[0].targetRegions[1]",
            "Duplicate value",
        ),
        new(
            changed(good, {f"{version}.targetRegions": ["West Europe"]}),
            "spec.versions[0].targetRegions[0]",
            "such as westeurope",
        ),
    ]


DISCOVERY: Body = {"repository": "registry.example:5000/os/ubuntu", "tagPattern": r"v?(?P<version>\d+\.\d+\.\d+)"}


def with_discovery(good: Body, **fields: Any) -> Body:
    """The object with versions from a registry only."""
    return changed(good, {"spec.versions": GONE, "spec.discovery": {**DISCOVERY, **fields}})


def new_discoveries(good: Body) -> list[Any]:
    """The rows that hold for the discovery of an image and of an extension."""
    at = "spec.discovery"
    no_repository = {k: v for k, v in DISCOVERY.items() if k != "repository"}
    return [
        new(changed(good, {at: no_repository}), f"{at}.repository", "Required value"),
        *(
            new(with_discovery(good, repository=bad), f"{at}.repository", words)
            for bad, words in (
                ("https://registry.example/os", "without tag, digest or scheme"),
                ("registry.example/os:1.0.0", "without tag, digest or scheme"),
                ("registry.example/os@sha256:abc", "without tag, digest or scheme"),
                ("registry.example/Os", "lower-case letters"),
                ("registry.example/../v1", "lower-case letters"),
                ("user:secret@registry.example/os", "without tag, digest or scheme"),
                ("registry.example", "a registry's host and a path"),
                ("library/ubuntu", "write docker.io/library/ubuntu for ubuntu"),
                ("registry.example/" + "o" * 250, "may not be more than 255"),
            )
        ),
        *(
            new(with_discovery(good, **{field: bad}), f"{at}.{field}", words)
            for field in ("tagPattern", "excludePattern")
            for bad, words in (
                ("(1", "missing closing )"),
                ("(?=1)", "invalid or unsupported Perl syntax"),
                (r"(1)\1", "invalid escape sequence"),
                ("a{1001}", "invalid repeat count"),
                ("x" * 257, "may not be more than 256"),
            )
        ),
        *(
            new(with_discovery(good, interval=bad), f"{at}.interval", "must be at least PT10S")
            for bad in ("PT9.999S", "PT0S", "P0D", "PT0H0M9S", "P0DT0H0M0S")
        ),
        new(with_discovery(good, interval="5m"), f"{at}.interval", A_DURATION),
        new(with_discovery(good, order="Alphabetical"), f"{at}.order", '"SemVer", "Date"'),
        new(with_discovery(good, maxVersions=0), f"{at}.maxVersions", "greater than or equal to 1"),
        new(with_discovery(good, maxVersions=51), f"{at}.maxVersions", "less than or equal to 50"),
        new(with_discovery(good, pullSecretRef={"name": "A"}), f"{at}.pullSecretRef.name", "should match"),
    ]


NEW_EXTENSIONS = [
    new(an_extension({"spec.publisher": GONE}), "spec.publisher", "Required value"),
    new(an_extension({"spec.type": GONE}), "spec.type", "Required value"),
    new(an_extension({"spec.type": "a b"}), "spec.type", "should match"),
    new(an_extension({"spec.container.name": "health"}), "spec.container.name", "name must not be set"),
    new(an_extension({"spec.container.image": "i"}), "spec.container.image", "it is taken from versions; remove it"),
    new(an_extension({"spec.container.restartPolicy": "Never"}), "spec.container.restartPolicy", "must be Always"),
    new(
        an_extension({f"{START_UP}.failureThreshold": 31}), START_UP, "may take 300 s in all: lower initialDelaySeconds"
    ),
    new(an_extension({f"{START_UP}.periodSeconds": 101}), START_UP, "may take 300 s in all"),
    new(an_extension({f"{START_UP}.initialDelaySeconds": 271}), START_UP, "may take 300 s in all"),
]

NEW_MACHINES = [
    new(a_machine(name="w" * 53), "metadata.name", "must be a DNS label of at most 52 characters"),
    new(a_machine(name="db.shop"), "metadata.name", "must be a DNS label"),
    new(a_machine({"spec.location": "West Europe"}), "spec.location", "such as westeurope"),
    new(a_machine({"spec.zone": "a zone"}), "spec.zone", "should match"),
    new(a_machine({"spec.availabilitySet": "dbs"}), "spec.zone", "zone and availabilitySet exclude each other: remove"),
    new(a_member({"spec.availabilitySet": "D"}), "spec.availabilitySet", A_LABEL),
    new(a_member({"spec.availabilitySet": "d" * 53}), "spec.availabilitySet", "52"),
    new(
        a_machine({f"{POD}.nodeSelector": {"topology.kubernetes.io/zone": "1"}}),
        f"{POD}.nodeSelector",
        "must not choose a zone beside spec.zone: remove one of the two",
    ),
    new(a_machine({"spec.imageReference": GONE}), "spec.imageReference", "Required value"),
    new(a_machine({"spec.imageReference.sku": GONE}), "spec.imageReference", "either publisher, offer and sku, or"),
    new(
        a_machine({"spec.imageReference.version": "22.4"}), "spec.imageReference.version", "must be latest or Major.Mi"
    ),
    new(
        a_machine(
            {"spec.osProfile": {"customData": "a", "customDataFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}}
        ),
        "spec.osProfile.customDataFrom",
        "customData and customDataFrom exclude each other: remove one",
    ),
    new(a_machine({f"{ROLLING}.healthTimeout": "5m"}), f"{ROLLING}.healthTimeout", A_DURATION),
    new(a_machine({f"{ROLLING}.provisioningTimeout": "PT0S"}), f"{ROLLING}.provisioningTimeout", "longer than zero"),
    new(a_machine({"spec.serviceName": "Db"}), "spec.serviceName", A_LABEL),
]

NEW_AVAILABILITY_SETS = [
    new(an_availability_set(name="w" * 53), "metadata.name", "must be a DNS label of at most 52 characters"),
    new(an_availability_set({DOMAINS: 0}), DOMAINS, "greater than or equal to 1"),
    new(an_availability_set({DOMAINS: 21}), DOMAINS, "less than or equal to 20"),
    new(an_availability_set({"spec.location": "West Europe"}), "spec.location", "such as westeurope"),
    new(an_availability_set({f"{ROLLING}.healthTimeout": "PT0S"}), f"{ROLLING}.healthTimeout", "longer than zero"),
    new(
        an_availability_set({f"{ROLLING}.pauseTimeBetweenBatches": "1s"}),
        f"{ROLLING}.pauseTimeBetweenBatches",
        A_DURATION,
    ),
    new(
        an_availability_set({f"{ROLLING}.maxUnhealthyInstancePercent": 4}),
        f"{ROLLING}.maxUnhealthyInstancePercent",
        "equal to 5",
    ),
    new(
        an_availability_set({f"{ROLLING}.maxUnhealthyUpgradedInstancePercent": 101}),
        f"{ROLLING}.maxUnhealthyUpgradedInstancePercent",
        "equal to 100",
    ),
]

NEW_UPGRADES = [
    new(
        an_upgrade({"spec.scaleSet": GONE}), "spec.scaleSet", "exactly one of scaleSet, availabilitySet and virtualMac"
    ),
    new(
        an_upgrade({"spec.virtualMachine": "vm"}), "spec.scaleSet", "exactly one of scaleSet, availabilitySet and virtu"
    ),
    new(an_upgrade({"spec.availabilitySet": "av"}), "spec.scaleSet", "must be given: name what to upgrade"),
    *(
        new(
            an_upgrade({"spec.scaleSet": GONE, f"spec.{whose}": "db", "spec.type": kind}),
            "spec.type",
            "type must be Extension for machines",
        )
        for whose in ("availabilitySet", "virtualMachine")
        for kind in ("OSImage", "Model")
    ),
    new(an_upgrade({"spec.type": GONE}), "spec.type", "Required value"),
    new(an_upgrade({"spec.type": "Disk"}), "spec.type", '"OSImage", "Extension", "Model"'),
    new(an_upgrade({"spec.startedBy": "Somebody"}), "spec.startedBy", '"User", "Platform"'),
    new(an_upgrade({"spec.extensions": ["monitor"]}), "spec.extensions", "goes with type Extension only"),
    new(an_upgrade({"spec.instances": ["web-1"]}), "spec.instances", "goes with type Model only: remove it"),
    new(
        an_upgrade({"spec.type": "Model", "spec.approvedInstances": ["*"]}),
        "spec.approvedInstances",
        "goes with type OSImage only",
    ),
    new(an_upgrade({"spec.approvedInstances": ["web-*"]}), "spec.approvedInstances[0]", "should match"),
]

ALL_NEW = [
    *NEW_SETS,
    *NEW_MACHINES,
    *NEW_AVAILABILITY_SETS,
    *(
        row
        for good in (a_set(), a_machine())
        for rows in (new_extensions, new_templates, new_claims)
        for row in rows(good)
    ),
    *NEW_IMAGES,
    *new_versions(an_image()),
    *new_discoveries(an_image()),
    *NEW_EXTENSIONS,
    *new_versions(an_extension()),
    *new_discoveries(an_extension()),
    *NEW_UPGRADES,
]


@pytest.mark.parametrize(("bad", "field", "words"), ALL_NEW)
def test_a_bad_object_is_refused(server: Server, bad: Body, field: str, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        server.create(bad)

    assert refused.value.names(field, words), refused.value


# Changes of stored objects: what is stored, what is changed, the field, the words.

STORED = {
    "set": a_set(name="stored"),
    "small set": a_small_set(name="stored-small"),
    "image": an_image(name="stored"),
    "extension": an_extension(name="stored"),
    "upgrade": an_upgrade(name="stored"),
    "cancelled upgrade": an_upgrade({"spec.cancel": True}, name="stored-cancelled"),
    "model upgrade": an_upgrade({"spec.type": "Model", "spec.instances": ["web-1"]}, name="stored-model"),
    "machine": a_machine(name="stored"),
    "member": a_member(name="stored-member"),
    "availability set": an_availability_set(name="stored"),
}


@pytest.fixture(scope="module")
def stored(server: Server) -> Iterator[dict[str, Body]]:
    yield {name: server.create(body, keep=True) for name, body in STORED.items()}
    server.remove(STORED.values())


def change(which: str, changes: Body, field: str, words: str) -> Any:
    """A row: this change of a stored object is refused for the field, with the words."""
    return pytest.param(which, changes, field, words, id=f"{which} {changes}: {words}".replace(str(GONE), "gone"))


CHANGES = [
    # Immutable: another value; gone, which would be the first of two steps; given where it was not, the second.
    *(
        change(which, {f"spec.{field}": value}, f"spec.{field}", f"{field} is immutable: create another ScaleSet")
        for field, another in (
            ("location", "northeurope"),
            ("zones", ["1", "2"]),
            ("serviceName", "other"),
            ("serviceFabric", {"clusterDurabilityLevel": "Gold"}),
        )
        for which, value in (("set", another), ("set", GONE), ("small set", another))
    ),
    change("set", {"spec.zones": ["2", "1", "3"]}, "spec.zones", "zones is immutable: create another ScaleSet"),
    change("set", {"spec.serviceFabric.stateless": True}, "spec.serviceFabric", "serviceFabric is immutable"),
    change("set", {"spec.updateDomains": 4}, "spec.updateDomains", "updateDomains is immutable: create another"),
    change("small set", {"spec.updateDomains": 4}, "spec.updateDomains", "updateDomains is immutable"),
    *(
        change(which, {f"spec.{field}": value}, f"spec.{field}", f"{field} is immutable: create another VirtualMachine")
        for field, another in (
            ("location", "northeurope"),
            ("zone", "2"),
            ("serviceName", "other"),
        )
        for which, value in (("machine", another), ("machine", GONE), ("member", another))
        if (which, field) != ("member", "zone")
    ),
    *(
        change(which, changes, "spec.availabilitySet", "availabilitySet is immutable: create another VirtualMachine")
        for which, changes in (
            ("member", {"spec.availabilitySet": "other"}),
            ("member", {"spec.availabilitySet": GONE}),
            ("machine", {"spec.availabilitySet": "dbs", "spec.zone": GONE}),
        )
    ),
    *(
        change(
            "machine", {f"spec.imageReference.{field}": value}, f"spec.imageReference.{field}", f"{field} is immutable"
        )
        for field in ("publisher", "offer")
        for value in ("other", GONE)
    ),
    change(
        "member",
        {"spec.imageReference.galleryImage": "other"},
        "spec.imageReference.galleryImage",
        "galleryImage is immutable: create another VirtualMachine for another image",
    ),
    *(
        change(
            "availability set", {f"spec.{field}": value}, f"spec.{field}", f"{field} is immutable: create another Avail"
        )
        for field, another in (("location", "northeurope"), ("platformUpdateDomainCount", 4))
        for value in (another, GONE)
    ),
    # Claims
    *(
        change(which, changes, "spec.volumeClaimTemplates", "can't be added, removed, renamed or moved: create another")
        for which in ("set", "machine")
        for changes in (
            {"spec.volumeClaimTemplates": GONE},
            {"spec.volumeClaimTemplates.1": GONE},
            {f"{CLAIM}.metadata.name": "other"},
        )
    ),
    change(
        "small set",
        {"spec.volumeClaimTemplates": a_set()["spec"]["volumeClaimTemplates"]},
        "spec.volumeClaimTemplates",
        "can't be added",
    ),
    *(
        change(
            which, changes, "spec.volumeClaimTemplates", "immutable but for a larger storage request: create another"
        )
        for which in ("set", "machine")
        for changes in (
            {f"{CLAIM}.metadata.labels": {"disk": "other"}},
            {f"{CLAIM}.metadata.annotations": {"new": "one"}},
            {f"{CLAIM}.spec.accessModes": ["ReadWriteMany"]},
            {f"{CLAIM}.spec.storageClassName": "slow"},
            {f"{CLAIM}.spec.storageClassName": GONE},
            {f"{CLAIM}.spec.volumeMode": "Block"},
            {f"{CLAIM}.spec.volumeName": "pv"},
            {f"{CLAIM}.spec.selector": {"matchLabels": {"a": "b"}}},
            {f"{CLAIM}.spec.dataSource": {"kind": "VolumeSnapshot", "name": "s"}},
            {f"{CLAIM}.spec.dataSourceRef": {"kind": "VolumeSnapshot", "name": "s"}},
            {f"{CLAIM}.spec.volumeAttributesClassName": "gold"},
            {f"{CLAIM}.spec.resources.limits": {"storage": "9Gi"}},
        )
    ),
    *(
        change(
            which,
            {f"{CLAIM}.spec.resources.requests.storage": less},
            "spec.volumeClaimTemplates",
            "a storage request can't become smaller: keep or raise it",
        )
        for which in ("set", "machine")
        for less in ("1023Mi", "1G", 1)
    ),
    # Published versions
    change(
        "image", {"spec.versions.1.image": "other:1"}, "spec.versions[1].image", "is immutable: publish another ver"
    ),
    change(
        "extension", {"spec.versions.0.image": "o:1"}, "spec.versions[0].image", "is immutable: publish another ver"
    ),
    # Upgrades
    *(
        change("upgrade", {f"spec.{field}": value}, f"spec.{field}", f"{field} is immutable: create another RollingUpg")
        for field, value in (
            ("scaleSet", "other"),
            ("scaleSet", GONE),
            ("availabilitySet", "av"),
            ("virtualMachine", "vm"),
            ("type", "Model"),
            ("startedBy", "Platform"),
            ("extensions", ["monitor"]),
            ("instances", ["web-1"]),
        )
    ),
    change("model upgrade", {"spec.instances": ["web-2"]}, "spec.instances", "instances is immutable"),
    change("model upgrade", {"spec.instances": GONE}, "spec.instances", "instances is immutable"),
    change("cancelled upgrade", {"spec.cancel": False}, "spec.cancel", "cancel can't be taken back"),
    change("cancelled upgrade", {"spec.cancel": GONE}, "spec.cancel", "cancel can't be taken back"),
]


@pytest.mark.parametrize(("which", "changes", "field", "words"), CHANGES)
def test_a_bad_change_is_refused(
    server: Server, stored: dict[str, Body], which: str, changes: Body, field: str, words: str
) -> None:
    with pytest.raises(RefusedError) as refused:
        server.replace(changed(stored[which], changes))

    assert refused.value.names(field, words), refused.value


@pytest.mark.parametrize("kind", KINDS, ids=[kind.kind_info.name for kind in KINDS])
def test_every_rule_has_a_row(kind: type[Resource]) -> None:
    told = {
        *(row.values[2] for row in ALL_NEW if row.values[0]["kind"] == kind.kind_info.name),
        *(row.values[3] for row in CHANGES if STORED[row.values[0]]["kind"] == kind.kind_info.name),
        # Their tests stand below, by name.
        *("publisher is immutable", "offer is immutable", "galleryImage is immutable"),
        # The server's own words about a pattern stand in for it.
        "must be a regular expression of RE2",
    }
    rules = [rule["message"] for rule in rules_of(root_schema(kind))]

    assert rules
    assert [message for message in rules if not any(words in message for words in told)] == []


def rules_of(schema: Body) -> Iterator[Body]:
    yield from schema.get("x-kubernetes-validations", ())
    for value in (*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])):
        yield from rules_of(value)


@pytest.mark.requirement("O14")
@pytest.mark.parametrize("value", ["other", GONE], ids=["another", "gone"])
@pytest.mark.parametrize("field", ["publisher", "offer"])
def test_publisher_and_offer_of_a_set_never_change(
    server: Server, stored: dict[str, Body], field: str, value: Any
) -> None:
    with pytest.raises(RefusedError) as refused:
        server.replace(changed(stored["set"], {f"spec.imageReference.{field}": value}))

    assert refused.value.names(f"spec.imageReference.{field}", f"{field} is immutable: create another ScaleSet")


@pytest.mark.requirement("O14")
def test_a_set_can_change_neither_to_nor_from_a_gallery_image(server: Server, stored: dict[str, Body]) -> None:
    gallery = {"galleryImage": "mine"}
    for which, reference in (
        ("set", gallery),
        ("small set", {"galleryImage": "other"}),
        ("small set", stored["set"]["spec"]["imageReference"]),
    ):
        with pytest.raises(RefusedError) as refused:
            server.replace(changed(stored[which], {"spec.imageReference": reference}))

        assert refused.value.names("spec.imageReference.galleryImage", "galleryImage is immutable"), which


@pytest.mark.requirement("O14")
def test_the_sku_of_a_set_changes_as_a_change_of_its_model(server: Server, stored: dict[str, Body]) -> None:
    answer = server.replace(changed(stored["set"], {"spec.imageReference.sku": "24_04-LTS"}))

    assert answer["metadata"]["generation"] == stored["set"]["metadata"]["generation"] + 1


# What is allowed, so that no rule says more than it should.

GOOD_NEW = [
    a_set(),
    a_set(name="w" * 52),
    a_set({"spec.replicas": 0}),
    a_set({"spec.replicas": 10_000}),
    a_set({"spec.zones": GONE, f"{POD}.nodeSelector": {"topology.kubernetes.io/zone": "1"}}),
    a_set({f"{POD}.nodeSelector": {"disk": "quick"}}),
    a_set({"spec.imageReference.version": "22.4.202611010"}),
    a_set({f"{POD}.restartPolicy": "Always"}),
    a_set({f"{OS}.ports": [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]}),
    a_set({f"{OS}.resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}}}),
    a_set({f"{OS}.readinessProbe.httpGet.port": "http"}),
    a_set({f"{CLAIM}.spec.resources.requests.storage": 1073741824}),
    a_set({"spec.extensions.0.name": "e" * 56, "spec.extensions.1.provisionAfterExtensions": ["e" * 56]}),
    a_set({"spec.extensions.1.type": "Monitor", "spec.extensions.1.publisher": "Another"}),
    a_set({"spec.extensions.0.settings": {}}),
    a_set({"spec.extensions.2": {**THIRD, "provisionAfterExtensions": ["monitor", "health"]}}),
    a_set({f"{ROLLING}.maxBatchInstancePercent": 100, f"{ROLLING}.maxUnhealthyInstancePercent": 100}),
    *(
        a_set({f"{ROLLING}.healthTimeout": d})
        for d in ("PT5M", "PT1H30M", "P3D", "P1DT12H", "PT90S", "PT0.5S", "PT1H5S")
    ),
    a_set({f"{ROLLING}.pauseTimeBetweenBatches": "PT0S"}),
    a_small_set(),
    an_image(),
    an_image({"spec.versions": GONE}),
    an_image({"spec.source": "Gallery", "spec.publisher": GONE, "spec.offer": GONE, "spec.sku": GONE}),
    an_image({"spec.versions.0.publishedDate": "2026-11-01T00:00:00.123456Z"}),
    *(
        with_discovery(good, **fields)
        for good in (an_image(), an_extension())
        for fields in (
            {},
            {"repository": "docker.io/library/ubuntu", "order": "Date", "interval": "PT10S", "maxVersions": 50},
            {"repository": "[::1]:5000/a/b_c/d--e", "plainHTTP": True, "suspend": True},
            {"repository": "localhost/os", "pullSecretRef": {"name": "pull"}, "excludePattern": ".*-rc.*"},
            *({"interval": good} for good in ("PT1M", "P1D", "PT0H0M10S", "PT10.5S", "PT1H5S", "P1DT1S")),
        )
    ),
    an_extension(),
    an_extension({"spec.container": GONE, "spec.versions": GONE}),
    an_extension({f"{START_UP}.failureThreshold": 30}),
    an_upgrade(),
    an_upgrade({"spec.type": "Extension", "spec.extensions": ["monitor"]}),
    an_upgrade({"spec.type": "Model", "spec.instances": ["web-0", "web-11"]}),
    an_upgrade({"spec.approvedInstances": ["*"]}),
    an_upgrade({"spec.scaleSet": GONE, "spec.virtualMachine": "vm", "spec.type": "Extension"}),
    an_upgrade({"spec.scaleSet": GONE, "spec.availabilitySet": "dbs", "spec.type": "Extension"}),
    a_machine(),
    a_machine(name="w" * 52),
    a_machine(
        {"spec.extensions": GONE, "spec.zone": GONE, f"{POD}.nodeSelector": {"topology.kubernetes.io/zone": "1"}}
    ),
    a_member(),
    an_availability_set(),
    an_availability_set({"spec": GONE}),
    an_availability_set({DOMAINS: 20}),
    an_upgrade({"spec.extensions": [], "spec.instances": []}),
]


@pytest.mark.parametrize("good", GOOD_NEW)
def test_a_good_object_is_taken(server: Server, good: Body) -> None:
    assert server.create(good)["metadata"]["name"] == good["metadata"]["name"]


GOOD_CHANGES = [
    ("set", {"spec.replicas": 3}),
    ("set", {"spec.upgradePolicy.mode": "Manual"}),
    ("set", {"spec.imageReference.version": "22.4.202611010"}),
    ("set", {f"{POD}.containers.1.image": "registry.example/log:2"}),
    ("set", {"spec.extensions": GONE}),
    ("set", {"spec.instanceProtection": GONE}),
    ("set", {f"{CLAIM}.spec.resources.requests.storage": "2Gi"}),
    ("set", {f"{CLAIM}.spec.resources.requests.storage": 1073741825}),
    ("set", {f"{CLAIM}.spec.resources.requests.storage": "1024Mi"}),
    ("image", {"spec.versions.0.excludeFromLatest": True}),
    ("image", {"spec.versions.0.endOfLifeDate": "2027-11-01T00:00:00Z"}),
    ("image", {"spec.versions.0": GONE}),
    ("image", {"spec.versions.2": {"version": "22.4.202613010", "image": "registry.example/os:22.4.202613010"}}),
    ("machine", {"spec.imageReference.sku": "24_04-LTS"}),
    ("machine", {"spec.extensions.0.enableAutomaticUpgrade": True}),
    ("machine", {f"{CLAIM}.spec.resources.requests.storage": "2Gi"}),
    ("availability set", {f"{ROLLING}.healthTimeout": "PT1M"}),
    ("upgrade", {"spec.cancel": True}),
    ("upgrade", {"spec.approvedInstances": ["web-1"]}),
    ("cancelled upgrade", {"metadata.labels": {"a": "b"}}),
]


@pytest.mark.parametrize(("which", "changes"), GOOD_CHANGES)
def test_a_good_change_is_taken(server: Server, stored: dict[str, Body], which: str, changes: Body) -> None:
    assert server.replace(changed(stored[which], changes))


def test_the_largest_objects_stay_within_the_cost_of_rules(server: Server) -> None:
    """A rule that is too dear at run time would make an object that can't be changed any more."""
    instances = [f"{'w' * 52}-{n}" for n in range(10_000)]
    extensions = [f"{'e' * 53}-{n:02}" for n in range(20)]
    labels = {f"{'l' * 200}{n}/{'k' * 60}": "v" * 63 for n in range(64)}
    claim = a_set()["spec"]["volumeClaimTemplates"][0]
    largest = [
        an_upgrade({"spec.type": "Model", "spec.instances": instances}, name="largest-model"),
        an_upgrade({"spec.approvedInstances": instances}, name="largest"),
        an_image(
            {
                "spec.versions": [{"version": f"{n}.0000000000.{10**9}", "image": "i" * 512} for n in range(50)],
                "spec.discovery": {
                    "repository": f"{'r' * 63}.example:65535/{'o' * 170}",
                    "tagPattern": "(?:a{0,30}){0,30}" * 15,
                    "excludePattern": "x" * 256,
                    "interval": "P999DT9999H99999M999999S",
                },
            },
            name="largest",
        ),
        a_set(
            {
                "spec.extensions": [
                    {
                        "name": name,
                        "publisher": "p" * 128,
                        "type": f"{'t' * 126}{number:02}",
                        "typeHandlerVersion": "1.0",
                        "provisionAfterExtensions": extensions[:number],
                    }
                    for number, name in enumerate(extensions)
                ],
                f"{POD}.containers": [{"name": "os"}, *({"name": f"c{'x' * 58}{n}", "image": "i"} for n in range(31))],
                f"{POD}.initContainers": [{"name": f"i{'x' * 58}{n}", "image": "i" * 512} for n in range(32)],
                "spec.template.metadata": {"labels": labels, "annotations": labels},
                "spec.volumeClaimTemplates": [
                    changed(claim, {"metadata": {"name": f"d{n}", "labels": labels, "annotations": labels}})
                    for n in range(16)
                ],
            },
            name="largest",
        ),
    ]
    spec = {key: value for key, value in largest[-1]["spec"].items() if key in a_machine()["spec"]}
    largest.append(a_machine({"spec": {"zone": "1", **spec}}, name="largest"))
    for body in largest:
        stored = server.create(body, keep=True)
        server.replace(changed(stored, {"metadata.annotations": {"changed": "true"}}))
        server.remove([stored])
