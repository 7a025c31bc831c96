"""RollingUpgrade between the API's dict and the engine's value (docs/api.md, "RollingUpgrade"; O22).

The status is the audit: what was intended stands in it before it is done, so reading it back gives exactly what was
written. The conditions are derived: Complete and Failed for ``kubectl wait``, Ready, Reconciling and Stalled for
kstatus, Progressing in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from scalesets.engine import ordinals
from scalesets.engine.decision import CreateUpgrade
from scalesets.engine.view import (
    Batch,
    BatchOutcome,
    Code,
    Condition,
    ExtensionTarget,
    Progress,
    StartedBy,
    Target,
    TargetOutcome,
    Upgrade,
    UpgradeStatus,
    UpgradeType,
)
from scalesets.kube import references, times
from scalesets.kube.names import (
    API_VERSION,
    FINALIZER,
    GROUP_OF,
    MACHINE,
    Raw,
    is_group,
    is_machine,
    owner_label,
    owner_reference,
)
from scalesets.kube.statuses import (
    LONGEST_WORD,
    clipped,
    read_conditions,
    read_record,
    write_conditions,
    write_record,
    write_time,
)

TARGETS = ("scaleSet", "availabilitySet", "virtualMachine")
"""The fields of spec that say whose upgrade it is."""
_CODES = frozenset(code.value for code in Code)


def target_field(obj: Raw) -> str:
    """The field of spec that names this kind of object."""
    return "virtualMachine" if is_machine(obj) else "availabilitySet" if is_group(obj) else "scaleSet"


def owner_of(raw: Raw) -> str:
    """Whose upgrade it is: the set or machine, as it is known here; empty when it is neither's."""
    spec = raw["spec"]
    if name := spec.get("scaleSet"):
        return str(name)
    if name := spec.get("availabilitySet"):
        return f"{GROUP_OF}{name}"
    machine = spec.get("virtualMachine")
    return f"{MACHINE}{machine}" if machine else ""


def read(raw: Raw) -> Upgrade:
    """A RollingUpgrade as the engine knows it."""
    metadata, spec = raw["metadata"], raw["spec"]
    return Upgrade(
        name=metadata["name"],
        uid=metadata["uid"],
        created=times.parse(metadata["creationTimestamp"]),
        type=UpgradeType(spec["type"]),
        started_by=StartedBy(spec.get("startedBy") or StartedBy.USER.value),
        deleting="deletionTimestamp" in metadata,
        held=FINALIZER in (metadata.get("finalizers") or ()),
        cancel=bool(spec.get("cancel")),
        approved=frozenset(spec.get("approvedInstances") or ()),
        instances=tuple(spec.get("instances") or ()),
        extensions=tuple(dict.fromkeys(spec.get("extensions") or ())),
        status=read_status(raw.get("status")),
    )


