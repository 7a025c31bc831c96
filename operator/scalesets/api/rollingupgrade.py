"""RollingUpgrade: one object per upgrade attempt, as progress, audit and history (O5, O22, O24).

The operator creates it (`startedBy: Platform`), or a user does (`startedBy: User`, a manual start). All of its spec
is immutable but `cancel`, which only goes from false to true, and `approvedInstances`. What a batch is about to do
stands in the status before the first instance is touched.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from scalesets.api.common import (
    MAX_EXTENSIONS,
    MAX_MACHINES,
    MAX_REPLICAS,
    Conditions,
    ErrorInfo,
    ExtensionName,
    ExtensionVersion,
    Label,
    Ordinals,
    ShortName,
    Text,
    Time,
    Word,
)
from scalesets.api.schema import AGE, Column, Kind, Model, Resource, Rule, immutable

ANOTHER = "create another RollingUpgrade"
MAX_TARGETS = 5 * MAX_EXTENSIONS
"""Extensions, each in a few majors."""
WHOSE = ("scaleSet", "availabilitySet", "virtualMachine")
ApprovedInstance = Annotated[
    str, StringConstraints(min_length=1, max_length=63, pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
]


class UpgradeType(StrEnum):
    """What an upgrade brings to its instances."""

    OS_IMAGE = "OSImage"
    EXTENSION = "Extension"
    MODEL = "Model"


class StartedBy(StrEnum):
    """Who asked for an upgrade."""

    USER = "User"
    PLATFORM = "Platform"


class RollingUpgradeSpec(Model):
    """What to upgrade."""

    rules = (
        Rule(
            rule="[has(self.scaleSet), has(self.availabilitySet), has(self.virtualMachine)].exists_one(given, given)",
            message="exactly one of scaleSet, availabilitySet and virtualMachine must be given: name what to upgrade",
            field=".scaleSet",
            reason="FieldValueRequired",
        ),
        Rule(
            rule="!has(self.availabilitySet) && !has(self.virtualMachine) || self.type == 'Extension'",
            message="type must be Extension for machines: their OS image is not upgraded, and changes of their model"
            " apply at once",
            field=".type",
        ),
        Rule(
            rule="self.type == 'Extension' || !has(self.extensions) || self.extensions.size() == 0",
            message="extensions goes with type Extension only: remove it or change type",
            field=".extensions",
        ),
        Rule(
            rule="self.type == 'Model' || !has(self.instances) || self.instances.size() == 0",
            message="instances goes with type Model only: remove it or change type",
            field=".instances",
        ),
        Rule(
            rule="self.type == 'OSImage' || !has(self.approvedInstances) || self.approvedInstances.size() == 0",
            message="approvedInstances goes with type OSImage only: remove it or change type",
            field=".approvedInstances",
        ),
        *(
            immutable(name, ANOTHER)
            for name in (
                *WHOSE,
                "type",
                "startedBy",
                "extensions",
                "instances",
            )
        ),
        Rule(
            rule="!oldSelf.cancel || self.cancel",
            message="cancel can't be taken back: let the upgrade end and create another RollingUpgrade",
            field=".cancel",
            reason="FieldValueForbidden",
        ),
    )

    scale_set: ShortName | None = None
    """The ScaleSet to upgrade."""
    availability_set: ShortName | None = None
    """The AvailabilitySet to upgrade."""
    virtual_machine: ShortName | None = None
    """The VirtualMachine to upgrade; one that is in an availability set is upgraded with it."""
    type: UpgradeType
    """OSImage, Extension or Model."""
    started_by: StartedBy = StartedBy.USER
    """Who asked for it. A user's OS upgrade starts at once and has no automatic roll-back."""
    extensions: Annotated[tuple[ExtensionName, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """For type Extension: which; empty: all that are due."""
    instances: Annotated[tuple[Label, ...], Field(max_length=MAX_REPLICAS)] = ()
    """For type Model: only these instances, by name; empty: all."""
    approved_instances: Annotated[tuple[ApprovedInstance, ...], Field(max_length=MAX_REPLICAS)] = ()
    """For a deferred OS upgrade: the instances that may be upgraded, by name, or `*` for all."""
    cancel: bool = False
    """true stops the upgrade at the end of the current batch; it can't be taken back."""


class RunningCode(StrEnum):
    """Where an upgrade stands; the last three are final."""

    ROLLING_FORWARD = "RollingForward"
    ROLLING_BACK = "RollingBack"
    CANCELLED = "Cancelled"
    COMPLETED = "Completed"
    FAULTED = "Faulted"


class BatchOutcome(StrEnum):
    """How a batch ended; Running until all of its instances are judged."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"


class RunningStatus(Model):
    """Where the upgrade stands."""

    code: RunningCode
    """RollingForward, RollingBack, Cancelled, Completed or Faulted."""
    start_time: Time
    """When it started."""
    last_action: Word = ""
    """The last thing asked of it: Start or Cancel."""
    last_action_time: Time | None = None
    """When that was."""
    completed_time: Time | None = None
    """When it ended."""


class UpgradeProgress(Model):
    """How many instances are where; the four sum to the scope."""

    successful_instance_count: Annotated[int, Field(ge=0)] = 0
    """Upgraded and healthy."""
    failed_instance_count: Annotated[int, Field(ge=0)] = 0
    """Failed, put back or not."""
    in_progress_instance_count: Annotated[int, Field(ge=0)] = 0
    """In the current batch and not judged yet."""
    pending_instance_count: Annotated[int, Field(ge=0)] = 0
    """Not touched yet."""


class TargetImageReference(Model):
    """The image and version that the upgrade goes to."""

    publisher: Word | None = None
    """As in the set's imageReference."""
    offer: Word | None = None
    """As in the set's imageReference."""
    sku: Word | None = None
    """As in the set's imageReference."""
    gallery_image: Word | None = None
    """As in the set's imageReference."""
    version: Word
    """The exact version."""


class ExtensionOutcome(StrEnum):
    """How the upgrade of one extension stands; the last four are final."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"
    DROPPED = "Dropped"


class TargetExtension(Model):
    """One extension that the upgrade brings to another version, and how that goes; one may stop alone (E6)."""

    name: Word
    """Its name on the instances; twice when instances are on several majors, each with its own target."""
    from_: Word | None = Field(default=None, alias="from")
    """The version before; while instances differ, the lowest."""
    to: Word
    """The version after."""
    outcome: ExtensionOutcome | None = None
    """Pending, Running, Succeeded, Failed (on some instances), Stopped (on too many), or Dropped (opted out or
    withdrawn meanwhile)."""
    successful_instance_count: Annotated[int, Field(ge=0)] = 0
    """Instances that have it and are healthy."""
    failed_instance_count: Annotated[int, Field(ge=0)] = 0
    """Instances on which it failed, put back or not."""
    error: ErrorInfo | None = None
    """Why it failed, stopped or was dropped."""


class RollbackInfo(Model):
    """What was put back."""

    successfully_rolledback_instance_count: Annotated[int, Field(ge=0)] = 0
    """Put back and healthy again."""
    failed_rolledback_instance_count: Annotated[int, Field(ge=0)] = 0
    """Put back and still not healthy."""
    rollback_error: ErrorInfo | None = None
    """Why putting back failed."""


class Origin(Model):
    """Instances of a batch that come from the same versions and model; they go back there when they fail."""

    image_version: Word = ""
    """The image version before the batch."""
    model: Word = ""
    """The model before the batch."""
    extensions: Annotated[tuple[ExtensionVersion, ...], Field(max_length=MAX_EXTENSIONS)] = ()
    """The extension versions before the batch."""
    ordinals: Ordinals
    """The instances."""


class BatchStatus(Model):
    """One batch: what it does, written before the first instance is touched, and how it ended."""

    number: Annotated[int, Field(ge=1)]
    """Its number, from 1."""
    extension: Word = ""
    """The extension that it upgrades, for type Extension: the batches of one zone and update domain follow each other
    without a pause, one for each extension."""
    zone: Word = ""
    """The zone that its instances lie in; empty without zones or across zones."""
    update_domain: Annotated[int, Field(ge=0)] = 0
    """The update domain that its instances lie in."""
    start_time: Time
    """When it was written."""
    completed_time: Time | None = None
    """When the last of its instances was judged."""
    ordinals: Ordinals
    """Its instances; of machines, their places in the availability set."""
    machines: Annotated[tuple[Word, ...], Field(max_length=MAX_MACHINES)] = ()
    """For machines: their names, in the order of `ordinals`."""
    from_: Annotated[tuple[Origin, ...], Field(max_length=200)] = Field(default=(), alias="from")
    """Where they come from."""
    failed: Ordinals = ""
    """Instances that failed, put back or not."""
    not_created: Ordinals = ""
    """Those of the failed whose pods the API server or a quota didn't let come: that is not the target's fault."""
    rolled_back: Ordinals = ""
    """Instances that are put back, or are to be."""
    unhealthy_before: Ordinals = ""
    """Instances that were unhealthy before the batch."""
    roll_back_time: Time | None = None
    """When putting back started."""
    roll_back_failed: Ordinals = ""
    """Instances that were put back and are still not healthy."""
    outcome: BatchOutcome
    """Running, Succeeded, Failed or RolledBack."""


class RollingUpgradeStatus(Model):
    """How the upgrade goes, batch by batch."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that this status was made from."""
    running_status: RunningStatus | None = None
    """Where the upgrade stands; unset until the operator saw it."""
    started_by: StartedBy | None = None
    """Mirrors spec.startedBy."""
    progress: UpgradeProgress = UpgradeProgress()
    """How many instances are where."""
    target: Word = ""
    """Where it goes, in a few words: the image version, the model, or the extensions with their versions."""
    target_image_reference: TargetImageReference | None = None
    """The image and version that it goes to."""
    target_model: Word | None = None
    """The model that it goes to."""
    target_extensions: Annotated[tuple[TargetExtension, ...], Field(max_length=MAX_TARGETS)] = ()
    """The extensions that it brings to another version."""
    scope: Ordinals = ""
    """The instances that it is about: those not on the target at the start."""
    skipped: Ordinals = ""
    """Instances that are left out, being protected or not on the latest model."""
    waiting_for: Text = ""
    """What it waits for, in words; empty while it works."""
    rollback_info: RollbackInfo | None = None
    """What was put back."""
    error: ErrorInfo | None = None
    """Why it stopped."""
    batches: Annotated[tuple[BatchStatus, ...], Field(max_length=1000)] = ()
    """What happened, batch by batch."""
    conditions: Conditions = ()
    """Complete, Failed, Progressing; Ready, Reconciling and Stalled for kstatus."""


class RollingUpgrade(Resource):
    """One attempt to upgrade a set or a machine. Delete it to cancel it; finished ones are the history."""

    kind_info = Kind(
        name="RollingUpgrade",
        plural="rollingupgrades",
        short_names=("rup",),
        selectable=(*(f".spec.{field}" for field in WHOSE), ".spec.type"),
        columns=(
            Column("Set", f".spec[{','.join(repr(field) for field in WHOSE)}]"),
            Column("Type", ".spec.type"),
            Column("Status", ".status.runningStatus.code"),
            Column("Done", ".status.progress.successfulInstanceCount", "integer"),
            Column("Failed", ".status.progress.failedInstanceCount", "integer"),
            Column("Pending", ".status.progress.pendingInstanceCount", "integer"),
            Column("Target", ".status.target"),
            Column("Started-By", ".spec.startedBy", wide=True),
            Column("Waiting-For", ".status.waitingFor", wide=True),
            AGE,
        ),
    )

    spec: RollingUpgradeSpec
    """What to upgrade."""
    status: RollingUpgradeStatus = RollingUpgradeStatus()
    """How it goes."""
