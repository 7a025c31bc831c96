"""ScaleSet: instances of one model, kept on the latest version of their image (docs/api.md).

The operator never fills in the spec; what it decides (the effective location, the version) stands in the status. It
has the scale subresource, so `kubectl scale` and a HorizontalPodAutoscaler work.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from scalesets.api.claims import CLAIM_RULES, ClaimRetentionPolicy, ClaimTemplates
from scalesets.api.common import (
    LABEL_VALUE,
    MAX_EXTENSIONS,
    MAX_REPLICAS,
    VERSION_NUMBER,
    ExtensionName,
    Label,
    Location,
    ObjectName,
    ProductName,
    SecretKeyRef,
    SecretRef,
)
from scalesets.api.policy import UpgradePolicy
from scalesets.api.scaleset_status import ScaleSetStatus
from scalesets.api.schema import (
    AGE,
    ANY_OBJECT,
    Column,
    Kind,
    Model,
    Resource,
    Rule,
    Worded,
    immutable,
    map_list,
    ruled,
)
from scalesets.api.template import OWN_CONTAINERS, PodTemplate

ANOTHER = "create another ScaleSet"

Zone = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=LABEL_VALUE)]
Zones = Annotated[
    tuple[Zone, ...],
    Field(min_length=1, max_length=10),
    ruled(
        Rule(
            rule="self.all(z, self.exists_one(other, other == z))",
            message="zones must differ: remove the duplicate",
        )
    ),
]
WantedVersion = Annotated[
    str,
    StringConstraints(max_length=32, pattern=f"^(latest|{VERSION_NUMBER})$"),
    Worded("version must be latest or Major.Minor.Patch, such as 22.4.202611010"),
]
HandlerVersion = Annotated[
    str,
    StringConstraints(max_length=32, pattern=r"^[0-9]{1,10}(\.[0-9]{1,10}){0,2}$"),
    Worded("typeHandlerVersion must be Major, Major.Minor or Major.Minor.Patch, such as 1.0"),
]


class ImageReference(Model):
    """Where OS disks come from: a publisher's SKU, or a gallery image by name."""

    rules = (
        Rule(
            rule="has(self.galleryImage)"
            " ? !has(self.publisher) && !has(self.offer) && !has(self.sku)"
            " : has(self.publisher) && has(self.offer) && has(self.sku)",
            message="imageReference must have either publisher, offer and sku, or galleryImage",
            reason="FieldValueRequired",
        ),
        immutable("publisher", f"{ANOTHER} for another publisher"),
        immutable("offer", f"{ANOTHER} for another offer"),
        immutable("galleryImage", f"{ANOTHER} for another image"),
    )

    publisher: ProductName | None = None
    """Who publishes the image. Immutable."""
    offer: ProductName | None = None
    """A group of related images of the publisher. Immutable."""
    sku: ProductName | None = None
    """One of the offer, such as a major release. It can change, as an explicit change of the model."""
    gallery_image: ObjectName | None = None
    """Name of a GalleryImage, instead of publisher, offer and sku. Immutable."""
    version: WantedVersion = "latest"
    """latest, or one exact version."""


class CustomDataSource(Model):
    """Where custom data comes from."""

    secret_key_ref: SecretKeyRef
    """A key of a Secret in the set's namespace."""


class WindowsConfiguration(Model):
    """What is said to Windows images."""

    enable_automatic_updates: bool = False
    """Windows' own updates; automatic OS image upgrades need false."""


class OSProfile(Model):
    """What is set up on every new OS disk."""

    rules = (
        Rule(
            rule="!has(self.customData) || !has(self.customDataFrom)",
            message="customData and customDataFrom exclude each other: remove one",
            field=".customDataFrom",
        ),
    )

    custom_data: Annotated[str, StringConstraints(min_length=1, max_length=65535)] | None = None
    """A shell script that runs on every new OS disk, in an init container with the image, the volume mounts and the
    variables of `os`."""
    custom_data_from: CustomDataSource | None = None
    """The script in a Secret, instead of customData."""
    windows_configuration: WindowsConfiguration = WindowsConfiguration()
    """For Windows images."""


class ProtectedSettings(Model):
    """Settings that are secret."""

    secret_ref: SecretRef
    """A Secret in the set's namespace."""


