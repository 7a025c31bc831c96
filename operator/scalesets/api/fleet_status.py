"""What the statuses of a ScaleSet, an AvailabilitySet and a VirtualMachine have in common.

`currentUpgrade` is the lock: one upgrade at a time. `instances` is the record from which a lost instance comes back
with its own versions (docs/design.md, "Crash-safe by writing the intent first"). `extensions` is what E11 shows.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from scalesets.api.common import (
    MAX_EXTENSIONS,
    Conditions,
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


class AutomaticUpgrade(StrEnum):
    """Whether an installed extension is upgraded automatically."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    NOT_SUPPORTED = "NotSupported"


class LastExtensionUpgrade(Model):
    """How the last upgrade of an extension ended, and when it is tried again (E4)."""

    name: Word = ""
    """Name of the RollingUpgrade."""
    version: Word = ""
    """The version that it went to."""
    outcome: Outcome
    """Completed, Cancelled or Faulted."""
    code: Word = ""
    """The error code, or why it was cancelled."""
    reason: Text = ""
    """The same in words: what failed."""
    completed_time: Time
    """When it ended."""
    model: Word = ""
    """The model that it ran with."""
    retry_time: Time | None = None
    """When it is tried again by itself; unset when it is not."""


class ExtensionStatus(Model):
    """One installed extension."""

    name: Word
    """Its name here."""
    version: Word = ""
    """The version that is installed; while instances differ, the lowest."""
    automatic_upgrade: AutomaticUpgrade
    """Enabled, Disabled or NotSupported."""
    last_upgrade: LastExtensionUpgrade | None = None
    """How its last upgrade ended."""


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


class FleetStatus(Model):
    """What all of them say."""

    observed_generation: Count = 0
    """The generation that this status was made from."""
    location: Word = ""
    """The effective region."""
    current_upgrade: Word = ""
    """The RollingUpgrade now at work: the lock."""
    upgrade_attempts: Count = 0
    """How many upgrades the operator has started here."""
    instances: Annotated[tuple[InstanceGroup, ...], Field(max_length=500)] = ()
    """What every instance runs, grouped."""
    extensions: Annotated[tuple[ExtensionStatus, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """The installed extensions."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled, Progressing, LastUpgradeSucceeded, and what else is to be known."""
