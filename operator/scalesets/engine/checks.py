"""The stop rules: each a small check that answers with an error code and words, or with None (O11, O13).

The codes are Azure's. ``whole_set_before`` looks at the whole set before an upgrade and before every batch;
``upgraded_instances`` looks, after every batch, at what the upgrade has touched so far.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalesets.engine.census import Census, exceeds
from scalesets.engine.view import NONE, Batch, Ordinals, RollingPolicy

BEFORE = "MaxUnhealthyInstancePercentExceededBeforeRollingUpgrade"
DURING = "MaxUnhealthyInstancePercentExceededInRollingUpgrade"
UPGRADED = "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"


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
    return frozenset(o for b in batches for o in b.members if o in scope)


def failed(batches: tuple[Batch, ...], scope: Ordinals) -> Ordinals:
    """Every instance in scope that failed, put back or not."""
    return frozenset(o for b in batches for o in b.failed if o in scope)


def upgraded_instances(
    census: Census, policy: RollingPolicy, batches: tuple[Batch, ...], scope: Ordinals
) -> Stop | None:
    """Make sure that of the instances touched so far not too many failed or have turned unhealthy since (O13).

    Instances that were unhealthy before their batch and stayed so are left out on both sides: one sick instance
    doesn't stop its own cure.
    """
    all_touched = touched(batches, scope)
    bad = failed(batches, scope) | (all_touched & census.unhealthy)
    sick_before = frozenset(o for b in batches for o in b.unhealthy_before)
    incurable = bad & sick_before
    bad, base = bad - incurable, all_touched - incurable
    if not exceeds(len(bad), len(base), policy.max_unhealthy_upgraded_percent):
        return None
    return Stop(
        UPGRADED,
        f"{len(bad)} of {len(base)} upgraded instances became unhealthy, more than "
        f"maxUnhealthyUpgradedInstancePercent={policy.max_unhealthy_upgraded_percent} allows",
    )
