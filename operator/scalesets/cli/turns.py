"""Whose turn it is among the machines of a subscription, as the operator counts it (E5b, docs/rules.md, "Machines").

What the user may not read is left out: then the answer is of the own namespace only, and says so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalesets.cli import whose
from scalesets.cli.fields import Obj, name_of, text
from scalesets.cli.snapshot import Snapshot
from scalesets.engine import machines
from scalesets.kube.kinds import MACHINES, UPGRADES
from scalesets.kube.turns import has_running_batch

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Turn:
    """The budget of a machine by itself. ``words`` say why it must wait; empty when it may begin."""

    subscription: str  # empty: the cluster's
    location: str
    machines: int
    limit: int
    busy: tuple[str, ...]  # NAMESPACE/NAME, this machine too
    words: str
    whole: bool = True  # False: only the machines of this namespace were read


async def read(cluster: Cluster, snapshot: Snapshot) -> Turn | None:
    """Look at all machines of the subscription; None for what takes no turns."""
    from scalesets.cli.cluster import ForbiddenError  # brings the Kubernetes client

    named = snapshot.whose
    if named is None or named.owner is not whose.MACHINE or text(snapshot.scale_set, "spec.availabilitySet"):
        return None
    try:
        everybody, upgrades, subscriptions = await asyncio.gather(
            cluster.everywhere(MACHINES), cluster.everywhere(UPGRADES), cluster.subscriptions()
        )
    except ForbiddenError:
        mine, own = await asyncio.gather(cluster.fleets(whose.MACHINE), cluster.upgrades_here())
        return of(snapshot.scale_set, mine, own, {}, whole=False)
    return of(snapshot.scale_set, everybody, upgrades, subscriptions, whole=True)


def of(
    mine: Obj, everybody: Sequence[Obj], upgrades: Sequence[Obj], subscriptions: dict[str, str], *, whole: bool
) -> Turn:
    """The turn of a machine among all."""
    subscription, location = subscriptions.get(_namespace(mine), ""), _location(mine)
    fleet = [
        m
        for m in everybody
        if not text(m, "spec.availabilitySet")
        and subscriptions.get(_namespace(m), "") == subscription
        and _location(m) == location
    ]
    at_work = {(_namespace(u), text(u, "spec.virtualMachine")) for u in upgrades if has_running_batch(u)}
    busy = {_full(m): text(m, "spec.zone") for m in fleet if (_namespace(m), name_of(m)) in at_work}
    waits = _full(mine) not in busy
    return Turn(
        subscription=subscription,
        location=location,
        machines=len(fleet),
        limit=machines.most_at_once(len(fleet)),
        busy=tuple(sorted(busy)),
        words=machines.turn(len(fleet), Counter(busy.values()), text(mine, "spec.zone")) if waits else "",
        whole=whole,
    )


def _namespace(obj: Obj) -> str:
    return text(obj, "metadata.namespace")


def _full(machine: Obj) -> str:
    return f"{_namespace(machine)}/{name_of(machine)}"


def _location(machine: Obj) -> str:
    return text(machine, "spec.location") or text(machine, "status.location")
