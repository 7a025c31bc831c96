"""Pod -> instance: what the engine needs of a pod, read once per watch event (docs/rules.md, "Health").

This runs for every event of every pod, so it takes a few microseconds: plain dict look-ups, no copies, and strings and
releases that many pods share are one object. What a pod doesn't say itself is carried over from the value before: when
it was first seen Ready, and when a start failure was first seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from sys import intern
from typing import Any

from scalesets.engine.decision import PatchExtension
from scalesets.engine.view import Instance, Release, Sidecar
from scalesets.kube import times
from scalesets.kube.names import (
    ANNOTATION_PENDING,
    ANNOTATION_PROTECT,
    BEFORE_SUFFIX,
    EXTENSION_PREFIX,
    LABEL_IMAGE_VERSION,
    LABEL_MODEL,
    OS,
    Raw,
    instance_ordinal,
    owner_of,
    owner_reference,
)

DEFAULT_GRACE = 30
START_FAILURES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
        "CreateContainerConfigError",
        "CreateContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)
"""Reasons of a waiting container that are a definite start failure: pull, configuration, crash."""
LONGEST_FAILURE = 300

_NOTHING: Mapping[str, Any] = {}
_releases: dict[tuple[Any, ...], Release] = {}
_MOST_RELEASES = 10_000


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod with a set's label and an instance's name. ``owner_uid`` is its controller's, empty for an orphan."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    set_name: str
    owner_uid: str
    instance: Instance
    image: str  # of the container `os`


def parse(raw: Raw, *, previous: Instance | None, now: datetime) -> Pod | None:
    """The pod as an instance; None when its label and name don't make it one.

    ``previous`` is what was known under the name; it counts only when it is of the same UID.
    """
    metadata = raw["metadata"]
    set_name = owner_of(metadata.get("labels") or _NOTHING)
    name = metadata["name"]
    ordinal = instance_ordinal(name, set_name) if set_name else None
    if not set_name or ordinal is None:
        return None
    return Pod(
        namespace=intern(metadata["namespace"]),
        name=name,
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        set_name=intern(set_name),
        owner_uid=_controller(metadata),
        instance=_instance(raw, ordinal, previous, now),
        image=_os_image(raw["spec"]["containers"]),
    )


def label_patch(
    uid: str, labels: Iterable[tuple[str, str]] = (), annotations: Iterable[tuple[str, str | None]] = ()
) -> dict[str, Any]:
    """A merge patch for labels and annotations that another pod of the same name doesn't take (422)."""
    metadata: dict[str, Any] = {"uid": uid}
    if found := dict(labels):
        metadata["labels"] = found
    if noted := dict(annotations):
        metadata["annotations"] = noted
    return {"metadata": metadata}


def extension_patch(action: PatchExtension, image: str) -> dict[str, Any]:
    """A strategic merge patch that brings one extension to another version in place: a single write, so that version,
    image and the container to wait for the end of never differ. Another pod of the same name doesn't take it.
    """
    key = EXTENSION_PREFIX + action.name
    annotations = {key: action.version, key + BEFORE_SUFFIX: action.before or None}
    return {
        "metadata": {"uid": action.uid, "annotations": annotations},
        "spec": {"initContainers": [{"name": action.name, "image": image}]},
    }


def adoption_patch(scaleset: Raw, pod: Pod) -> dict[str, Any]:
    """A merge patch that makes the set the owner of a pod that has none (after ``--cascade=orphan``)."""
    return {"metadata": {"uid": pod.uid, "ownerReferences": [owner_reference(scaleset)]}}


def release_of(metadata: Raw) -> Release:
    """The release that a pod's labels and annotations name. Equal ones are one object."""
    labels = metadata.get("labels") or _NOTHING
    annotations = metadata.get("annotations")
    if annotations:
        start = len(EXTENSION_PREFIX)
        extensions = tuple(
            sorted(
                [
                    (intern(key[start:]), version)
                    for key, version in annotations.items()
                    if key.startswith(EXTENSION_PREFIX) and "." not in key[start:]
                ]
            )
        )
    else:
        extensions = ()
    return shared_release(labels.get(LABEL_IMAGE_VERSION, ""), labels.get(LABEL_MODEL, ""), extensions)


