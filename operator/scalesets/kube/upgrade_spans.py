"""The trace of an upgrade that ended, made from its recorded status (docs/reference/traces.md).

The status is the audit: what happened stands there, with times, whoever led while it happened. So a trace needs nothing
that an operator remembers, and identifiers that are derived from the object's UID: who sends it again sends the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from scalesets.kube import times
from scalesets.kube.metrics import FINAL
from scalesets.kube.names import Raw

Value = str | int | Sequence[str]
Attributes = Mapping[str, Value]

FAULTED, SUCCEEDED = "Faulted", "Succeeded"
KINDS = {"scaleSet": "ScaleSet", "availabilitySet": "AvailabilitySet", "virtualMachine": "VirtualMachine"}
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span of a trace; empty attributes are left out. ``parent`` is None of the first only."""

    name: str
    id: int
    parent: int | None = None
    start: datetime
    end: datetime
    attributes: Attributes = field(default_factory=dict)
    error: str = ""  # what went wrong, in words; empty: nothing


def ended(upgrade: Raw) -> bool:
    """Whether the upgrade is over, so that its trace can be made."""
    return _running(upgrade).get("code") in FINAL


def end_of(upgrade: Raw) -> datetime | None:
    """When it ended, if it did and the status says when."""
    return times.read(_running(upgrade).get("completedTime")) if ended(upgrade) else None


def trace_id(uid: str) -> int:
    """The trace's identifier: the UID without its hyphens, so that people find one by the other."""
    try:
        return UUID(uid).int
    except ValueError:
        return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:16])


def spans(upgrade: Raw) -> list[Span]:
    """The spans of an upgrade that is over, each after its parent; none while it runs."""
    if not ended(upgrade):
        return []
    start = times.read(_running(upgrade).get("startTime")) or times.parse(upgrade["metadata"]["creationTimestamp"])
    root = Span(
        name=f"upgrade {upgrade['spec']['type']}",
        id=_span_id(upgrade, "upgrade"),
        start=start,
        end=max(start, end_of(upgrade) or start),
        attributes=_clean(_of_upgrade(upgrade)),
        error=_why(upgrade),
    )
    batches = _status(upgrade).get("batches") or ()
    return [root, *(span for place, batch in enumerate(batches) for span in _batch(upgrade, place, batch, root))]


