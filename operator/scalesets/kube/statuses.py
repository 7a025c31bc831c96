"""ScaleSet.status between the API's dict and the engine's value, and what both kinds of status share (docs/api.md).

Reading is the inverse of writing. What instances run is grouped by release, with ordinal ranges; a condition's
lastTransitionTime moves only when its status does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from scalesets.engine import ordinals
from scalesets.engine.view import Code, Condition, LastUpgrade, Release, SetStatus, StartedBy
from scalesets.kube import pods, times
from scalesets.kube.names import LABEL_SET, Raw, is_group, is_machine

LONGEST_TEXT = 4096
LONGEST_WORD = 253
LONGEST_MESSAGE = 32768
MOST_FAULTED = 20
_STATES = {True: "True", False: "False", None: "Unknown"}
_READ_STATES = {"True": True, "False": False}


def read_set(status: Raw | None) -> SetStatus:
    """ScaleSet.status as the engine knows it; an empty one for a set that was never seen."""
    status = status or {}
    return SetStatus(
        observed_generation=status.get("observedGeneration") or 0,
        replicas=status.get("replicas") or 0,
        ready_replicas=status.get("readyReplicas") or 0,
        upgraded_replicas=status.get("upgradedReplicas") or 0,
        latest_model_replicas=status.get("latestModelReplicas") or 0,
        location=status.get("location") or "",
        zones_backed=status.get("zonesBacked"),
        current_model=status.get("currentModel") or "",
        image_version=status.get("imageVersion") or "",
        current_upgrade=status.get("currentUpgrade") or "",
        upgrade_attempts=status.get("upgradeAttempts") or 0,
        faulted_os_versions=tuple(status.get("faultedOSVersions") or ()),
        last_os_upgrade=_read_last(status.get("lastOSUpgrade")),
        last_model_upgrade=_read_last(status.get("lastModelUpgrade")),
        enabled_time=times.read(status.get("automaticOSUpgradeEnabledTime")),
        first_enabled_time=times.read(status.get("automaticOSUpgradeFirstEnabledTime")),
        record=read_record(status.get("instances") or ()),
        extensions=tuple(
            (e["name"], e.get("version") or "", e["automaticUpgrade"]) for e in status.get("extensions") or ()
        ),
        last_extension_upgrades={
            e["name"]: last
            for e in status.get("extensions") or ()
            if (last := _read_last_extension(e.get("lastUpgrade"))) is not None
        },
        machines=tuple((m.get("ordinal", n), m["name"]) for n, m in enumerate(status.get("machines") or ())),
        update_domain=status.get("updateDomain"),
        conditions=read_conditions(status),
    )


def write_set(status: SetStatus, scaleset: Raw, now: datetime) -> dict[str, Any]:
    """The whole of ScaleSet.status. ``scaleset`` is the set as it is stored, for the times of its conditions."""
    before = scaleset.get("status") or {}
    body: dict[str, Any] = {
        "observedGeneration": status.observed_generation,
    }
    counts = {
        "replicas": status.replicas,
        "readyReplicas": status.ready_replicas,
        "upgradedReplicas": status.upgraded_replicas,
        "latestModelReplicas": status.latest_model_replicas,
        "selector": f"{LABEL_SET}={scaleset['metadata']['name']}",
    }
    if is_group(scaleset):
        count = scaleset["spec"].get("platformUpdateDomainCount") or scaleset["spec"].get("updateDomains") or 5
        body.update(replicas=status.replicas, readyReplicas=status.ready_replicas)
        body["machines"] = [{"name": n, "ordinal": o, "updateDomain": o % count} for o, n in status.machines]
    elif not is_machine(scaleset):
        body.update(counts)
    words = {
        "location": status.location,
        "currentModel": status.current_model,
        "imageVersion": status.image_version,
        "currentUpgrade": status.current_upgrade,
        "upgradeAttempts": status.upgrade_attempts,
        "faultedOSVersions": list(status.faulted_os_versions[-MOST_FAULTED:]),
        "lastOSUpgrade": _write_last(status.last_os_upgrade),
        "lastModelUpgrade": _write_last(status.last_model_upgrade),
        "automaticOSUpgradeEnabledTime": write_time(status.enabled_time),
        "automaticOSUpgradeFirstEnabledTime": write_time(status.first_enabled_time),
        "instances": write_record(status.record),
        "extensions": [_write_extension(status, *each) for each in status.extensions],
        "conditions": write_conditions(status.conditions, before, now, status.observed_generation),
    }
    body.update({key: value for key, value in words.items() if value})
    if is_group(scaleset):
        body.pop("currentModel", None)
        body.pop("imageVersion", None)
    if status.update_domain is not None:
        body["updateDomain"] = status.update_domain
    if status.zones_backed is not None:
        body["zonesBacked"] = status.zones_backed
    return body


def read_record(groups: Iterable[Raw]) -> dict[int, Release]:
    """What each instance runs, from groups of ordinals."""
    record: dict[int, Release] = {}
    for group in groups:
        release = pods.shared_release(
            group.get("imageVersion") or "",
            group.get("model") or "",
            tuple(sorted((e["name"], e.get("version") or "") for e in group.get("extensions") or ())),
        )
        record.update(dict.fromkeys(ordinals.parse(group["ordinals"]), release))
    return record


def write_record(record: Mapping[int, Release]) -> list[dict[str, Any]]:
    """Groups of ordinals that run the same, by their lowest ordinal."""
    groups: dict[Release, list[int]] = {}
    for ordinal in sorted(record):
        groups.setdefault(record[ordinal], []).append(ordinal)
    return [{"ordinals": ordinals.render(members), **_write_release(r)} for r, members in groups.items()]


def read_conditions(status: Raw) -> tuple[Condition, ...]:
    """The conditions of any of our kinds."""
    return tuple(
        Condition(
            type=c["type"],
            status=_READ_STATES.get(c["status"]),
            reason=c.get("reason") or "",
            message=c.get("message") or "",
            since=times.read(c.get("lastTransitionTime")),
        )
        for c in status.get("conditions") or ()
    )


def write_conditions(
    conditions: Iterable[Condition], before: Raw, now: datetime, generation: int
) -> list[dict[str, Any]]:
    """Conditions as stored; those whose status is as it was in ``before`` keep their time."""
    old = {c["type"]: c for c in before.get("conditions") or ()}
    written = []
    for condition in conditions:
        state = _STATES[condition.status]
        was = old.get(condition.type)
        if was is not None and was["status"] == state and was.get("lastTransitionTime"):
            since = was["lastTransitionTime"]
        else:
            since = times.render_seconds(condition.since or now)
        written.append(
            {
                "type": condition.type,
                "status": state,
                "reason": condition.reason,
                "message": clipped(condition.message, LONGEST_MESSAGE),
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return written


def with_condition(obj: Raw, condition: Condition, now: datetime) -> dict[str, Any]:
    """The object's status as it is stored, but for this condition."""
    status = obj.get("status") or {}
    others = [c for c in status.get("conditions") or () if c["type"] != condition.type]
    return {**status, "conditions": others + write_conditions([condition], status, now, obj["metadata"]["generation"])}


