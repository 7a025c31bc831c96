"""Whose turn it is among the machines that stand by themselves (E5b, I10).

The machines of one subscription in one location, outside availability sets, are upgraded as if they were one set: at
most 20 % of them at once, and only in one zone at a time. A machine that must wait says why and is asked again when
there is room. The words name nobody: they would change with every machine that comes and goes, for all who wait.
"""

from __future__ import annotations

from collections.abc import Mapping

PERCENT = 20


def turn(machines: int, at_work: Mapping[str, int], zone: str) -> str:
    """Why a machine of this zone may not begin now, in words; empty when it may. ``at_work``: how many of the others
    have a batch at work, by zone; machines without a zone count as those of one.
    """
    busy = [where for where in sorted(at_work) if at_work[where] > 0]
    if not busy:
        return ""
    if sum(at_work.values()) >= most_at_once(machines):
        return f"at most {PERCENT}% of the machines of the subscription are upgraded at once, and others are at work"
    elsewhere = next((where for where in busy if where != zone), None)
    if elsewhere is None:
        return ""
    where = f"in zone {elsewhere}" if elsewhere else "without a zone"
    return f"one zone at a time, and machines {where} are at work"


def most_at_once(machines: int) -> int:
    """How many of so many machines may be upgraded at once: at least one."""
    return max(1, PERCENT * machines // 100)
