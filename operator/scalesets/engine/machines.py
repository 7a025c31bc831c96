"""Whose turn it is among the machines that stand by themselves (E5b, I10).

The machines of one subscription in one location, outside availability sets, are upgraded as if they were one set: at
most 20 % of them at once, and only in one zone at a time. A machine that must wait says why and is asked again when
another one is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PERCENT = 20


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the subscription in this location. ``busy``: a batch of it runs, or is about to be stored."""

    name: str  # NAMESPACE/NAME
    zone: str = ""  # machines without one count as those of one zone
    busy: bool = False


def turn(fleet: Sequence[Machine], name: str) -> str:
    """Why this machine may not begin now, in words; empty when it may."""
    mine = next((machine for machine in fleet if machine.name == name), None)
    others = [machine for machine in fleet if machine.busy and machine.name != name]
    if mine is None or mine.busy or not others:
        return ""
    limit = most_at_once(len(fleet))
    if len(others) >= limit:
        share = f"{limit} of the {len(fleet)} machines of the subscription may be upgraded at once"
        return f"{share}; {_who(others)} at work now"
    elsewhere = [machine for machine in others if machine.zone != mine.zone]
    if elsewhere:
        zone = elsewhere[0].zone
        where = f"in zone {zone}" if zone else "without a zone"
        return f"one zone at a time: {_who(elsewhere)} at work {where}"
    return ""


def next_in_turn(fleet: Sequence[Machine], waiting: Iterable[str]) -> list[str]:
    """Those of the waiting that may begin now, first come, first served: as many as there are places."""
    busy = [machine for machine in fleet if machine.busy]
    places = most_at_once(len(fleet)) - len(busy)
    zone_of = {machine.name: machine.zone for machine in fleet}
    zone = busy[0].zone if busy else None
    called: list[str] = []
    for name in waiting:
        if len(called) >= places:
            break
        if name in zone_of and zone in (None, zone_of[name]):
            zone = zone_of[name]
            called.append(name)
    return called


def most_at_once(machines: int) -> int:
    """How many of so many machines may be upgraded at once: at least one."""
    return max(1, PERCENT * machines // 100)


def _who(some: Sequence[Machine]) -> str:
    """A few by name; of more their number, which stays true while others take their places."""
    if len(some) > 3:
        return f"{len(some)} are"
    return f"{', '.join(sorted(machine.name for machine in some))} {'is' if len(some) == 1 else 'are'}"
