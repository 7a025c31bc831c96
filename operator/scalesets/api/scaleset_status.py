"""What a ScaleSet's status says: counts, versions, the lock of the set, and the record of what each instance runs.

`currentUpgrade` is the lock: one upgrade runs per set at a time. `instances` is the record from which a lost instance
comes back with its own versions (docs/design.md, "Crash-safe by writing the intent first").
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from scalesets.api.common import (
    MAX_EXTENSIONS,
    Conditions,
    Duration,
    ExtensionVersion,
    Ordinals,
    Text,
    Time,
    Word,
)
from scalesets.api.schema import Model

Count = Annotated[int, Field(ge=0)]


class Outcome(StrEnum):
    """How an upgrade ended."""

    COMPLETED = "Completed"
    CANCELLED = "Cancelled"
    FAULTED = "Faulted"


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


class AutomaticUpgrade(StrEnum):
    """Whether an installed extension is upgraded automatically."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    NOT_SUPPORTED = "NotSupported"


class ExtensionStatus(Model):
    """One extension of the set."""

    name: Word
    """Name in the set."""
    version: Word = ""
    """The version that the set is on, or is moving to."""
    automatic_upgrade: AutomaticUpgrade
    """Enabled, Disabled or NotSupported."""


class InstanceGroup(Model):
    """Instances that run the same."""

    ordinals: Ordinals
    """Which instances."""
    image_version: Word = ""
    """Their image version."""
    model: Word = ""
    """Hash of their model."""
    extensions: Annotated[tuple[ExtensionVersion, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """Their extensions."""


class ScaleSetStatus(Model):
    """The set as it is."""

    observed_generation: Count = 0
    """The generation that this status was made from."""
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
    location: Word = ""
    """The effective region."""
    zones_backed: bool | None = None
    """Whether nodes carried the zones' labels when the set was first seen; if not, zones are labels only."""
    current_model: Word = ""
    """Hash of the current model."""
    image_version: Word = ""
    """The image version that the set is on, or is moving to."""
    current_upgrade: Word = ""
    """The RollingUpgrade now at work: the lock of the set."""
    upgrade_attempts: Count = 0
    """How many upgrades the operator has started here."""
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
    instances: Annotated[tuple[InstanceGroup, ...], Field(max_length=500)] = ()
    """What every instance runs, grouped."""
    extensions: Annotated[tuple[ExtensionStatus, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """The extensions of the set."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, Progressing, LastUpgradeSucceeded, AutomaticOSUpgradeEligible, and what else is to
    be known."""