def nanoseconds(moment: datetime) -> int:
    """Since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def _batch(upgrade: Raw, place: int, batch: Raw, root: Span) -> Iterator[Span]:
    """A batch, and the putting back in it. One that was never judged ends with the upgrade."""
    start = times.parse(batch["startTime"])
    end = max(start, times.read(batch.get("completedTime")) or root.end)
    outcome = batch.get("outcome") or ""
    whole = Span(
        name="batch",
        id=_span_id(upgrade, f"batch {place}"),
        parent=root.id,
        start=start,
        end=end,
        attributes=_clean(_of_whom(upgrade) | _of_batch(upgrade, batch)),
        error=_failures(batch) if outcome not in (SUCCEEDED, "Running") else "",
    )
    yield whole
    back = times.read(batch.get("rollBackTime"))
    if back is None:
        return
    worse = batch.get("rollBackFailed") or ""
    yield Span(
        name="roll back",
        id=_span_id(upgrade, f"batch {place} roll back"),
        parent=whole.id,
        start=back,
        end=max(back, end),
        attributes=_clean(
            _of_whom(upgrade)
            | {
                "scaleset.batch.number": batch["number"],
                "scaleset.ordinals": batch.get("rolledBack"),
                "scaleset.ordinals.roll_back_failed": worse,
            }
        ),
        error=f"put back and still not healthy: {worse}" if worse else "",
    )


def _of_whom(upgrade: Raw) -> dict[str, Any]:
    """What each span of the trace carries, so that it can be found by itself."""
    metadata, spec = upgrade["metadata"], upgrade["spec"]
    target = next((each for each in KINDS if spec.get(each)), "")
    return {
        "k8s.namespace.name": metadata.get("namespace"),
        "scaleset.kind": KINDS.get(target),
        "scaleset.name": spec.get(target),
        "scaleset.upgrade.name": metadata["name"],
        "scaleset.upgrade.type": spec["type"],
    }


def _of_upgrade(upgrade: Raw) -> dict[str, Any]:
    status = _status(upgrade)
    code, progress, back = _running(upgrade)["code"], status.get("progress") or {}, status.get("rollbackInfo") or {}
    error = (status.get("error") or {}).get("code")
    origins = [each for batch in status.get("batches") or () for each in batch.get("from") or ()]
    targets = status.get("targetExtensions") or ()
    return _of_whom(upgrade) | {
        "scaleset.upgrade.uid": upgrade["metadata"]["uid"],
        "scaleset.upgrade.started_by": status.get("startedBy") or upgrade["spec"].get("startedBy"),
        "scaleset.upgrade.outcome": code,
        "scaleset.upgrade.error_code": error,
        "error.type": error or code if code == FAULTED else None,
        "scaleset.upgrade.target": status.get("target"),
        "scaleset.image.name": _image(status),
        "scaleset.image.version.from": _distinct(origin.get("imageVersion") for origin in origins),
        "scaleset.image.version.to": (status.get("targetImageReference") or {}).get("version"),
        "scaleset.model.from": _distinct(origin.get("model") for origin in origins),
        "scaleset.model.to": status.get("targetModel"),
        "scaleset.extensions": _distinct(each["name"] for each in targets),
        "scaleset.extensions.from": [f"{each['name']}={each['from']}" for each in targets if each.get("from")],
        "scaleset.extensions.to": [f"{each['name']}={each['to']}" for each in targets],
        "scaleset.extensions.outcome": [f"{e['name']}={e['outcome']}" for e in targets if e.get("outcome")],
        "scaleset.ordinals": status.get("scope"),
        "scaleset.ordinals.skipped": status.get("skipped"),
        "scaleset.batches": len(status.get("batches") or ()),
        "scaleset.instances.successful": progress.get("successfulInstanceCount", 0),
        "scaleset.instances.failed": progress.get("failedInstanceCount", 0),
        "scaleset.instances.pending": progress.get("pendingInstanceCount", 0),
        "scaleset.instances.rolled_back": back.get("successfullyRolledbackInstanceCount", 0),
        "scaleset.instances.roll_back_failed": back.get("failedRolledbackInstanceCount", 0),
    }


def _of_batch(upgrade: Raw, batch: Raw) -> dict[str, Any]:
    origins = batch.get("from") or ()
    name = batch.get("extension")
    before = [each["version"] for o in origins for each in o.get("extensions") or () if name and each["name"] == name]
    after = [each["to"] for each in _status(upgrade).get("targetExtensions") or () if name and each["name"] == name]
    image = _status(upgrade).get("targetImageReference") or {}
    return {
        "scaleset.batch.number": batch["number"],
        "scaleset.batch.outcome": batch.get("outcome"),
        "scaleset.zone": batch.get("zone"),
        "scaleset.update_domain": batch.get("updateDomain", 0),
        "scaleset.ordinals": batch.get("ordinals"),
        "scaleset.machines": batch.get("machines") or (),
        "scaleset.ordinals.failed": batch.get("failed"),
        "scaleset.ordinals.not_created": batch.get("notCreated"),
        "scaleset.ordinals.rolled_back": batch.get("rolledBack"),
        "scaleset.ordinals.unhealthy_before": batch.get("unhealthyBefore"),
        "scaleset.image.version.from": _distinct(origin.get("imageVersion") for origin in origins),
        "scaleset.image.version.to": image.get("version"),
        "scaleset.model.from": _distinct(origin.get("model") for origin in origins),
        "scaleset.model.to": _status(upgrade).get("targetModel"),
        "scaleset.extension.name": name,
        "scaleset.extension.version.from": _distinct(before),
        "scaleset.extension.version.to": _distinct(after),
    }


def _why(upgrade: Raw) -> str:
    """Why it stopped; empty when it is no failure: a user who cancels gets what he asked for."""
    if _running(upgrade)["code"] != FAULTED:
        return ""
    error = _status(upgrade).get("error") or {}
    return ": ".join(filter(None, (error.get("code"), error.get("message")))) or FAULTED


def _failures(batch: Raw) -> str:
    parts = [
        f"{words}: {batch[field]}"
        for field, words in (("failed", "failed"), ("rolledBack", "put back"), ("rollBackFailed", "still not healthy"))
        if batch.get(field)
    ]
    return "; ".join(parts) or str(batch.get("outcome"))


def _image(status: Raw) -> str:
    """The image's name, as people say it."""
    image = status.get("targetImageReference") or {}
    return image.get("galleryImage") or ":".join(image[f] for f in ("publisher", "offer", "sku") if image.get(f))


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))


def _clean(attributes: Mapping[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value not in (None, "", [], ())}


def _span_id(upgrade: Raw, what: str) -> int:
    digest = hashlib.sha256(f"{upgrade['metadata']['uid']} {what}".encode()).digest()
    return int.from_bytes(digest[:8]) or 1


def _status(upgrade: Raw) -> Mapping[str, Any]:
    return upgrade.get("status") or {}


def _running(upgrade: Raw) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _status(upgrade).get("runningStatus") or {}
    return found
