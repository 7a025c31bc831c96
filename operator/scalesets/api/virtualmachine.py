"""VirtualMachine: one instance by itself, or in an availability set (E1, E5b, E5c).

It is made of what an instance of a ScaleSet is made of. Its extensions are upgraded automatically, its OS image is not;
a change of its model applies at once. Its pod has its name, its data disks are the claims TEMPLATE-NAME.
"""

from typing import Annotated

from pydantic import Field

from scalesets.api.claims import CLAIM_RULES, ClaimTemplates
from scalesets.api.common import Label, Location, ShortName, Word
from scalesets.api.fleet_status import FleetStatus
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
from scalesets.api.policy import MachineUpgradePolicy
from scalesets.api.schema import AGE, READY, REASON, Column, Kind, Model, Resource, Rule, immutable
from scalesets.api.template import PodTemplate


class VirtualMachineSpec(Model):
    """The machine as it should be."""

    rules = (
        *(immutable(name, ANOTHER) for name in ("location", "zone", "availabilitySet", "serviceName")),
        *CLAIM_RULES,
        Rule(
            rule="!has(self.zone) || !has(self.availabilitySet)",
            message="zone and availabilitySet exclude each other: remove one",
            field=".zone",
        ),
        no_zone_beside("zone"),
        NAMES_OF_THEIR_OWN,
    )

    location: Location | None = None
    """The region; default: the operator's default location. Immutable."""
    zone: Zone | None = None
    """Its availability zone. Immutable."""
    availability_set: ShortName | None = None
    """The AvailabilitySet in the same namespace that it is in. Immutable."""
    image_reference: ImageReference
    """Where its OS disk comes from. With `latest`, the latest version when the machine is made; it is not upgraded by
    itself."""
    os_profile: OSProfile = OSProfile()
    """What is set up on its OS disk."""
    upgrade_policy: MachineUpgradePolicy = MachineUpgradePolicy()
    """How it comes to new versions of its extensions."""
    extensions: InstalledExtensions = ()
    """Its sidecars, in the order of provisionAfterExtensions."""
    template: PodTemplate
    """Its pod, which is named as the machine; its container `os` has no image, which comes from imageReference."""
    volume_claim_templates: ClaimTemplates = ()
    """Its data disks. Only a larger storage request may change; they outlive the machine."""
    service_name: Label | None = None
    """A headless Service of yours; the machine gets its name as hostname and this subdomain. Immutable."""


class VirtualMachineStatus(FleetStatus):
    """The machine as it is."""

    update_domain: Annotated[int, Field(ge=0)] | None = None
    """The update domain that its availability set gave it."""
    zones_backed: bool | None = None
    """Whether nodes carried the zone's label when the machine was first seen; if not, the zone is a label only."""
    current_model: Word = ""
    """Hash of the current model."""
    image_version: Word = ""
    """The image version that it is on."""


class VirtualMachine(Resource):
    """One machine, kept on the latest versions of its extensions."""

    rules = (SHORT_NAME,)
    kind_info = Kind(
        name="VirtualMachine",
        plural="virtualmachines",
        short_names=(),
        in_all=True,
        selectable=(".spec.availabilitySet",),
        columns=(
            READY,
            Column("Version", ".status.imageVersion"),
            Column("Availability-Set", ".spec.availabilitySet"),
            Column("Upgrade", ".status.currentUpgrade"),
            AGE,
            Column("Update-Domain", ".status.updateDomain", "integer", wide=True),
            Column("Zone", ".spec.zone", wide=True),
            Column("Location", ".status.location", wide=True),
            REASON,
        ),
    )

    spec: VirtualMachineSpec
    """The machine as it should be."""
    status: VirtualMachineStatus = VirtualMachineStatus()
    """The machine as it is."""
