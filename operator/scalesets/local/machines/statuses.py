"""What a simulated pod's status says of its containers, written and, after a restart of the machines, read back."""

from __future__ import annotations

import calendar
import time
from functools import lru_cache
from typing import Any

from scalesets.local.machines.containers import CONFIG_ERROR, CREATING, Container, Ended, State

JsonObject = dict[str, Any]


def container_statuses(status: JsonObject) -> dict[str, JsonObject]:
    """Return all container statuses of a pod's status by name."""
    keys = ("initContainerStatuses", "containerStatuses")
    return {each["name"]: each for key in keys for each in status.get(key) or ()}


def restore(container: Container, status: JsonObject, *, now: float) -> None:
    """Take a container for what its status says."""
    container.image = status["image"]
    container.restarts = status["restartCount"]
    container.container_id = status.get("containerID") or ""
    container.started = bool(status.get("started"))
    container.ready = bool(status["ready"])
    container.ended = _ended(status)
    state = status.get("state") or {}
    if "running" in state:
        container.state, container.reason = State.RUNNING, ""
        container.started_at = parse_time(state["running"].get("startedAt")) or now
    elif "terminated" in state:
        container.state, container.reason = State.TERMINATED, ""
    else:
        waiting = state.get("waiting") or {}
        container.reason, container.message = waiting.get("reason") or CREATING, waiting.get("message") or ""


def container_status(container: Container) -> JsonObject:
    """Return what the pod's status says of a container."""
    state: JsonObject
    if container.state is State.RUNNING:
        state = {"running": {"startedAt": time_text(container.started_at)}}
    elif container.state is State.TERMINATED and container.ended is not None:
        state = {"terminated": _terminated(container.ended)}
    else:
        state = {"waiting": {"reason": container.reason, **_message(container)}}
    status: JsonObject = {
        "name": container.name,
        "image": container.image,
        "imageID": _image_id(container.image) if container.container_id else "",
        "ready": container.ready,
        "started": container.started,
        "restartCount": container.restarts,
        "state": state,
    }
    if container.container_id:
        status["containerID"] = container.container_id
    if container.ended is not None and container.state is not State.TERMINATED:
        status["lastState"] = {"terminated": _terminated(container.ended)}
    return status


def _message(container: Container) -> JsonObject:
    if container.reason == "ImagePullBackOff":
        return {"message": f'Back-off pulling image "{container.image}": ErrImagePull: not found'}
    if container.reason == CONFIG_ERROR:
        return {"message": container.message}
    if container.reason == "CrashLoopBackOff":
        return {"message": f"back-off restarting failed container {container.name}"}
    return {}


def _terminated(ended: Ended) -> JsonObject:
    return {
        "exitCode": ended.exit_code,
        "reason": "Completed" if ended.exit_code == 0 else "Error",
        "startedAt": time_text(ended.started_at),
        "finishedAt": time_text(ended.finished_at),
        "containerID": ended.container_id,
    }


def _ended(known: JsonObject) -> Ended | None:
    terminated = (known.get("state") or {}).get("terminated") or (known.get("lastState") or {}).get("terminated")
    if not terminated:
        return None
    return Ended(
        terminated.get("containerID") or "",
        terminated["exitCode"],
        parse_time(terminated.get("startedAt")) or 0.0,
        parse_time(terminated.get("finishedAt")) or 0.0,
    )


def condition(kind: str, holds: bool, since: str, **why: str) -> JsonObject:
    """Return a condition; `why` is the reason and message that it has besides."""
    written: JsonObject = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": since}
    written["reason"], written["message"] = why.get("reason"), why.get("message")  # null takes a former one away
    return written


@lru_cache(maxsize=4096)
def _image_id(image: str) -> str:
    """Return a digest that does not depend on the tag: a new version may well be the same bytes."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@sha256:{'0' * 64}"


def time_text(seconds: float) -> str:
    """Return a time as the API writes it."""
    return _format(int(seconds))


@lru_cache(maxsize=1024)
def _format(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def parse_time(text: str | None) -> float | None:
    """Read a time as the API writes it."""
    if not text:
        return None
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