def write_time(time: datetime | None) -> str | None:
    """A time as stored, or None."""
    return times.render(time) if time is not None else None


def clipped(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, cut where the CRD would refuse it."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def same(one: Raw | None, other: Raw | None) -> bool:
    """Whether two statuses say the same: nothing is to be written."""
    return (one or {}) == (other or {})


def _write_release(release: Release) -> dict[str, Any]:
    written: dict[str, Any] = {"imageVersion": release.image_version, "model": release.model}
    if release.extensions:
        written["extensions"] = [{"name": name, "version": version} for name, version in release.extensions]
    return written


def _read_last(last: Raw | None) -> LastUpgrade | None:
    if not last:
        return None
    delay = last.get("withinLimitDelay")
    return LastUpgrade(
        name=last.get("name") or "",
        version=last.get("version") or "",
        outcome=Code(last["outcome"]),
        completed=times.parse(last["completedTime"]),
        code=last.get("code") or "",
        reason=last.get("reason") or "",
        started_by=StartedBy(last.get("startedBy") or StartedBy.PLATFORM.value),
        model=last.get("model") or "",
        enabled_time=times.read(last.get("enabledTime")),
        retry_delay=times.parse_duration(delay) if delay else None,
    )


def _write_extension(status: SetStatus, name: str, version: str, automatic: str) -> dict[str, Any]:
    """What is installed, and how its last upgrade ended. That of one that isn't there any more is forgotten."""
    written: dict[str, Any] = {"name": name, "version": version, "automaticUpgrade": automatic}
    last = status.last_extension_upgrades.get(name)
    if last is None:
        return written
    retry = last.completed + last.retry_delay if last.retry_delay is not None else None
    return {**written, "lastUpgrade": _how_it_ended(last, {"retryTime": write_time(retry)})}


def _read_last_extension(last: Raw | None) -> LastUpgrade | None:
    if not last:
        return None
    completed, retry = times.parse(last["completedTime"]), times.read(last.get("retryTime"))
    return LastUpgrade(
        name=last.get("name") or "",
        version=last.get("version") or "",
        outcome=Code(last["outcome"]),
        completed=completed,
        code=last.get("code") or "",
        reason=last.get("reason") or "",
        model=last.get("model") or "",
        retry_delay=retry - completed if retry is not None else None,
    )


def _write_last(last: LastUpgrade | None) -> dict[str, Any] | None:
    if last is None:
        return None
    delay = times.render_duration(last.retry_delay) if last.retry_delay is not None else None
    more = {
        "startedBy": last.started_by.value,
        "enabledTime": write_time(last.enabled_time),
        "withinLimitDelay": delay,
    }
    return _how_it_ended(last, more)


def _how_it_ended(last: LastUpgrade, more: dict[str, str | None]) -> dict[str, Any]:
    """What is kept of a last upgrade of any type, with what its type has more; without what is empty."""
    body = {
        "name": last.name,
        "version": last.version,
        "outcome": last.outcome.value,
        "code": clipped(last.code, LONGEST_WORD),
        "reason": clipped(last.reason),
        "completedTime": times.render(last.completed),
        "model": last.model,
        **more,
    }
    return {key: value for key, value in body.items() if value}
