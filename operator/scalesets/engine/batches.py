"""Which instances form the next batch (O8, O9b, O9c; docs/rules.md, "Which instances, in what order").

A batch lies in one cell: one zone and one update domain, or with cross-zone enabled one update domain of all zones.
Cells are taken domain by domain inside a zone, then the next zone; inside a cell lower ordinals first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from scalesets.engine import placement
from scalesets.engine.view import NONE, Ordinals, RollingPolicy, SetView, UpgradeType

PLATFORM_LIMIT = 20
"""OS and extension upgrades never exceed so many percent, whatever the policy says (O8, E2)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A batch to be: its cell (the zone is empty across zones) and its members."""

    zone: str
    update_domain: int
    members: Ordinals


def size(policy: RollingPolicy, kind: UpgradeType, replicas: int) -> int:
    """How many instances a batch may have: the policy's share of the replicas, at least one."""
    percent = policy.max_batch_percent if kind is UpgradeType.MODEL else min(policy.max_batch_percent, PLATFORM_LIMIT)
    return max(1, percent * replicas // 100)


def limit(view: SetView, policy: RollingPolicy, kind: UpgradeType) -> int:
    """How many instances a batch may have now; of an availability set all but one, as its update domains set the
    bounds (E5c).
    """
    if view.is_group:
        return max(1, len(view.names) - 1)
    return size(policy, kind, view.replicas)


def choose(
    view: SetView,
    pending: Collection[int],
    *,
    limit: int,
    cross_zone: bool = False,
    unhealthy_first: Ordinals = NONE,
) -> Choice | None:
    """The next batch out of ``pending``; None when nothing of it may be touched now.

    ``unhealthy_first``: while pending instances are among these, a batch has only those (a first pass over their
    cells).
    """
    zones = view.zones
    open_ones = [o for o in pending if view.open_zone is None or placement.zone(o, zones) == view.open_zone]
    sick = [o for o in open_ones if o in unhealthy_first]
    candidates = sick or open_ones
    if not candidates:
        return None
    count = max(1, len(zones))

    def rank(ordinal: int) -> tuple[int, int]:
        domain = ordinal // count % view.update_domains
        return (0, domain) if cross_zone else (ordinal % count, domain)

    first = min(map(rank, candidates))
    members = sorted(o for o in candidates if rank(o) == first)[:limit]
    return Choice("" if cross_zone else placement.zone(members[0], zones), first[1], frozenset(members))


def plan(
    view: SetView,
    pending: Collection[int],
    *,
    limit: int,
    cross_zone: bool = False,
    unhealthy_first: Ordinals = NONE,
) -> tuple[Choice, ...]:
    """Every batch to come, if all goes well (`kubectl scaleset plan`)."""
    left = set(pending)
    batches: list[Choice] = []
    while batch := choose(view, left, limit=limit, cross_zone=cross_zone, unhealthy_first=unhealthy_first):
        batches.append(batch)
        left -= batch.members
    return tuple(batches)
