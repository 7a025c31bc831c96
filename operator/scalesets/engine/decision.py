"""What the engine answers: writes in order, then actions on instances, then when to look again.

``Decision.writes`` are done one after the other, each only when the one before was stored; they carry the
resourceVersion of what the decision was made from, so a stale or second operator gets a conflict and looks again.
``Decision.actions`` rest only on what was already stored when the view was taken, never on a write of the same
decision: that is what makes a crash at any point harmless (docs/design.md). They may run side by side. After a
decision with writes or actions the executor's answers go into the cache and the set is decided again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scalesets.engine.view import Release, SetStatus, StartedBy, UpgradeStatus, UpgradeType


@dataclass(frozen=True, slots=True)
class WriteSetStatus:
    """Replace ScaleSet.status. ``urgent`` is False for counts that only inform: the executor may hold those back for
    some seconds.
    """

    status: SetStatus
    urgent: bool = True


@dataclass(frozen=True, slots=True)
class CreateUpgrade:
    """Create a RollingUpgrade (with our finalizer, owned by the set). AlreadyExists is success: look at what is
    there.
    """

    name: str
    type: UpgradeType
    started_by: StartedBy = StartedBy.PLATFORM


@dataclass(frozen=True, slots=True)
class HoldUpgrade:
    """Give a user's RollingUpgrade our finalizer, the set's label and the owner reference, before it starts."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class WriteUpgradeStatus:
    """Replace RollingUpgrade.status."""

    name: str
    uid: str
    status: UpgradeStatus


@dataclass(frozen=True, slots=True)
class ClearApprovals:
    """Empty spec.approvedInstances: the deferred upgrade got a newer target."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReleaseUpgrade:
    """Take our finalizer off a finished RollingUpgrade."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeleteUpgrade:
    """Delete a RollingUpgrade that fell out of the history (O22), by UID."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """Dry-run create this instance under a name of its own; Invalid or Forbidden becomes trouble TemplateRefused and
    ends the decision.
    """

    ordinal: int
    release: Release


@dataclass(frozen=True, slots=True)
class Preflight:
    """Look at the secrets and config maps that the model names; a problem becomes trouble PREFLIGHT of that model and
    ends the decision.
    """

    model: str


Write = (
    WriteSetStatus
    | CreateUpgrade
    | HoldUpgrade
    | WriteUpgradeStatus
    | ClearApprovals
    | ReleaseUpgrade
    | DeleteUpgrade
    | DryRun
    | Preflight
)


@dataclass(frozen=True, slots=True)
class CreateInstance:
    """Create the pod (and claims that are missing). AlreadyExists means: look at what is there."""

    ordinal: int
    release: Release


@dataclass(frozen=True, slots=True)
class DeleteInstance:
    """Delete the pod by UID, gracefully. NotFound and a UID conflict mean that it is already gone."""

    ordinal: int
    uid: str
    reason: str  # Upgrade, RollBack, ScaleIn, Lost, ModelChanged


@dataclass(frozen=True, slots=True)
class LabelInstance:
    """Patch labels and annotations of a pod, by UID; None removes an annotation."""

    ordinal: int
    uid: str
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class PatchExtension:
    """Bring one extension of a running pod to another version, in place, by UID: its image, the annotation of its
    version, and that of the container it had ``before`` (empty: none to wait for).
    """

    ordinal: int
    uid: str
    name: str
    version: str
    before: str


@dataclass(frozen=True, slots=True)
class DeleteClaims:
    """Delete the claims of an instance that was scaled in, by UID; its pod is gone."""

    ordinal: int


Action = CreateInstance | DeleteInstance | LabelInstance | PatchExtension | DeleteClaims


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the ScaleSet, posted once the decision's writes are stored."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """All that is to be done now. ``look_again`` is when time alone will change the answer; ``within_limit`` feeds
    ``SetView.within_limit_since``; ``waits_for_turn``: only ``SetView.held_back`` keeps it from going on."""

    writes: tuple[Write, ...] = ()
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: datetime | None = None
    within_limit: bool = True
    waits_for_turn: bool = False