def shared_release(image_version: str, model: str, extensions: tuple[tuple[str, str], ...]) -> Release:
    """The one Release of these values: thousands of instances and records share it."""
    key = (image_version, model, extensions)
    found = _releases.get(key)
    if found is None:
        if len(_releases) >= _MOST_RELEASES:
            _releases.clear()
        found = _releases[key] = Release(image_version, model, extensions)
    return found


def _controller(metadata: Raw) -> str:
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            return intern(owner["uid"])
    return ""


def _os_image(containers: Iterable[Raw]) -> str:
    return next((intern(c.get("image", "")) for c in containers if c["name"] == OS), "")


def _instance(raw: Raw, ordinal: int, previous: Instance | None, now: datetime) -> Instance:
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status") or _NOTHING
    uid = metadata["uid"]
    before = previous if previous is not None and previous.uid == uid else None
    annotations = metadata.get("annotations") or _NOTHING
    release = release_of(metadata)
    deletion = metadata.get("deletionTimestamp")
    grace = metadata.get("deletionGracePeriodSeconds") if deletion else spec.get("terminationGracePeriodSeconds")
    grace = _seconds(DEFAULT_GRACE if grace is None else grace)
    ready, ready_since = _ready(status)
    failed_to_start, failure = (None, "") if ready or deletion else _start_failure(status, before, now)
    phase = status.get("phase")
    return Instance(
        ordinal=ordinal,
        uid=uid,
        release=release,
        created=_time(metadata["creationTimestamp"]),
        ready=ready,
        ready_since=ready_since,
        started_at=_started_at(spec, status, before, now),
        failed_to_start=failed_to_start,
        failure=failure,
        first_ready=_first_ready(ready, ready_since, before, now),
        deleting_since=_deleting_since(deletion, grace, before, now) if deletion else None,
        grace=grace,
        lost=phase == "Failed" or phase == "Succeeded",
        protected=annotations.get(ANNOTATION_PROTECT) == "true",
        pending_os_upgrade=annotations.get(ANNOTATION_PENDING, ""),
        node=intern(spec.get("nodeName") or ""),
        sidecars=_sidecars(release.extensions, annotations, status, before, now) if release.extensions else (),
    )


def _sidecars(
    extensions: Iterable[tuple[str, str]], annotations: Raw, status: Raw, before: Instance | None, now: datetime
) -> tuple[Sidecar, ...]:
    """The containers of the extensions that the annotations name, by name. The same ones are one object."""
    seen = {s["name"]: s for s in status.get("initContainerStatuses") or ()}
    found = []
    for name, _ in extensions:
        container = seen.get(name) or _NOTHING
        running = (container.get("state") or _NOTHING).get("running") or _NOTHING
        since = running.get("startedAt")
        started_at = _time(since) if since else None
        container_id = container.get("containerID") or ""
        patched_from = annotations.get(EXTENSION_PREFIX + name + BEFORE_SUFFIX) or ""
        known = before.sidecar(name) if before is not None else None
        changed_at = None
        if patched_from and container_id and container_id != patched_from:
            same_patch = known is not None and known.before == patched_from
            changed_at = (known.changed_at if known is not None and same_patch else None) or started_at or now
        found.append(
            Sidecar(
                name=name,
                container_id=container_id,
                started=bool(container.get("started")),
                started_at=started_at,
                ready=bool(container.get("ready")),
                before=patched_from,
                changed_at=changed_at,
            )
        )
    sidecars = tuple(found)
    return before.sidecars if before is not None and before.sidecars == sidecars else sidecars


