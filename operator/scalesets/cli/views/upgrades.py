"""One upgrade: its target, its progress and its batches, read from a RollingUpgrade (O22)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scalesets.cli import words
from scalesets.cli.fields import FINAL_CODES, ConditionView, Obj, at, condition, is_final, name_of, number, text, when
from scalesets.engine import ordinals

TYPE_WORDS = {"OSImage": "OS image upgrade", "Model": "Model upgrade", "Extension": "Extension upgrade"}
WAITING_FOR_APPROVAL = "WaitingForApproval"
CODES = frozenset({"RollingForward", "RollingBack", *FINAL_CODES})


@dataclass(frozen=True, slots=True)
class BatchView:
    """One batch; the sets of ordinals are its members and what became of them."""

    number: int
    extension: str  # of an Extension upgrade: the one that it brings
    zone: str
    update_domain: int
    members: frozenset[int]
    failed: frozenset[int]
    rolled_back: frozenset[int]
    roll_back_failed: frozenset[int]
    from_versions: tuple[str, ...]
    started: datetime | None
    completed: datetime | None
    outcome: str

    @property
    def running(self) -> bool:
        """Whether its members are still being judged."""
        return self.outcome == "Running"


@dataclass(frozen=True, slots=True)
class ExtensionTargetView:
    """One extension of an Extension upgrade, and how it fares; another major that is installed is another target."""

    name: str
    from_version: str
    to_version: str
    outcome: str  # Pending | Running | Succeeded | Failed | Stopped | Dropped
    successful: int
    failed: int
    error_code: str
    error: str

    @property
    def given_up(self) -> bool:
        """Whether no more instances are brought to it, although some may be behind."""
        return self.outcome in ("Stopped", "Dropped")


@dataclass(frozen=True, slots=True)
class UpgradeView:
    """A RollingUpgrade. ``code`` is empty until the operator has begun it; counts are those of its status."""

    name: str
    type: str
    code: str
    started_by: str
    from_versions: tuple[str, ...]
    target_version: str
    target_model: str
    extensions: tuple[ExtensionTargetView, ...]
    created: datetime | None
    started: datetime | None
    completed: datetime | None
    scope: frozenset[int]
    skipped: frozenset[int]
    successful: int
    failed: int
    in_progress: int
    pending: int
    rolled_back: int
    roll_back_failed: int
    roll_back_error: str
    error_code: str
    error: str
    waiting_reason: str
    waiting_for: str
    cancelling: bool
    approved: tuple[str, ...]
    named_instances: tuple[str, ...]
    named_extensions: tuple[str, ...]
    batches: tuple[BatchView, ...]

    @property
    def batch(self) -> BatchView | None:
        """The batch at work: only ever the last."""
        return self.batches[-1] if self.batches and self.batches[-1].running else None

    @property
    def empty(self) -> bool:
        """Whether it ended well and there was nothing to do."""
        return self.code == "Completed" and not self.successful + self.failed + self.in_progress + self.pending

    @property
    def final(self) -> bool:
        """Whether it is over."""
        return self.code in FINAL_CODES

    @property
    def target(self) -> str:
        """Where it goes, in a word or two."""
        if self.type == "OSImage":
            return self.target_version
        if self.type == "Extension":
            known = [f"{e.name} {e.to_version}" for e in self.extensions]
            return words.listing(known or self.named_extensions, limit=2)
        return f"model {self.target_model}" if self.target_model else ""

    @property
    def failed_members(self) -> frozenset[int]:
        """Every instance that failed in it, put back or not."""
        return frozenset(o for batch in self.batches for o in batch.failed)


def read(upgrade: Obj) -> UpgradeView:
    """The view of one RollingUpgrade."""
    batches = tuple(_batch(b) for b in at(upgrade, "status.batches", []))
    progressing = condition(upgrade, "Progressing")
    waiting = text(upgrade, "status.waitingFor")
    if progressing is not None and not is_final(upgrade):
        waiting = waiting or progressing.message
    type_ = text(upgrade, "spec.type")
    versions = dict.fromkeys(v for batch in batches for v in batch.from_versions if type_ != "Extension")
    return UpgradeView(
        name=name_of(upgrade),
        type=type_,
        code=text(upgrade, "status.runningStatus.code"),
        started_by=text(upgrade, "spec.startedBy", "User"),
        from_versions=tuple(versions),
        target_version=text(upgrade, "status.targetImageReference.version"),
        target_model=text(upgrade, "status.targetModel"),
        extensions=_extensions(upgrade) if type_ == "Extension" else (),
        created=when(upgrade, "metadata.creationTimestamp"),
        started=when(upgrade, "status.runningStatus.startTime"),
        completed=when(upgrade, "status.runningStatus.completedTime"),
        scope=_ordinals(upgrade, "status.scope"),
        skipped=_ordinals(upgrade, "status.skipped"),
        successful=number(upgrade, "status.progress.successfulInstanceCount"),
        failed=number(upgrade, "status.progress.failedInstanceCount"),
        in_progress=number(upgrade, "status.progress.inProgressInstanceCount"),
        pending=number(upgrade, "status.progress.pendingInstanceCount"),
        rolled_back=number(upgrade, "status.rollbackInfo.successfullyRolledbackInstanceCount"),
        roll_back_failed=number(upgrade, "status.rollbackInfo.failedRolledbackInstanceCount"),
        roll_back_error=_words(at(upgrade, "status.rollbackInfo.rollbackError")),
        error_code=text(upgrade, "status.error.code"),
        error=text(upgrade, "status.error.message"),
        waiting_reason=_reason(progressing) if not is_final(upgrade) else "",
        waiting_for=waiting,
        cancelling=bool(at(upgrade, "spec.cancel")) or bool(at(upgrade, "metadata.deletionTimestamp")),
        approved=tuple(at(upgrade, "spec.approvedInstances", [])),
        named_instances=tuple(at(upgrade, "spec.instances", [])),
        named_extensions=tuple(at(upgrade, "spec.extensions", [])),
        batches=batches,
    )


def _batch(batch: Obj) -> BatchView:
    return BatchView(
        number=number(batch, "number"),
        extension=text(batch, "extension"),
        zone=text(batch, "zone"),
        update_domain=number(batch, "updateDomain"),
        members=_ordinals(batch, "ordinals"),
        failed=_ordinals(batch, "failed"),
        rolled_back=_ordinals(batch, "rolledBack"),
        roll_back_failed=_ordinals(batch, "rollBackFailed"),
        from_versions=tuple(dict.fromkeys(text(f, "imageVersion") for f in at(batch, "from", []))),
        started=when(batch, "startTime"),
        completed=when(batch, "completedTime"),
        outcome=text(batch, "outcome", "Running"),
    )


def _extensions(upgrade: Obj) -> tuple[ExtensionTargetView, ...]:
    """Without an outcome an entry is only what new instances get."""
    return tuple(
        ExtensionTargetView(
            name=text(e, "name"),
            from_version=text(e, "from"),
            to_version=text(e, "to"),
            outcome=text(e, "outcome"),
            successful=number(e, "successfulInstanceCount"),
            failed=number(e, "failedInstanceCount"),
            error_code=text(e, "error.code"),
            error=text(e, "error.message"),
        )
        for e in at(upgrade, "status.targetExtensions", [])
        if text(e, "outcome")
    )


def _reason(progressing: ConditionView | None) -> str:
    """Why it waits; while it works, the condition's reason is the running code."""
    return "" if progressing is None or progressing.reason in CODES else progressing.reason


def _ordinals(obj: Obj, path: str) -> frozenset[int]:
    try:
        return ordinals.parse(text(obj, path))
    except ValueError:  # written by another version of the operator: show the rest
        return frozenset()


def _words(error: object) -> str:
    return text(error, "message") if isinstance(error, dict) else str(error or "")
