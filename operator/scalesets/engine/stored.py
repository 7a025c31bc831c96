"""What is stored in status, so that it comes back after a crash: of a set, and of its upgrades with their batches
(docs/design.md, "Crash-safe by writing the intent first").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scalesets.engine.terms import NONE, BatchOutcome, Code, Ordinals, Release, StartedBy, TargetOutcome, UpgradeType


@dataclass(frozen=True, slots=True)
class Condition:
    """A Kubernetes condition. ``status`` is True, False or None (Unknown)."""

    type: str
    status: bool | None
    reason: str
    message: str = ""
    since: datetime | None = None  # lastTransitionTime


@dataclass(frozen=True, slots=True)
class LastUpgrade:
    """How the last upgrade of a type ended: kept on the set, because users may delete the history."""

    name: str
    version: str
    outcome: Code
    completed: datetime
    code: str = ""  # error code, or why it was cancelled
    reason: str = ""  # in words
    started_by: StartedBy = StartedBy.PLATFORM
    model: str = ""
    enabled_time: datetime | None = None  # the opt-in that it ran under
    retry_delay: timedelta | None = None  # how long the set must be within its limit before the next try


@dataclass(frozen=True, slots=True)
class SetStatus:
    """``ScaleSet.status``. ``record`` is what each known instance runs or comes back as; an ordinal that is not in it
    is new.
    """

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    upgraded_replicas: int = 0
    latest_model_replicas: int = 0
    location: str = ""
    zones_backed: bool | None = None
    current_model: str = ""
    image_version: str = ""
    current_upgrade: str = ""
    upgrade_attempts: int = 0
    faulted_os_versions: tuple[str, ...] = ()
    last_os_upgrade: LastUpgrade | None = None
    last_model_upgrade: LastUpgrade | None = None  # the version is empty
    enabled_time: datetime | None = None
    first_enabled_time: datetime | None = None
    record: Mapping[int, Release] = field(default_factory=dict)
    extensions: tuple[tuple[str, str, str], ...] = ()  # name, version, Enabled | Disabled | NotSupported
    last_extension_upgrades: Mapping[str, LastUpgrade] = field(default_factory=dict)  # by the extension's name
    machines: tuple[tuple[int, str], ...] = ()  # of an availability set: place, name
    update_domain: int | None = None  # of a machine in one
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: the intent (members and the release each comes from) and, later, its verdict.

    Written to RollingUpgrade.status before its first instance is touched. ``rolled_back`` is an intent as well: a
    member in it is wanted at its ``members`` release from then on. ``not_created`` are failed ones whose pod the API
    server or a quota didn't let come: that isn't the version's fault. ``extension`` is the one that is upgraded in
    place; empty when instances are replaced.
    """

    number: int
    zone: str
    update_domain: int
    start: datetime
    members: Mapping[int, Release]
    extension: str = ""
    unhealthy_before: Ordinals = NONE
    failed: Ordinals = NONE
    not_created: Ordinals = NONE
    rolled_back: Ordinals = NONE
    roll_back_time: datetime | None = None
    roll_back_failed: Ordinals = NONE
    completed: datetime | None = None
    outcome: BatchOutcome = BatchOutcome.RUNNING
    machines: tuple[str, ...] = ()  # only for machines: the names of the members, in the order of their ordinals


@dataclass(frozen=True, slots=True)
class Progress:
    """The four counts; they sum to the scope (I6)."""

    successful: int = 0
    failed: int = 0
    in_progress: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where an upgrade goes. For a Model upgrade ``image_version`` is used for instances whose image changes with the
    model.

    ``extensions`` are the versions for extensions that an instance doesn't have yet (name, version).
    """

    model: str
    image_version: str = ""
    image: str = ""  # key of the catalogue
    extensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ExtensionTarget:
    """One extension of an Extension upgrade, and how it fares. Another major that is installed is another target."""

    name: str
    to: str
    former: str = ""  # the lowest version that is brought there
    outcome: TargetOutcome = TargetOutcome.PENDING
    successful: int = 0
    failed: int = 0
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class UpgradeStatus:
    """``RollingUpgrade.status``."""

    code: Code
    target: Target
    start: datetime
    scope: Ordinals = NONE
    skipped: Ordinals = NONE
    last_action: str = "Start"
    last_action_time: datetime | None = None
    completed: datetime | None = None
    progress: Progress = Progress()
    rolled_back: int = 0
    roll_back_failed: int = 0
    roll_back_error: str = ""
    error_code: str = ""
    error: str = ""
    waiting: str = ""  # reason, CamelCase: what it waits for; empty when it works
    waiting_message: str = ""
    batches: tuple[Batch, ...] = ()
    extensions: tuple[ExtensionTarget, ...] = ()  # of an Extension upgrade, in the order of their batches

    @property
    def running_batch(self) -> Batch | None:
        """The batch at work, if any: only ever the last."""
        last = self.batches[-1] if self.batches else None
        return last if last is not None and last.outcome is BatchOutcome.RUNNING else None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A RollingUpgrade of this set. ``status`` is None until it is written for the first time."""

    name: str
    uid: str
    created: datetime
    type: UpgradeType
    started_by: StartedBy
    deleting: bool = False
    held: bool = False  # carries our finalizer
    cancel: bool = False
    approved: frozenset[str] = frozenset()  # instance names, or "*"
    instances: tuple[str, ...] = ()  # for type Model: only these
    extensions: tuple[str, ...] = ()  # for type Extension: only these; empty: all that are due
    status: UpgradeStatus | None = None

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.status is not None and self.status.code.final
