"""One count of the whole set, taken once per decision: who is there, who is healthy, who counts (O11).

An instance counts from its first Ready, or once it is older than provisioningTimeout + healthTimeout, so that a
scale-out doesn't fault a running upgrade; an instance that is on record counts also when it is lost (docs/rules.md,
"Health").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from scalesets.engine.view import Instance, Ordinals, Release, SetView


@dataclass(frozen=True, slots=True)
class Census:
    """Ordinals by what they are. ``counted`` is the denominator of O11, ``unhealthy`` a part of it.

    ``releases`` is what each instance runs, or comes back as when its pod is missing; new instances are not in it.
    """

    present: Ordinals
    healthy: Ordinals
    counted: Ordinals
    unhealthy: Ordinals
    releases: Mapping[int, Release]


def take(view: SetView, now: datetime) -> Census:
    """Count the instances with an ordinal below ``replicas``."""
    record = view.status.record
    horizon = now - view.policy.provisioning_timeout - view.policy.health_timeout
    present: list[int] = []
    healthy: list[int] = []
    counted: list[int] = []
    releases: dict[int, Release] = {}
    for ordinal in range(view.replicas):
        known = record.get(ordinal)
        instance = view.instances.get(ordinal)
        if instance is None:
            if known is not None:
                releases[ordinal] = known
                counted.append(ordinal)
            continue
        present.append(ordinal)
        releases[ordinal] = instance.release
        if instance.ready and instance.deleting_since is None and not instance.lost:
            healthy.append(ordinal)
            counted.append(ordinal)
        elif known is not None or _is_grown(instance, horizon):
            counted.append(ordinal)
    here = frozenset(healthy)
    return Census(frozenset(present), here, frozenset(counted), frozenset(counted) - here, releases)


def exceeds(part: int, whole: int, percent: int) -> bool:
    """Whether ``part`` is more than ``percent`` of ``whole``; never for an empty whole."""
    return part * 100 > percent * whole


def _is_grown(instance: Instance, horizon: datetime) -> bool:
    return instance.first_ready is not None or instance.created <= horizon
