"""AvailabilitySet: machines that never go down together (E5c).

Machines name it; it gives each an update domain in turn, and keeps that in its status. An upgrade takes one update
domain at a time.
"""

from typing import Annotated

from pydantic import Field

from scalesets.api.common import MAX_MACHINES, Location, Word
from scalesets.api.fleet_status import Count, FleetStatus
from scalesets.api.instance import ANOTHER, SHORT_NAME
from scalesets.api.policy import AvailabilitySetUpgradePolicy
from scalesets.api.schema import AGE, REASON, Column, Kind, Model, Resource, immutable


class AvailabilitySetSpec(Model):
    """The set as it should be."""

    rules = tuple(immutable(name, ANOTHER) for name in ("location", "platformUpdateDomainCount"))

    location: Location | None = None
    """The region of the set and its machines; default: the operator's default location. Immutable."""
    platform_update_domain_count: Annotated[int, Field(ge=1, le=20)] = 5
    """How many update domains its machines are spread over. Immutable."""
    upgrade_policy: AvailabilitySetUpgradePolicy = AvailabilitySetUpgradePolicy()
    """How its machines come to new versions of their extensions."""


class MemberMachine(Model):
    """A machine of the set."""

    name: Word
    """Name of the VirtualMachine."""
    ordinal: Annotated[int, Field(ge=0)] | None = None
    """Its place in the set, for as long as it is in it; batches name it by this number. Unset: its place in this
    list."""
    update_domain: Annotated[int, Field(ge=0)]
    """The update domain that it lies in: the place modulo the number of domains."""


class AvailabilitySetStatus(FleetStatus):
    """The set as it is."""

    replicas: Count = 0
    """Machines that exist."""
    ready_replicas: Count = 0
    """Machines that are ready."""
    machines: Annotated[tuple[MemberMachine, ...], Field(max_length=MAX_MACHINES)] = ()
    """Its machines and their update domains."""


class AvailabilitySet(Resource):
    """Machines that are upgraded one update domain at a time."""

    rules = (SHORT_NAME,)
    kind_info = Kind(
        name="AvailabilitySet",
        plural="availabilitysets",
        short_names=("avset",),
        columns=(
            Column("Domains", ".spec.platformUpdateDomainCount", "integer"),
            Column("Machines", ".status.replicas", "integer"),
            Column("Ready", ".status.readyReplicas", "integer"),
            Column("Upgrade", ".status.currentUpgrade"),
            AGE,
            Column("Location", ".status.location", wide=True),
            REASON,
        ),
    )

    spec: AvailabilitySetSpec = AvailabilitySetSpec()
    """The set as it should be."""
    status: AvailabilitySetStatus = AvailabilitySetStatus()
    """The set as it is."""