class ScaleSetExtension(Model):
    """An extension of the set: a sidecar in each instance."""

    rules = (
        Rule(
            rule=f"!(self.name in {list(OWN_CONTAINERS)})",
            message="name can't be os or custom-data, which the set uses itself: choose another",
            field=".name",
        ),
    )

    name: ExtensionName
    """Name in the set, and of its container."""
    publisher: ProductName
    """Publisher of the Extension."""
    type: ProductName
    """Type of the Extension."""
    type_handler_version: HandlerVersion
    """The version to install: 1, 1.0 or 1.0.4. The major never changes by itself."""
    auto_upgrade_minor_version: bool = False
    """At creation, install the newest minor of the major instead."""
    enable_automatic_upgrade: bool = False
    """New versions of the installed major are rolled out automatically."""
    settings: Annotated[dict[str, Any], ANY_OBJECT] | None = None
    """Any object; reaches the extension as a file and as the variable EXTENSION_SETTINGS."""
    protected_settings_from: ProtectedSettings | None = None
    """Secret settings; reach the extension as files."""
    provision_after_extensions: Annotated[tuple[ExtensionName, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """Extensions of the set that must have started before it."""


ScaleSetExtensions = Annotated[
    tuple[ScaleSetExtension, ...],
    Field(max_length=MAX_EXTENSIONS),
    map_list("name"),
    ruled(
        Rule(
            rule="self.all(e, !has(e.provisionAfterExtensions) || !(e.name in e.provisionAfterExtensions))",
            message="provisionAfterExtensions can't name the extension itself: remove it",
        )
    ),
]


class Durability(StrEnum):
    """Durability level of a Service Fabric node type."""

    BRONZE = "Bronze"
    SILVER = "Silver"
    GOLD = "Gold"


class ServiceFabric(Model):
    """Makes the set a Service Fabric node type."""

    cluster_durability_level: Durability
    """The durability that the cluster has for this node type; the extension's must be the same."""
    stateless: bool = False
    """Whether only stateless services run on it."""


class InstanceProtection(Model):
    """Protection of one instance."""

    instance_id: Annotated[int, Field(ge=0, le=MAX_REPLICAS - 1)]
    """Ordinal of the instance."""
    protect_from_upgrade: bool = False
    """Keeps it out of every upgrade."""


class ScaleSetSpec(Model):
    """The set as it should be."""

    rules = (
        *(immutable(name, ANOTHER) for name in ("location", "zones", "updateDomains", "serviceName", "serviceFabric")),
        *CLAIM_RULES,
        Rule(
            rule="!has(self.zones) || !has(self.template.spec.nodeSelector)"
            " || !('topology.kubernetes.io/zone' in self.template.spec.nodeSelector"
            " || 'failure-domain.beta.kubernetes.io/zone' in self.template.spec.nodeSelector)",
            message="nodeSelector must not choose a zone beside spec.zones: remove one of the two",
            field=".template.spec.nodeSelector",
            reason="FieldValueForbidden",
        ),
        Rule(
            rule="!has(self.extensions) || self.extensions.all(e,"
            " !self.template.spec.containers.exists(c, c.name == e.name)"
            " && !(has(self.template.spec.initContainers)"
            " && self.template.spec.initContainers.exists(c, c.name == e.name)))",
            message="extensions must not be named as a container of the template: rename one",
            field=".extensions",
        ),
    )

    replicas: Annotated[int, Field(ge=0, le=MAX_REPLICAS)] = 1
    """How many instances."""
    location: Location | None = None
    """The region; default: the operator's default location. Immutable."""
    zones: Zones = ()
    """Availability zones over which instances are spread evenly, in this order. Immutable."""
    update_domains: Annotated[int, Field(ge=1, le=20)] = 5
    """How many update domains the instances of a zone are spread over. Immutable."""
    image_reference: ImageReference
    """Where OS disks come from."""
    os_profile: OSProfile = OSProfile()
    """What is set up on every new OS disk."""
    upgrade_policy: UpgradePolicy = UpgradePolicy()
    """How instances come to the current model and to new versions."""
    extensions: ScaleSetExtensions = ()
    """Sidecars of every instance, in the order of provisionAfterExtensions."""
    service_fabric: ServiceFabric | None = None
    """Only for Service Fabric node types. Immutable."""
    template: PodTemplate
    """The pod of an instance; its container `os` has no image, which comes from imageReference."""
    volume_claim_templates: ClaimTemplates = ()
    """The data disks of every instance. Only a larger storage request may change."""
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy = ClaimRetentionPolicy()
    """What happens to data disks that no instance uses any more."""
    service_name: Label | None = None
    """A headless Service of yours; instances get their name as hostname and this subdomain. Immutable."""
    instance_protection: Annotated[tuple[InstanceProtection, ...], Field(max_length=100), map_list("instanceId")] = ()
    """Instances to keep out of upgrades."""


class ScaleSet(Resource):
    """Instances of one model, kept on the latest version of their image."""

    rules = (
        Rule(
            rule="self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            message="metadata.name must be a DNS label of at most 52 characters: choose another",
            field=".metadata.name",
        ),
    )
    kind_info = Kind(
        name="ScaleSet",
        plural="scalesets",
        short_names=("vmss",),
        in_all=True,
        scalable=True,
        columns=(
            Column("Desired", ".spec.replicas", "integer"),
            Column("Ready", ".status.readyReplicas", "integer"),
            Column("Upgraded", ".status.upgradedReplicas", "integer"),
            Column("Version", ".status.imageVersion"),
            Column("Upgrade", ".status.currentUpgrade"),
            AGE,
            Column("Latest-Model", ".status.latestModelReplicas", "integer", wide=True),
            Column("Mode", ".spec.upgradePolicy.mode", wide=True),
            Column("Location", ".status.location", wide=True),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True),
        ),
    )

    spec: ScaleSetSpec
    """The set as it should be."""
    status: ScaleSetStatus = ScaleSetStatus()
    """The set as it is."""
