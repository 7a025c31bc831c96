"""The words of the engine: enums, what an instance runs, sets of instances (docs/rules.md, "Words")."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

Ordinals = frozenset[int]
NONE: Ordinals = frozenset()
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class UpgradeMode(Enum):
    """What a model change does to existing instances (O20)."""

    AUTOMATIC = "Automatic"
    ROLLING = "Rolling"
    MANUAL = "Manual"


class UpgradeType(Enum):
    """What a rolling upgrade brings to its instances."""

    OS_IMAGE = "OSImage"
    EXTENSION = "Extension"
    MODEL = "Model"


class StartedBy(Enum):
    """Who asked for an upgrade; a user's OS upgrade has no automatic roll-back (O24)."""

    PLATFORM = "Platform"
    USER = "User"


class Code(Enum):
    """Running status of an upgrade (O22). The last three are final."""

    ROLLING_FORWARD = "RollingForward"
    ROLLING_BACK = "RollingBack"
    CANCELLED = "Cancelled"
    COMPLETED = "Completed"
    FAULTED = "Faulted"

    @property
    def final(self) -> bool:
        """Whether an upgrade with this code is over."""
        return self in (Code.CANCELLED, Code.COMPLETED, Code.FAULTED)


class BatchOutcome(Enum):
    """The life of a batch: Running until every member is judged, then one of the others for good."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # some members failed and stay as they are
    ROLLED_BACK = "RolledBack"  # some members failed and were put back


class TargetOutcome(Enum):
    """How one extension of an upgrade fares."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"  # some instances failed, within the limit
    STOPPED = "Stopped"  # too many failed
    DROPPED = "Dropped"  # it may not be upgraded any more

    @property
    def open(self) -> bool:
        """Whether instances may still be brought to it."""
        return self in (TargetOutcome.PENDING, TargetOutcome.RUNNING)


@dataclass(frozen=True, slots=True)
class Release:
    """What one instance runs: OS image version, model, and the version of each extension (sorted by name)."""

    image_version: str
    model: str
    extensions: tuple[tuple[str, str], ...] = ()
