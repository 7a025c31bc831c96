"""The verdict on one member of a batch: waiting, healthy or failed (O3, O12; docs/rules.md, "Health").

The clock of healthTimeout starts when the new containers have started or at the first definite start failure, at the
latest provisioningTimeout after the instance was touched. The first Ready succeeds; nobody is judged failed before
the timeout.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from scalesets.engine.view import Instance, Model, ModelExtension, Release, RollingPolicy

UNPROBED_SETTLE_TIME = timedelta(seconds=10)
"""An ``os`` without a readiness probe must be Ready for so long without a restart."""

CATCHING_UP = timedelta(seconds=10)
"""After an outage nodes need so long to tell what became Ready meanwhile."""


class Verdict(Enum):
    """WAITING turns into one of the others at ``Judgement.at`` at the latest."""

    WAITING = "Waiting"
    HEALTHY = "Healthy"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict. ``at`` is when time alone changes it, or since when it has been FAILED."""

    verdict: Verdict
    at: datetime | None = None


HEALTHY = Judgement(Verdict.HEALTHY)


def judge(
    instance: Instance | None,
    wanted: Release,
    *,
    since: datetime,
    policy: RollingPolicy,
    model: Model | None,
    fresh_since: datetime | None,
    now: datetime,
) -> Judgement:
    """Judge an instance that was touched at ``since`` and is wanted at ``wanted``, whose model is ``model``.

    ``fresh_since`` is the view's: nobody is judged failed by what was seen before an outage, or just after it.
    """
    sure = (fresh_since or now) + CATCHING_UP
    if instance is not None and instance.deleting_since is not None:
        gone_by = max(instance.deleting_since, since) + policy.provisioning_timeout + instance.grace
        return _due(max(gone_by, sure), now)
    started = since + policy.provisioning_timeout
    timeout = max(policy.health_timeout, model.probe_delay if model else timedelta(0))
    if instance is None or instance.lost or instance.release != wanted:
        return _due(max(started + timeout, sure), now)
    settled = _settled_at(instance, probed=model is None or model.probed)
    if settled is not None:
        return HEALTHY if settled <= now else Judgement(Verdict.WAITING, settled)
    if instance.started_at is not None:
        started = min(started, instance.started_at)
    if instance.failed_to_start is not None:
        started = min(started, instance.failed_to_start)
    return _due(max(started + timeout, sure), now)


def judge_in_place(
    instance: Instance | None,
    wanted: Release,
    extension: ModelExtension,
    *,
    since: datetime,
    policy: RollingPolicy,
    model: Model | None,
    was_unhealthy: bool,
    fresh_since: datetime | None,
    now: datetime,
) -> Judgement:
    """Judge an instance of which one extension was upgraded in place; never on the readiness of before (E3).

    Its container must be another one than before, started and the pod Ready, without a break for the extension's settle
    time: the kubelet reports a new container started and ready for a moment although its version is bad. An instance
    that ``was_unhealthy`` before is judged by the extension's own container. A pod that was made anew meanwhile is
    judged as any other.
    """
    sidecar = instance.sidecar(extension.name) if instance is not None else None
    in_place = instance is not None and instance.live and instance.release == wanted
    if instance is None or sidecar is None or not in_place or not sidecar.before:
        return judge(instance, wanted, since=since, policy=policy, model=model, fresh_since=fresh_since, now=now)
    timeout = max(policy.health_timeout, extension.probe_delay, model.probe_delay if model else timedelta(0))
    sure = (fresh_since or now) + CATCHING_UP
    started = since + policy.provisioning_timeout
    if sidecar.container_id in ("", sidecar.before):
        if instance.failed_to_start is not None:
            started = min(started, max(instance.failed_to_start, since))
        return _due(max(started + timeout, sure), now)
    if (changed := sidecar.changed_at or sidecar.started_at) is not None:
        started = min(started, max(changed, since))
    if sidecar.started_at is not None:
        settled = sidecar.started_at
        if was_unhealthy:
            well = sidecar.ready
        else:
            well = instance.ready
            settled = max(settled, instance.ready_since or settled)
        if well and sidecar.started:
            settled += extension.settle
            return HEALTHY if settled <= now else Judgement(Verdict.WAITING, settled)
    return _due(max(started + timeout, sure), now)


def _due(deadline: datetime, now: datetime) -> Judgement:
    return Judgement(Verdict.FAILED if deadline <= now else Verdict.WAITING, deadline)


def _settled_at(instance: Instance, *, probed: bool) -> datetime | None:
    """When the instance counts as recovered, or None while nothing promises that."""
    if probed and instance.first_ready is not None:
        return instance.first_ready
    if not instance.ready:
        return None
    if probed:
        return instance.ready_since or instance.created
    since = [t for t in (instance.ready_since, instance.started_at) if t is not None]
    return max(since, default=instance.created) + UNPROBED_SETTLE_TIME
