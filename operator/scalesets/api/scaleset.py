"""ScaleSet: instances of one model, kept on the latest version of their image (docs/api.md).

The operator never fills in the spec; what it decides (the effective location, the version) stands in the status. It
has the scale subresource, so `kubectl scale` and a HorizontalPodAutoscaler work.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from scalesets.api.claims import CLAIM_RULES, ClaimRetentionPolicy, ClaimTemplates
from scalesets.api.common import MAX_REPLICAS, Label, Location
from scalesets.api.instance import (
    ANOTHER,
    NAMES_OF_THEIR_OWN,
    SHORT_NAME,
    ImageReference,
    InstalledExtensions,
    OSProfile,
    Zone,
    no_zone_beside,
)
from scalesets.api.policy import UpgradePolicy
from scalesets.api.scaleset_status import ScaleSetStatus
from scalesets.api.schema import AGE, REASON, Column, Kind, Model, Resource, Rule, immutable, map_list, ruled
from scalesets.api.template import PodTemplate

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
        no_zone_beside("zones"),
        NAMES_OF_THEIR_OWN,
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
    extensions: InstalledExtensions = ()
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

    rules = (SHORT_NAME,)
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
            REASON,
        ),
    )

    spec: ScaleSetSpec
    """The set as it should be."""
    status: ScaleSetStatus = ScaleSetStatus()
    """The set as it is."""
