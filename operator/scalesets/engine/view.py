"""What the engine is shown: one scale set, its instances and all that bears on them, at one moment.

Everything here is a frozen value. The kube layer and the tests build it; the engine only reads it. Nothing in it is
remembered by the engine: what was decided earlier comes back as stored status (``SetStatus``, ``UpgradeStatus``),
what is done is read from the instances (docs/design.md, "Crash-safe by writing the intent first").

The parts are in terms.py (words), asked.py (what users want) and stored.py (what comes back); this module is the door
to all of them.

Times are aware datetimes in UTC, durations timedeltas, percentages integers, ordinals integers from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from scalesets.engine.asked import (
    AZURE_TIMING,
    DEFAULT_OS_POLICY,
    DEFAULT_POLICY,
    IMMEDIATE_TIMING,
    Model,
    ModelExtension,
    OSUpgradePolicy,
    RollingPolicy,
    Timing,
)
from scalesets.engine.stored import (
    Batch,
    Condition,
    ExtensionTarget,
    LastUpgrade,
    Progress,
    SetStatus,
    Target,
    Upgrade,
    UpgradeStatus,
)
from scalesets.engine.terms import (
    LONG_AGO,
    NONE,
    BatchOutcome,
    Code,
    Ordinals,
    Release,
    StartedBy,
    TargetOutcome,
    UpgradeMode,
    UpgradeType,
)

__all__ = [
    "AZURE_TIMING",
    "LONG_AGO",
    "NONE",
    "NO_CONTAINER",
    "Batch",
    "BatchOutcome",
    "Catalogue",
    "CatalogueVersion",
    "Code",
    "Condition",
    "ExtensionTarget",
    "Instance",
    "LastUpgrade",
    "Model",
    "ModelExtension",
    "OSUpgradePolicy",
    "Ordinals",
    "Progress",
    "Release",
    "RollingPolicy",
    "SetStatus",
    "SetView",
    "Sidecar",
    "StartedBy",
    "Target",
    "TargetOutcome",
    "Timing",
    "Trouble",
    "TroubleKind",
    "Upgrade",
    "UpgradeMode",
    "UpgradeStatus",
    "UpgradeType",
]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The container of one extension, as its pod's status shows it.

    ``container_id`` is empty while there is none; ``before`` is the one that it had when its image was patched last
    (``NO_CONTAINER`` when there was none), empty when it never was.
    """

    name: str
    container_id: str = ""
    started: bool = False
    started_at: datetime | None = None  # of the running container
    ready: bool = False
    before: str = ""
    changed_at: datetime | None = None  # when another container than ``before`` was first seen; restarts don't count


NO_CONTAINER = "none"
"""Written in place of a container's id where there was none."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One pod that exists, as last seen.

    ``created`` is when its first pod was made, as long as none was Ready. ``ready`` is the pod's Ready condition.
    ``started_at`` is when the last of its containers started (None until all have); ``failed_to_start`` when a definite
    start failure (pull, configuration, crash) was first seen; ``first_ready`` when this operator first saw it Ready
    (kept by the cache over the pod's life, so that "the first Ready succeeds").
    """

    ordinal: int
    uid: str
    release: Release
    created: datetime
    ready: bool = False
    ready_since: datetime | None = None
    started_at: datetime | None = None
    failed_to_start: datetime | None = None
    failure: str = ""  # the words of the start failure, e.g. "ImagePullBackOff: …"
    first_ready: datetime | None = None
    deleting_since: datetime | None = None  # when deletion was asked for; None while it lives
    grace: timedelta = timedelta(seconds=30)
    lost: bool = False  # phase Failed or Succeeded
    protected: bool = False  # annotation scalesets.dev/protect-from-upgrade
    pending_os_upgrade: str = ""  # annotation scalesets.dev/pending-os-upgrade
    node: str = ""
    sidecars: tuple[Sidecar, ...] = ()  # of its extensions, by name

    @property
    def live(self) -> bool:
        """Neither on its way out nor ended."""
        return self.deleting_since is None and not self.lost

    def sidecar(self, name: str) -> Sidecar:
        """The extension's container; one that isn't there yet is empty."""
        return next((s for s in self.sidecars if s.name == name), None) or Sidecar(name)

    @property
    def healthy(self) -> bool:
        """Healthy for the check of the whole set (O11): lives and is Ready."""
        return self.ready and self.live


@dataclass(frozen=True, slots=True)
class CatalogueVersion:
    """One published version of an image or extension, as it stands in one location."""

    version: str
    published: datetime  # not to be used before
    available_since: datetime | None  # in this location; None while pending or replicating
    excluded: bool = False
    end_of_life: datetime | None = None
    removed: bool = False  # no longer in spec, kept in status so that an instance on it can come back
    changed: bool = False  # it came back with another image: not to be used


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A GalleryImage or Extension, as seen from the set's location."""

    name: str
    versions: tuple[CatalogueVersion, ...] = ()
    platform: bool = False  # source: Platform
    supports_automatic_upgrade: bool = False  # of an Extension
    os_type: str = ""  # Linux or Windows; empty: whatever is wanted

    def find(self, version: str) -> CatalogueVersion | None:
        """The version with exactly this text, whether it may be used or not."""
        return next((v for v in self.versions if v.version == version), None)