def _deleting_since(deletion: str, grace: timedelta, before: Instance | None, now: datetime) -> datetime:
    if grace < times.LONGEST:
        return times.parse(deletion) - grace
    return (before.deleting_since if before is not None else None) or now


def _ready(status: Raw) -> tuple[bool, datetime | None]:
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            if condition["status"] != "True":
                return False, None
            since = condition.get("lastTransitionTime")
            return True, _time(since) if since else None
    return False, None


def _first_ready(ready: bool, ready_since: datetime | None, before: Instance | None, now: datetime) -> datetime | None:
    if before is not None:
        return before.first_ready or (now if ready else None)
    return ready_since or now if ready else None


def _started_at(spec: Raw, status: Raw, before: Instance | None, now: datetime) -> datetime | None:
    """When the last of the containers and sidecars started, None until all have.

    ``started`` waits for the start-up probe but ``startedAt`` doesn't, so with such a probe the time is that of being
    seen started.
    """
    containers = spec["containers"]
    seen = status.get("containerStatuses") or ()
    if len(seen) < len(containers):
        return None
    latest = _latest_start(seen)
    if latest is None:
        return None
    if init := spec.get("initContainers"):
        sidecars = {c["name"] for c in init if c.get("restartPolicy") == "Always"}
        if sidecars:
            ours = [s for s in status.get("initContainerStatuses") or () if s["name"] in sidecars]
            start = _latest_start(ours) if len(ours) == len(sidecars) else None
            if start is None:
                return None
            latest = max(latest, start)
        containers = [*containers, *init]
    started = _time(latest)
    if before is None:
        return started
    if before.started_at is not None:
        return max(started, before.started_at)
    return max(started, now) if any("startupProbe" in c for c in containers) else started


def _latest_start(statuses: Iterable[Raw]) -> str | None:
    latest = ""
    for container in statuses:
        running = (container.get("state") or _NOTHING).get("running")
        if not running or not container.get("started"):
            return None
        latest = max(latest, running.get("startedAt") or "")  # all in UTC and whole seconds: they compare as text
    return latest or None


def _start_failure(status: Raw, before: Instance | None, now: datetime) -> tuple[datetime | None, str]:
    """When a definite start failure was first seen, and its words; until Ready, for a crash loop runs at times."""
    found = _failing(status.get("initContainerStatuses") or (), is_init=True) or _failing(
        status.get("containerStatuses") or (), is_init=False
    )
    if before is not None and before.failed_to_start is not None:
        return before.failed_to_start, found[0] if found else before.failure
    if found is None:
        return None, ""
    words, finished = found
    return min(_time(finished), now) if finished else now, words


def _failing(statuses: Iterable[Raw], *, is_init: bool) -> tuple[str, str] | None:
    for container in statuses:
        state = container.get("state") or _NOTHING
        if waiting := state.get("waiting"):
            reason = waiting.get("reason", "")
            if reason in START_FAILURES:
                ended = (container.get("lastState") or _NOTHING).get("terminated") or _NOTHING
                finished = ended.get("finishedAt") or "" if reason == "CrashLoopBackOff" else ""
                return _words(container["name"], reason, waiting.get("message", "")), finished
        elif terminated := state.get("terminated"):
            code = terminated.get("exitCode", 0)
            if code or not is_init:
                reason = terminated.get("reason") or "Terminated"
                return _words(container["name"], reason, f"exit code {code}"), terminated.get("finishedAt") or ""
    return None


def _words(container: str, reason: str, message: str) -> str:
    words = f"{reason}: container {container}" + (f": {message}" if message else "")
    return words if len(words) <= LONGEST_FAILURE else words[: LONGEST_FAILURE - 1] + "…"


@lru_cache(maxsize=4096)
def _time(text: str) -> datetime:
    return times.parse(text)


@lru_cache(maxsize=256)
def _seconds(number: int) -> timedelta:
    return times.seconds(number)