def body(scaleset: Raw, create: CreateUpgrade) -> dict[str, Any]:
    """A new RollingUpgrade of the operator's own."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RollingUpgrade",
        "metadata": {
            "name": create.name,
            "namespace": scaleset["metadata"]["namespace"],
            "labels": owner_label(scaleset),
            "finalizers": [FINALIZER],
            "ownerReferences": [owner_reference(scaleset)],
        },
        "spec": {
            target_field(scaleset): scaleset["metadata"]["name"],
            "type": create.type.value,
            "startedBy": create.started_by.value,
        },
    }


def hold_patch(scaleset: Raw, raw: Raw) -> list[dict[str, Any]]:
    """A JSON patch that gives a user's RollingUpgrade our finalizer, the set's label and owner reference."""
    metadata = raw["metadata"]
    owner = owner_reference(scaleset)
    finalizers = [f for f in metadata.get("finalizers") or () if f != FINALIZER]
    owners = [o for o in metadata.get("ownerReferences") or () if o["uid"] != owner["uid"]]
    if any(o.get("controller") for o in owners):  # an object has one controller at most
        owner["controller"] = False
    labels = {**(metadata.get("labels") or {}), **owner_label(scaleset)}
    return [
        {"op": "add", "path": "/metadata/finalizers", "value": [*finalizers, FINALIZER]},
        {"op": "add", "path": "/metadata/ownerReferences", "value": [*owners, owner]},
        {"op": "add", "path": "/metadata/labels", "value": labels},
    ]


def release_patch(raw: Raw) -> list[dict[str, Any]]:
    """A JSON patch that takes our finalizer off."""
    finalizers = [f for f in raw["metadata"].get("finalizers") or () if f != FINALIZER]
    return [{"op": "add", "path": "/metadata/finalizers", "value": finalizers}]


def clear_approvals_patch() -> list[dict[str, Any]]:
    """A JSON patch that empties spec.approvedInstances."""
    return [{"op": "add", "path": "/spec/approvedInstances", "value": []}]


def read_status(status: Raw | None) -> UpgradeStatus | None:
    """RollingUpgrade.status; None before the first write."""
    running = (status or {}).get("runningStatus")
    if not status or not running:
        return None
    counts = status.get("progress") or {}
    back = status.get("rollbackInfo") or {}
    error = status.get("error") or {}
    waiting = next((c.reason for c in read_conditions(status) if c.type == "Progressing"), "")
    return UpgradeStatus(
        code=Code(running["code"]),
        target=_read_target(status),
        start=times.parse(running["startTime"]),
        scope=ordinals.parse(status.get("scope") or ""),
        skipped=ordinals.parse(status.get("skipped") or ""),
        last_action=running.get("lastAction") or "",
        last_action_time=times.read(running.get("lastActionTime")),
        completed=times.read(running.get("completedTime")),
        progress=Progress(
            successful=counts.get("successfulInstanceCount") or 0,
            failed=counts.get("failedInstanceCount") or 0,
            in_progress=counts.get("inProgressInstanceCount") or 0,
            pending=counts.get("pendingInstanceCount") or 0,
        ),
        rolled_back=back.get("successfullyRolledbackInstanceCount") or 0,
        roll_back_failed=back.get("failedRolledbackInstanceCount") or 0,
        roll_back_error=(back.get("rollbackError") or {}).get("message") or "",
        error_code=error.get("code") or "",
        error=error.get("message") or "",
        waiting="" if waiting in _CODES else waiting,
        waiting_message=status.get("waitingFor") or "",
        batches=tuple(_read_batch(b) for b in status.get("batches") or ()),
        extensions=tuple(_read_extension(e) for e in status.get("targetExtensions") or () if e.get("outcome")),
    )


def write_status(status: UpgradeStatus, raw: Raw, now: datetime) -> dict[str, Any]:
    """The whole of RollingUpgrade.status. ``raw`` is the upgrade as it is stored."""
    generation = raw["metadata"].get("generation") or 0
    progress = status.progress
    running = {
        "code": status.code.value,
        "startTime": times.render(status.start),
        "lastAction": status.last_action,
        "lastActionTime": write_time(status.last_action_time),
        "completedTime": write_time(status.completed),
    }
    written: dict[str, Any] = {
        "observedGeneration": generation,
        "runningStatus": _given(running),
        "startedBy": raw["spec"].get("startedBy") or StartedBy.USER.value,
        "progress": {
            "successfulInstanceCount": progress.successful,
            "failedInstanceCount": progress.failed,
            "inProgressInstanceCount": progress.in_progress,
            "pendingInstanceCount": progress.pending,
        },
    }
    back: dict[str, Any] = {
        "successfullyRolledbackInstanceCount": status.rolled_back,
        "failedRolledbackInstanceCount": status.roll_back_failed,
    }
    if status.roll_back_error:
        back["rollbackError"] = {"code": "RollbackFailed", "message": clipped(status.roll_back_error)}
    target = status.target
    optional = {
        "target": clipped(_target_words(raw["spec"]["type"], status), LONGEST_WORD),
        "targetModel": target.model,
        "targetImageReference": _write_image(target),
        "targetExtensions": [
            *({"name": name, "to": version} for name, version in target.extensions),
            *(_write_extension(e) for e in status.extensions),
        ],
        "scope": ordinals.render(status.scope),
        "skipped": ordinals.render(status.skipped),
        "waitingFor": clipped(status.waiting_message),
        "rollbackInfo": back,
        "error": _write_error(status.error_code, status.error),
        "batches": [_write_batch(b) for b in status.batches],
        "conditions": write_conditions(_conditions(status), raw.get("status") or {}, now, generation),
    }
    return {**written, **_given(optional)}


def _target_words(type_: str, status: UpgradeStatus) -> str:
    """Where it goes, short enough for a column of ``kubectl get``, which can show one field only."""
    if type_ == UpgradeType.EXTENSION.value:
        return ",".join(f"{e.name}={e.to}" for e in status.extensions)
    return status.target.image_version if type_ == UpgradeType.OS_IMAGE.value else status.target.model


def _read_target(status: Raw) -> Target:
    reference = status.get("targetImageReference")
    return Target(
        model=status.get("targetModel") or "",
        image_version=(reference or {}).get("version") or "",
        image=references.image_key(reference) if reference else "",
        extensions=tuple((e["name"], e["to"]) for e in status.get("targetExtensions") or () if not e.get("outcome")),
    )


def _write_image(target: Target) -> dict[str, str] | None:
    known = target.image or target.image_version
    return references.image_reference(target.image, target.image_version) if known else None


def _read_extension(raw: Raw) -> ExtensionTarget:
    """An extension of an Extension upgrade: it has an outcome. What other upgrades install has none."""
    error = raw.get("error") or {}
    return ExtensionTarget(
        name=raw["name"],
        to=raw["to"],
        former=raw.get("from") or "",
        outcome=TargetOutcome(raw["outcome"]),
        successful=raw.get("successfulInstanceCount") or 0,
        failed=raw.get("failedInstanceCount") or 0,
        error_code=error.get("code") or "",
        error=error.get("message") or "",
    )


def _write_extension(target: ExtensionTarget) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": target.name,
        "to": target.to,
        "outcome": target.outcome.value,
        "successfulInstanceCount": target.successful,
        "failedInstanceCount": target.failed,
    }
    return {**written, **_given({"from": target.former, "error": _write_error(target.error_code, target.error)})}


def _write_error(code: str, message: str) -> dict[str, Any]:
    return _given({"code": clipped(code, LONGEST_WORD), "message": clipped(message)})


def _read_batch(raw: Raw) -> Batch:
    return Batch(
        machines=tuple(raw.get("machines") or ()),
        number=raw["number"],
        zone=raw.get("zone") or "",
        update_domain=raw.get("updateDomain") or 0,
        start=times.parse(raw["startTime"]),
        members=read_record(raw.get("from") or ()),
        extension=raw.get("extension") or "",
        unhealthy_before=ordinals.parse(raw.get("unhealthyBefore") or ""),
        failed=ordinals.parse(raw.get("failed") or ""),
        not_created=ordinals.parse(raw.get("notCreated") or ""),
        rolled_back=ordinals.parse(raw.get("rolledBack") or ""),
        roll_back_time=times.read(raw.get("rollBackTime")),
        roll_back_failed=ordinals.parse(raw.get("rollBackFailed") or ""),
        completed=times.read(raw.get("completedTime")),
        outcome=BatchOutcome(raw["outcome"]),
    )


def _write_batch(batch: Batch) -> dict[str, Any]:
    written: dict[str, Any] = {
        "number": batch.number,
        "zone": batch.zone,
        "updateDomain": batch.update_domain,
        "startTime": times.render(batch.start),
        "ordinals": ordinals.render(batch.members),
        "from": write_record(batch.members),
        "failed": ordinals.render(batch.failed),
        "rolledBack": ordinals.render(batch.rolled_back),
        "outcome": batch.outcome.value,
    }
    optional = {
        "extension": batch.extension,
        "machines": list(batch.machines),
        "completedTime": write_time(batch.completed),
        "notCreated": ordinals.render(batch.not_created),
        "unhealthyBefore": ordinals.render(batch.unhealthy_before),
        "rollBackTime": write_time(batch.roll_back_time),
        "rollBackFailed": ordinals.render(batch.roll_back_failed),
    }
    return {**written, **_given(optional)}


def _conditions(status: UpgradeStatus) -> Iterator[Condition]:
    """What kstatus and ``kubectl wait`` look at. Cancelled counts as Failed, so that a waiting script ends."""
    code = status.code
    done = code is Code.COMPLETED
    stopped = code.final and not done
    reason = status.error_code or code.value
    words = status.error
    yield Condition("Complete", done, reason, words)
    yield Condition("Failed", stopped, reason, words)
    yield Condition("Ready", done, reason, words)
    yield Condition("Stalled", stopped, reason, words)
    work = status.waiting or code.value
    yield Condition("Reconciling", not code.final, work, status.waiting_message)
    yield Condition("Progressing", not code.final, work, status.waiting_message)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that say something."""
    return {key: value for key, value in fields.items() if value}