class TroubleKind(Enum):
    """What the executor ran into, told to the next decision. The values are condition types or reasons that users
    read.
    """

    TEMPLATE_REFUSED = "TemplateRefused"  # the server refuses the pod; holds new batches and creations of that model
    PREFLIGHT = "ExternalResources"  # a secret or config map that the model names is missing or expired
    NO_AVAILABILITY_SET = "AvailabilitySetNotFound"  # that a machine names
    AVAILABILITY_SET_ELSEWHERE = "AvailabilitySetElsewhere"  # it has another location than the machine
    SUBSCRIPTION_UNKNOWN = "SubscriptionUnknown"  # the label of the machine's namespace can't be read
    SUBSCRIPTION_IN_PART = "SubscriptionInPart"  # it has namespaces that others serve
    NAME_CONFLICT = "NameConflict"  # a foreign pod has the name
    CLAIM_CONFLICT = "ClaimConflict"  # a foreign claim has the name
    CLAIM_NOT_ADOPTED = "ClaimNotAdopted"  # it may not become the set's own
    CLAIM_NOT_EXPANDED = "ClaimNotExpanded"  # its storage class can't expand it
    QUOTA = "QuotaExceeded"
    CREATE_FAILED = "CreateFailed"
    IMAGE_MISSING = "ImageNotFound"  # no image is known for the version that the instance has
    UPGRADE_NAME_CONFLICT = "UpgradeNameConflict"  # another's RollingUpgrade has the name
    WRITE_REFUSED = "WriteRefused"  # the server doesn't store what was decided
    ACTION_REFUSED = "InstanceNotChanged"  # nor delete or patch an instance
    ZONES_UNKNOWN = "ZonesUnknown"  # nodes can't be read: nobody knows whether they back the set's zones
    MODEL_REFUSED = "ModelRefused"  # no ControllerRevision can hold it: another spec is needed
    MODEL_NOT_STORED = "ModelNotStored"  # not now


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of trouble, with the server's words. It holds until ``until``, then the step is tried again; when nobody
    does, it is forgotten at ``forgotten``.
    """

    kind: TroubleKind
    message: str
    ordinals: Ordinals = NONE
    model: str = ""
    until: datetime | None = None
    forgotten: datetime | None = None


@dataclass(frozen=True, slots=True)
class SetView:
    """All that the engine sees of one scale set."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    replicas: int
    mode: UpgradeMode
    model: Model | None  # the current model; None while it can't be made (``model_problem`` says why)
    status: SetStatus
    deleting: bool = False
    replicas_owned: bool = True  # False: no field manager owns spec.replicas
    location: str = ""
    zones: tuple[str, ...] = ()
    zones_backed: bool | None = None  # whether nodes carried the zones' labels when the set was first seen
    update_domains: int = 5
    policy: RollingPolicy = DEFAULT_POLICY
    os_policy: OSUpgradePolicy = DEFAULT_OS_POLICY
    timing: Timing = IMMEDIATE_TIMING
    protected: Ordinals = NONE  # spec.instanceProtection
    model_problem: tuple[str, str] = ("", "")  # reason, message
    models: Mapping[str, Model] = field(default_factory=dict)  # by name; the current one included
    images: Mapping[str, Catalogue] = field(default_factory=dict)  # by Model.image
    extensions: Mapping[str, Catalogue] = field(default_factory=dict)  # by ModelExtension.key
    instances: Mapping[int, Instance] = field(default_factory=dict)
    unpatchable: Ordinals = NONE  # on nodes whose kubelet doesn't restart a patched sidecar
    claims_deleting: Ordinals = NONE  # instances with a claim that is being deleted
    spare_claims: Ordinals = NONE  # ordinals at or above replicas that still have claims
    delete_claims_when_scaled: bool = False
    upgrades: tuple[Upgrade, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    fresh_since: datetime | None = LONG_AGO  # since when pods are watched without a break; None: they are not
    within_limit_since: datetime | None = None  # since when not too many are unhealthy (O11)
    losses: Mapping[int, tuple[int, datetime]] = field(default_factory=dict)  # ordinal -> how often in a row, when last
    open_zone: str | None = None  # the zone that is open for the target; None: every zone (regions come later)
    names: Mapping[int, str] = field(default_factory=dict)  # of the instances; empty: NAME-ORDINAL, without gaps
    held_back: str = ""  # why a machine must wait for its turn (machines.py)
    availability_set: str = ""  # that upgrades this machine in its place
    update_domain: int | None = None  # that its availability set gave this machine
    wanted: Release | None = None  # of this machine, by the running batch of its availability set (groups.py)
    is_group: bool = False  # an availability set: its instances are machines that tend themselves (groups.py)

    @property
    def current_upgrade(self) -> Upgrade | None:
        """The upgrade that holds the set's lock."""
        return self.find_upgrade(self.status.current_upgrade) if self.status.current_upgrade else None

    def find_upgrade(self, name: str) -> Upgrade | None:
        """The set's upgrade of that name."""
        return next((u for u in self.upgrades if u.name == name), None)

    def has_place(self, ordinal: int) -> bool:
        """Whether an instance of that ordinal is wanted."""
        return ordinal < self.replicas and (not self.names or ordinal in self.names)

    def instance_name(self, ordinal: int) -> str:
        """The pod's name."""
        return self.names.get(ordinal) or f"{self.name}-{ordinal}"
