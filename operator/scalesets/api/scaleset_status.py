"""What a ScaleSet's status says beside what all statuses say: counts, versions, and how its last upgrades ended."""

from typing import Annotated

from pydantic import Field

from scalesets.api.common import Duration, Text, Time, Word
from scalesets.api.fleet_status import Count, FleetStatus, Outcome
from scalesets.api.schema import Model


class LastUpgrade(Model):
    """How the last upgrade ended. It is kept here, as users may delete RollingUpgrades."""

    name: Word = ""
    """Name of the RollingUpgrade."""
    version: Word = ""
    """The image version that it went to."""
    outcome: Outcome
    """Completed, Cancelled or Faulted."""
    code: Word = ""
    """The error code, or why it was cancelled."""
    reason: Text = ""
    """The same in words."""
    completed_time: Time
    """When it ended."""
    started_by: Word | None = None
    """User or Platform."""
    model: Word = ""
    """The model that it ran with."""
    enabled_time: Time | None = None
    """The opt-in that it ran under."""
    within_limit_delay: Duration | None = None
    """How long the set must be within its limit of unhealthy instances before the same target is tried again."""


class ScaleSetStatus(FleetStatus):
    """The set as it is."""

    replicas: Count = 0
    """Instances that exist."""
    ready_replicas: Count = 0
    """Instances that are ready."""
    upgraded_replicas: Count = 0
    """Instances on the target image version."""
    latest_model_replicas: Count = 0
    """Instances on the current model."""
    selector: Annotated[str, Field(max_length=256)] = ""
    """The label selector of the set's pods, for the scale subresource."""
    zones_backed: bool | None = None
    """Whether nodes carried the zones' labels when the set was first seen; if not, zones are labels only."""
    current_model: Word = ""
    """Hash of the current model."""
    image_version: Word = ""
    """The image version that the set is on, or is moving to."""
    faulted_os_versions: Annotated[tuple[Word, ...], Field(max_length=20)] = ()
    """Image versions whose upgrade was stopped here because too many upgraded instances were unhealthy."""
    last_os_upgrade: LastUpgrade | None = None
    """How the last OS image upgrade ended."""
    last_model_upgrade: LastUpgrade | None = None
    """How the last model upgrade ended."""
    automatic_os_upgrade_enabled_time: Time | None = None
    """When automatic OS image upgrades were enabled last."""
    automatic_os_upgrade_first_enabled_time: Time | None = None
    """When they were enabled for the first time ever."""
