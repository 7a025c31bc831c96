"""The stop rules: each a small check that answers with an error code and words, or with None (O11, O13).

``whole_set`` looks at all instances before an upgrade and before every batch; ``upgraded_instances`` looks, after every
batch, at what the upgrade has touched so far. The codes are Azure's, but for NOT_CREATED.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scalesets.engine.census import Census, exceeds
from scalesets.engine.view import NONE, Batch, Ordinals, RollingPolicy

BEFORE = "MaxUnhealthyInstancePercentExceededBeforeRollingUpgrade"
DURING = "MaxUnhealthyInstancePercentExceededInRollingUpgrade"
UPGRADED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"
NOT_CREATED = "InstancesNotCreated"
"""Too many failed because their pods could not be made: the API server's or a quota's fault, not the target's."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why an upgrade must not start or go on."""

    code: str
    message: str


def whole_set(census: Census, policy: RollingPolicy, *, code: str, ignored: Ordinals = NONE) -> Stop | None:
    """Make sure that at most the allowed share of the whole set is unhealthy, for whatever reason (O11).

    ``ignored`` are unhealthy instances that don't count: those that a model upgrade is about to replace.
    """
    sick = census.unhealthy - ignored
    if not exceeds(len(sick), len(census.counted), policy.max_unhealthy_percent):
        return None
    return Stop(
        code,
        f"{len(sick)} of {len(census.counted)} instances are unhealthy, more than "
        f"maxUnhealthyInstancePercent={policy.max_unhealthy_percent} allows",
    )


def touched(batches: tuple[Batch, ...], scope: Ordinals) -> Ordinals:
    """Every instance in scope that a batch has touched."""
    return scope & _all(b.members for b in batches)


def failed(batches: tuple[Batch, ...], scope: Ordinals) -> Ordinals:
    """Every instance in scope that failed, put back or not."""
    return scope & _all(b.failed for b in batches)


def upgraded_instances(
    census: Census, policy: RollingPolicy, batches: tuple[Batch, ...], scope: Ordinals, *, excused: Ordinals = NONE
) -> Stop | None:
    """Make sure that of the instances touched so far not too many failed or have turned unhealthy since (O13).

    Instances that were unhealthy before their batch and stayed so are left out on both sides: one sick instance
    doesn't stop its own cure. ``excused`` are instances whose illness has another cause.
    """
    all_touched = touched(batches, scope)
    bad = failed(batches, scope) | (all_touched & census.unhealthy - excused)
    incurable = bad & _all(b.unhealthy_before for b in batches)
    bad, base = bad - incurable, all_touched - incurable
    percent = policy.max_unhealthy_upgraded_percent
    if not exceeds(len(bad), len(base), percent):
        return None
    limit = f"more than maxUnhealthyUpgradedInstancePercent={percent} allows"
    not_created = bad & _all(b.not_created for b in batches)
    if not exceeds(len(bad - not_created), len(base - not_created), percent):
        return Stop(NOT_CREATED, f"the pods of {len(not_created)} of {len(base)} instances were not made, {limit}")
    return Stop(UPGRADED, f"{len(bad)} of {len(base)} upgraded instances became unhealthy, {limit}")


def _all(parts: Iterable[Iterable[int]]) -> Ordinals:
    return frozenset().union(*parts)
