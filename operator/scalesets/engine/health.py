"""The verdict on one member of a batch: waiting, healthy or failed (O3, O12; docs/rules.md, "Health").

The clock of healthTimeout starts when the new containers have started or at the first definite start failure, at the
latest provisioningTimeout after the instance was touched. The first Ready succeeds; nobody is judged failed before
the timeout.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from scalesets.engine.view import Instance, Model, Release, RollingPolicy

UNPROBED_SETTLE_TIME = timedelta(seconds=10)
"""An ``os`` without a readiness probe must be Ready for so long without a restart."""


class Verdict(Enum):
    """WAITING turns into one of the others at ``Judgement.at`` at the latest."""

    WAITING = "Waiting"
    HEALTHY = "Healthy"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict; while waiting, ``at`` is when time alone changes it. ``stuck`` marks a pod that doesn't end."""

    verdict: Verdict
    at: datetime | None = None
    stuck: bool = False


def judge(
    instance: Instance | None,
    wanted: Release,
    *,
    since: datetime,
    policy: RollingPolicy,
    model: Model | None,
    now: datetime,
) -> Judgement:
    """Judge an instance that was touched at ``since`` and is wanted at ``wanted``."""
    timeout = max(policy.health_timeout, model.probe_delay if model else timedelta(0))
    if instance is not None and instance.deleting_since is not None:
        gone_by = max(instance.deleting_since, since) + policy.provisioning_timeout + instance.grace
        return Judgement(Verdict.FAILED, stuck=True) if now >= gone_by else Judgement(Verdict.WAITING, gone_by)
    upgraded = instance is not None and instance.release == wanted and not instance.lost
    if instance is not None and upgraded:
        settled = _settled_at(instance, probed=model is None or model.probed)
        if settled is not None and settled <= now:
            return Judgement(Verdict.HEALTHY)
    else:
        settled = None
    deadline = _clock_start(instance if upgraded else None, since + policy.provisioning_timeout) + timeout
    if now >= deadline and settled is None:
        return Judgement(Verdict.FAILED)
    return Judgement(Verdict.WAITING, deadline if settled is None else settled)


def _settled_at(instance: Instance, *, probed: bool) -> datetime | None:
    """When the instance counts as recovered, or None while nothing promises that."""
    if probed:
        if instance.first_ready is not None:
            return instance.first_ready
        return instance.ready_since or instance.created if instance.ready else None
    if not instance.ready:
        return None
    since = [t for t in (instance.ready_since, instance.started_at) if t is not None]
    return max(since, default=instance.created) + UNPROBED_SETTLE_TIME


def _clock_start(instance: Instance | None, latest: datetime) -> datetime:
    if instance is None:
        return latest
    seen = [t for t in (instance.started_at, instance.failed_to_start) if t is not None]
    return min([*seen, latest])
