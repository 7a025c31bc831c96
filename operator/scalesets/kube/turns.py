"""Whose turn it is among the machines of a subscription (E5b): the budget over all of them, kept between decisions.

A machine that was told to begin has its place reserved from that very moment, before anything is stored, so that two
workers can't both take the last one. The place is given back when its next decisions show no upgrade at work. All of
this may be lost: a running batch is read from the stored RollingUpgrade.

When a place is given back, those who wait are woken. Of many only those who may begin now: each that is woken in vain
costs a decision, so that a large subscription would pay for the square of its machines. One that was woken and doesn't
begin, for it has reasons of its own, lets the next one have the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scalesets.engine import machines
from scalesets.engine.decision import CreateUpgrade, Decision, WriteUpgradeStatus
from scalesets.engine.machines import Machine
from scalesets.engine.view import BatchOutcome, SetView
from scalesets.kube.names import Raw, plain_name
from scalesets.kube.seen import Key

FEW = 20
"""So many that wait are all woken: what they say of who is at work stays fresh."""

Fleet = Callable[[Key, str], Sequence[Machine]]
"""All machines that share a budget with one in a location; empty when it shares none."""


class Turns:
    """The places that are taken, and who waits for one. ``wake`` is told of those who may begin."""

    def __init__(self, wake: Callable[[Key], None], fleet: Fleet) -> None:
        self._wake = wake
        self._fleet = fleet
        self._reserved: set[str] = set()  # UIDs of machines
        self._waiting: dict[Key, str] = {}  # with their locations, in the order in which they came
        self._called: set[Key] = set()

    def holds(self, uid: str) -> bool:
        """Whether the machine has a place that isn't stored yet."""
        return uid in self._reserved

    def ask(self, key: Key, location: str) -> str:
        """Why the machine must wait, in words; empty when it may begin."""
        words = machines.turn(self._fleet(key, location), _name(key))
        if words:
            self._waiting.setdefault(key, location)
        else:
            self._waiting.pop(key, None)
        return words

    def decided(self, key: Key, view: SetView, decision: Decision) -> None:
        """Take or give back the machine's place, in the same breath as the decision."""
        called = key in self._called
        self._called.discard(key)
        if begins(decision) or any(u.status and u.status.running_batch and not u.finished for u in view.upgrades):
            self._reserved.add(view.uid)  # one that a former process began is given back like any other
        elif view.uid in self._reserved and not any(not u.finished for u in view.upgrades):
            self.free(key, view.uid)
        elif called and key not in self._waiting:
            self._call()

    def free(self, key: Key, uid: str) -> None:
        """The machine is done, or gone."""
        self._reserved.discard(uid)
        self._called.discard(key)
        self._waiting.pop(key, None)
        self._call()

    def _call(self) -> None:
        if len(self._waiting) <= FEW:
            called = list(self._waiting)
        else:
            called = self._next()
        for key in called:
            del self._waiting[key]
            self._called.add(key)
            self._wake(key)

    def _next(self) -> list[Key]:
        """Those who may begin now, of each budget that anyone waits for."""
        left = dict(self._waiting)
        expected = {_name(key) for key in self._called}  # each takes its place, or lets the next one have it
        called: list[Key] = []
        while left:
            first, location = next(iter(left.items()))
            fleet = [replace(m, busy=True) if m.name in expected else m for m in self._fleet(first, location)]
            sharing = {machine.name for machine in fleet}
            mates = {_name(key): key for key in left if _name(key) in sharing} or {_name(first): first}
            called += [mates[name] for name in machines.next_in_turn(fleet, mates)] if fleet else [first]
            for key in mates.values():
                del left[key]
        return called


def begins(decision: Decision) -> bool:
    """Whether the machine takes a place by this decision, or has one already."""
    return any(
        isinstance(w, CreateUpgrade) or (isinstance(w, WriteUpgradeStatus) and w.status.running_batch is not None)
        for w in decision.writes
    )


def has_running_batch(upgrade: Raw) -> bool:
    """Whether the RollingUpgrade, as it is stored, has a batch at work."""
    batches: list[Mapping[str, Any]] = (upgrade.get("status") or {}).get("batches") or []
    return bool(batches) and batches[-1].get("outcome") == BatchOutcome.RUNNING.value


def _name(key: Key) -> str:
    return f"{key[0]}/{plain_name(key[1])}"
