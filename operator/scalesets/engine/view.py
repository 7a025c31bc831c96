"""What the engine is shown: one scale set, its instances and all that bears on them, at one moment.

Everything here is a frozen value. The kube layer and the tests build it; the engine only reads it. Nothing in it is
remembered by the engine: what was decided earlier comes back as stored status (``SetStatus``, ``UpgradeStatus``),
what is done is read from the instances (docs/design.md, "Crash-safe by writing the intent first").

Times are aware datetimes in UTC, durations timedeltas, percentages integers, ordinals integers from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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


@dataclass(frozen=True, slots=True)
class Release:
    """What one instance runs: OS image version, model, and the version of each extension (sorted by name)."""

    image_version: str
    model: str
    extensions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """One pod that exists, as last seen.

    ``ready`` is the pod's Ready condition. ``started_at`` is when the last of its containers started (None until all
    have); ``failed_to_start`` when a definite start failure (pull, configuration, crash) was first seen;
    ``first_ready`` when this operator first saw it Ready (kept by the cache over the pod's life, so that "the first
    Ready succeeds").
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

    @property
    def live(self) -> bool:
        """Neither on its way out nor ended."""
        return self.deleting_since is None and not self.lost

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

    def find(self, version: str) -> CatalogueVersion | None:
        """The version with exactly this text, whether it may be used or not."""
        return next((v for v in self.versions if v.version == version), None)


@dataclass(frozen=True, slots=True)
class ModelExtension:
    """An extension as a model names it; ``key`` finds its catalogue in ``SetView.extensions``."""

    name: str
    key: str  # publisher/type
    type_handler_version: str
    auto_upgrade_minor_version: bool = False
    enable_automatic_upgrade: bool = False
    reports_application_health: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the set (a ControllerRevision).

    ``name`` is its hash; two models with the same ``content`` differ in flags only, so a pod is relabelled, not
    replaced. ``image`` finds the catalogue in ``SetView.images``; ``version`` is ``latest`` or one exact version.
    ``probe_delay`` is what the readiness probes themselves need at least (initialDelaySeconds + periodSeconds ×
    successThreshold); ``probed`` whether ``os`` has a readiness probe at all; ``slow_probe`` whether one probes less
    often than every two minutes (O3).
    """

    name: str
    content: str
    image: str
    version: str = "latest"
    extensions: tuple[ModelExtension, ...] = ()
    automatic_os_upgrade: bool = False
    probed: bool = True
    probe_delay: timedelta = timedelta(0)
    slow_probe: bool = False

    @property
    def has_health_signal(self) -> bool:
        """A readiness probe or a health extension (O15)."""
        return self.probed or any(e.reports_application_health for e in self.extensions)


@dataclass(frozen=True, slots=True)
class RollingPolicy:
    """``upgradePolicy.rollingUpgradePolicy``; the defaults are Azure's."""

    max_batch_percent: int = 20
    max_unhealthy_percent: int = 20
    max_unhealthy_upgraded_percent: int = 20
    pause: timedelta = timedelta(0)
    health_timeout: timedelta = timedelta(minutes=5)
    provisioning_timeout: timedelta = timedelta(minutes=15)
    cross_zone: bool = False
    prioritize_unhealthy: bool = False
    roll_back_on_breach: bool = False


@dataclass(frozen=True, slots=True)
class OSUpgradePolicy:
    """``upgradePolicy.automaticOSUpgradePolicy``."""

    enabled: bool = False
    disable_roll_back: bool = False
    use_rolling_policy: bool = False
    deferral: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """The operator's ``timing`` settings: when upgrades start by themselves. The defaults are the profile
    ``immediate``.
    """

    first_trigger_delay: timedelta = timedelta(0)
    trigger_delay_min: timedelta = timedelta(0)
    trigger_delay_max: timedelta = timedelta(0)
    extension_retry_interval: timedelta = timedelta(minutes=10)


AZURE_TIMING = Timing(
    first_trigger_delay=timedelta(hours=3),
    trigger_delay_min=timedelta(minutes=30),
    trigger_delay_max=timedelta(minutes=60),
    extension_retry_interval=timedelta(days=3),
)


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
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch: the intent (members and the release each comes from) and, later, its verdict.

    Written to RollingUpgrade.status before its first instance is touched. ``rolled_back`` is an intent as well: a
    member in it is wanted at its ``members`` release from then on. ``not_created`` are failed ones whose pod the API
    server or a quota didn't let come: that isn't the version's fault.
    """

    number: int
    zone: str
    update_domain: int
    start: datetime
    members: Mapping[int, Release]
    unhealthy_before: Ordinals = NONE
    failed: Ordinals = NONE
    not_created: Ordinals = NONE
    rolled_back: Ordinals = NONE
    roll_back_time: datetime | None = None
    roll_back_failed: Ordinals = NONE
    completed: datetime | None = None
    outcome: BatchOutcome = BatchOutcome.RUNNING


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
    status: UpgradeStatus | None = None

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.status is not None and self.status.code.final


class TroubleKind(Enum):
    """What the executor ran into, told to the next decision. The values are condition types or reasons that users
    read.
    """

    TEMPLATE_REFUSED = "TemplateRefused"  # the server refuses the pod; holds new batches and creations of that model
    PREFLIGHT = "ExternalResources"  # a secret or config map that the model names is missing or expired
    NAME_CONFLICT = "NameConflict"  # a foreign pod has the name
    CLAIM_CONFLICT = "ClaimConflict"  # a foreign claim has the name
    CLAIM_NOT_ADOPTED = "ClaimNotAdopted"  # it may not become the set's own
    CLAIM_NOT_EXPANDED = "ClaimNotExpanded"  # its storage class can't expand it
    QUOTA = "QuotaExceeded"
    CREATE_FAILED = "CreateFailed"
    IMAGE_MISSING = "ImageNotFound"  # no image is known for the version that the instance has
    UPGRADE_NAME_CONFLICT = "UpgradeNameConflict"  # another's RollingUpgrade has the name
    WRITE_REFUSED = "WriteRefused"  # the server doesn't store what was decided
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
    policy: RollingPolicy = RollingPolicy()
    os_policy: OSUpgradePolicy = OSUpgradePolicy()
    timing: Timing = Timing()
    protected: Ordinals = NONE  # spec.instanceProtection
    model_problem: tuple[str, str] = ("", "")  # reason, message
    models: Mapping[str, Model] = field(default_factory=dict)  # by name; the current one included
    images: Mapping[str, Catalogue] = field(default_factory=dict)  # by Model.image
    extensions: Mapping[str, Catalogue] = field(default_factory=dict)  # by ModelExtension.key
    instances: Mapping[int, Instance] = field(default_factory=dict)
    claims_deleting: Ordinals = NONE  # instances with a claim that is being deleted
    spare_claims: Ordinals = NONE  # ordinals at or above replicas that still have claims
    delete_claims_when_scaled: bool = False
    upgrades: tuple[Upgrade, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    fresh_since: datetime | None = LONG_AGO  # since when pods are watched without a break; None: they are not
    within_limit_since: datetime | None = None  # since when not too many are unhealthy (O11)
    losses: Mapping[int, tuple[int, datetime]] = field(default_factory=dict)  # ordinal -> how often in a row, when last
    open_zone: str | None = None  # the zone that is open for the target; None: every zone (regions come later)

    @property
    def current_upgrade(self) -> Upgrade | None:
        """The upgrade that holds the set's lock."""
        return self.find_upgrade(self.status.current_upgrade) if self.status.current_upgrade else None

    def find_upgrade(self, name: str) -> Upgrade | None:
        """The set's upgrade of that name."""
        return next((u for u in self.upgrades if u.name == name), None)

    def instance_name(self, ordinal: int) -> str:
        """The pod's name."""
        return f"{self.name}-{ordinal}"
