"""The container of an extension while it is upgraded in place: what its instance still waits for (docs/rules.md,
"In-place patches are not judged on stale readiness").
"""

from __future__ import annotations

from datetime import datetime, timedelta

from scalesets.cli.fields import Obj, annotations_of, at, number, text, when
from scalesets.engine import versions
from scalesets.kube.names import BEFORE_SUFFIX, EXTENSION_PREFIX

NOTICED_AFTER = timedelta(seconds=2)
UNPROBED = timedelta(seconds=10)
DEFAULT_PERIOD = 10


def installed(pod: Obj | None) -> dict[str, str]:
    """The version of each extension, by name, as the pod's annotations tell it."""
    return {
        key.removeprefix(EXTENSION_PREFIX): value
        for key, value in sorted(annotations_of(pod).items() if pod else ())
        if key.startswith(EXTENSION_PREFIX) and not key.endswith(BEFORE_SUFFIX)
    }


def is_behind(version: str, target: str) -> bool:
    """Whether an installed version has the target before it; another major never does (E8c)."""
    return versions.parse(version)[:1] == versions.parse(target)[:1] and versions.is_newer(target, version)


def work_left(pod: Obj, name: str, now: datetime) -> str:
    """What a patched extension is waited for; empty once its readiness can be believed."""
    container: Obj = next((c for c in at(pod, "status.initContainerStatuses", []) if text(c, "name") == name), {})
    former = annotations_of(pod).get(f"{EXTENSION_PREFIX}{name}{BEFORE_SUFFIX}", "")
    if text(container, "containerID") in ("", former) and former:
        reason = text(container, "state.waiting.reason")
        return f"{name}: {reason}" if reason else f"{name} not started anew yet"
    if not at(container, "started", False):
        return f"{name} not started yet"
    if not at(container, "ready", False):
        return f"{name} not ready"
    since = when(container, "state.running.startedAt")
    if former and since is not None and now < since + _settle(pod, name):
        return f"{name} watched for a moment"
    return ""


def _settle(pod: Obj, name: str) -> timedelta:
    spec: Obj = next((c for c in at(pod, "spec.initContainers", []) if text(c, "name") == name), {})
    probes = [p for key in ("startupProbe", "readinessProbe") if (p := at(spec, key))]
    if not probes:
        return UNPROBED
    return NOTICED_AFTER + timedelta(seconds=max(number(p, "periodSeconds", DEFAULT_PERIOD) for p in probes))
