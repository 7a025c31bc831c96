"""A pod's state in one word, and why: what its conditions and container statuses say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scalesets.cli.fields import Obj, at, condition, number, text, when

ON_THEIR_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
# Ready=False is set when the kubelet first sees the pod; a later change means that readiness was there and got lost.
FIRST_LOOK = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class PodState:
    """``word`` is Ready, Starting, NotReady, Terminating, Missing, Unschedulable, or the reason that Kubernetes gives.

    ``sick`` means that it doesn't become Ready by waiting a little: it failed to start, or was Ready and no longer is.
    """

    word: str
    detail: str = ""
    sick: bool = False
    since: datetime | None = None


MISSING = PodState("Missing", "no pod", sick=True)


def describe(pod: Obj | None) -> PodState:
    """The state of a pod, or of an instance without one."""
    if pod is None:
        return MISSING
    created = when(pod, "metadata.creationTimestamp")
    if at(pod, "metadata.deletionTimestamp"):
        return PodState("Terminating", "shutting down", since=when(pod, "metadata.deletionTimestamp"))
    phase = text(pod, "status.phase")
    if phase in ("Failed", "Succeeded"):
        return PodState(text(pod, "status.reason", phase), text(pod, "status.message"), sick=True, since=created)
    ready = condition(pod, "Ready")
    if ready is not None and ready.true:
        return PodState("Ready", since=ready.since)
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and not scheduled.true and scheduled.reason == "Unschedulable":
        return PodState("Unschedulable", scheduled.message, sick=True, since=scheduled.since)
    for container, init in _containers(pod):
        failure = _start_failure(container, init=init)
        if failure is not None:
            word, detail = failure
            return PodState(word, detail, sick=True, since=created)
    waits = _waits_for(pod)
    first_look = when(pod, "status.startTime") or created
    if ready is not None and ready.since and first_look and ready.since - first_look > FIRST_LOOK:
        return PodState("NotReady", waits, sick=True, since=ready.since)
    return PodState("Starting", waits, since=created)


def restarts(pod: Obj) -> int:
    """How often its containers have restarted."""
    return sum(number(container, "restartCount") for container, _ in _containers(pod))


def _containers(pod: Obj) -> Iterator[tuple[dict[str, Any], bool]]:
    for container in at(pod, "status.initContainerStatuses", []):
        yield container, True
    for container in at(pod, "status.containerStatuses", []):
        yield container, False


def _start_failure(container: Obj, *, init: bool) -> tuple[str, str] | None:
    name = text(container, "name")
    reason = text(container, "state.waiting.reason")
    if reason not in ON_THEIR_WAY:
        message = text(container, "state.waiting.message")
        return reason, f"{reason} ({name})" + (f": {message}" if message else "")
    code = at(container, "state.terminated.exitCode")
    if code is not None and not (init and code == 0):
        reason = text(container, "state.terminated.reason", "Error")
        return reason, f"{reason} ({name}): exit code {code}"
    return None


def _waits_for(pod: Obj) -> str:
    if not at(pod, "spec.nodeName"):
        return "no node yet"
    sidecars = {text(c, "name") for c in at(pod, "spec.initContainers", []) if text(c, "restartPolicy") == "Always"}
    for container, init in _containers(pod):
        name = text(container, "name")
        if init and name not in sidecars:
            if at(container, "state.terminated.exitCode") != 0:
                return f"init container {name} not finished"
        elif not at(container, "started", False):
            return f"{name} not started yet"
    for container, init in _containers(pod):
        name = text(container, "name")
        if (not init or name in sidecars) and not at(container, "ready", False):
            return f"{name} not ready"
    return "containers being made" if not at(pod, "status.containerStatuses") else "not Ready"
