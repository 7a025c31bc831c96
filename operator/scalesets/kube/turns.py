"""Whose turn it is among the machines of a subscription (E5b): the budget over all of them, kept between decisions.

A machine that was told to begin has its place reserved from that very moment, before anything is stored, so that two
workers can't both take the last one. The place is given back when its next decisions show no upgrade at work. All of
this may be lost: a running batch is read from the stored RollingUpgrade.

Whoever waits stands in line. A place that gets free is offered to as many as it has room for, and to the next when
one of them doesn't take it; everybody else sleeps on. So thousands of machines cost no more for each of them than a
few do. What is asked and told here is answered from counts that are kept, never by a walk over the machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scalesets.engine import machines
from scalesets.engine.decision import CreateUpgrade, Decision, WriteUpgradeStatus
from scalesets.engine.view import BatchOutcome, SetView
from scalesets.kube.names import Raw
from scalesets.kube.seen import Key

Fleet = tuple[str, str]
"""A subscription and a location."""


@dataclass(slots=True)
class _Machine:
    uid: str
    fleet: Fleet
    zone: str
    reserved: bool = False
    at_work: bool = False


@dataclass(slots=True)
class _Line:
    """The machines of one fleet: how many there are, who is at work, who waits, who was offered a place."""

    machines: set[Key] = field(default_factory=set)
    at_work: Counter[str] = field(default_factory=Counter)  # by zone
    waiting: dict[str, dict[Key, None]] = field(default_factory=dict)  # by zone, in the order in which they came
    called: dict[Key, str] = field(default_factory=dict)

    def drop(self, key: Key, zone: str) -> None:
        """It waits no more."""
        line = self.waiting.get(zone, {})
        line.pop(key, None)
        if not line:
            self.waiting.pop(zone, None)


class Turns:
    """The places that are taken, and who waits for one. ``wake`` is told of those who may have one now."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._machines: dict[Key, _Machine] = {}
        self._lines: dict[Fleet, _Line] = {}
        self._batches: dict[Key, set[str]] = {}  # machine -> its upgrades with a batch at work

    # ------------------------------------------------------------------ what there is

    def joined(self, key: Key, uid: str, fleet: Fleet, zone: str) -> None:
        """The machine is one of the fleet, in this zone; it may have been so before."""
        known = self._machines.get(key)
        if known is not None and (known.uid, known.fleet, known.zone) == (uid, fleet, zone):
            return
        self.left(key)
        reserved = known is not None and known.uid == uid and known.reserved
        self._machines[key] = _Machine(uid, fleet, zone, reserved)
        line = self._lines.setdefault(fleet, _Line())
        line.machines.add(key)
        self._settle(key)
        self._call(line)  # with one more there may be room for one more

    def left(self, key: Key) -> None:
        """It is gone, or in an availability set."""
        machine = self._machines.pop(key, None)
        if machine is None:
            return
        line = self._lines[machine.fleet]
        line.machines.discard(key)
        line.at_work[machine.zone] -= machine.at_work
        line.drop(key, machine.zone)
        line.called.pop(key, None)
        if line.machines:
            self._call(line)
        else:
            del self._lines[machine.fleet]

    def stored(self, key: Key, upgrade: str, *, runs: bool) -> None:
        """An upgrade of the machine, as it is stored, has a batch at work or not."""
        batches = self._batches.setdefault(key, set())
        (batches.add if runs else batches.discard)(upgrade)
        if not batches:
            del self._batches[key]
        self._settle(key)

    # ------------------------------------------------------------------ who may begin

    def ask(self, key: Key) -> str:
        """Why the machine must wait, in words; empty when it may begin. A place that it has taken, but has no batch in
        yet, counts only as long as there is room for it: the fleet may have shrunk.
        """
        machine = self._machines.get(key)
        if machine is None or key in self._batches:
            return ""
        line = self._lines[machine.fleet]
        others = line.at_work - Counter({machine.zone: int(machine.at_work)})
        return machines.turn(len(line.machines), others, machine.zone)

    def decided(self, key: Key, view: SetView, decision: Decision) -> None:
        """Take or give back the machine's place, or stand in line for one, in the same breath as the decision."""
        machine = self._machines.get(key)
        if machine is None:
            return
        line = self._lines[machine.fleet]
        called = line.called.pop(key, None) is not None
        if _begins(decision):
            machine.reserved = True
        elif decision.waits_for_turn or not any(not u.finished for u in view.upgrades):
            machine.reserved = False
        if decision.waits_for_turn:
            line.waiting.setdefault(machine.zone, {}).setdefault(key)
        else:
            line.drop(key, machine.zone)
        self._settle(key)
        if called and not machine.at_work:
            self._call(line)

    def remind(self) -> None:
        """Offer again what places there are: an offer that got lost holds nobody up for good."""
        for line in self._lines.values():
            line.called.clear()
            self._call(line)

    def _settle(self, key: Key) -> None:
        """Count the machine as at work or not; a place that it gives back is offered to others."""
        machine = self._machines.get(key)
        if machine is None:
            return
        works = machine.reserved or key in self._batches
        if works == machine.at_work:
            return
        machine.at_work = works
        line = self._lines[machine.fleet]
        line.at_work[machine.zone] += 1 if works else -1
        if not works:
            self._call(line)

    def _call(self, line: _Line) -> None:
        """Offer the places that are free to those who wait longest, in the zone that is at work if one is."""
        room = machines.most_at_once(len(line.machines)) - line.at_work.total() - len(line.called)
        if room <= 0 or not line.waiting:
            return
        busy = next((zone for zone, number in line.at_work.items() if number), None)
        zone = busy if busy is not None else next(iter(line.called.values()), next(iter(line.waiting)))
        chosen = [key for key, _ in zip(line.waiting.get(zone, {}), range(room), strict=False)]
        for key in chosen:
            line.drop(key, zone)
            line.called[key] = zone
            self._wake(key)


def has_running_batch(upgrade: Raw) -> bool:
    """Whether the RollingUpgrade, as it is stored, has a batch at work."""
    batches: list[Mapping[str, Any]] = (upgrade.get("status") or {}).get("batches") or []
    return bool(batches) and batches[-1].get("outcome") == BatchOutcome.RUNNING.value


def _begins(decision: Decision) -> bool:
    return any(
        isinstance(w, CreateUpgrade) or (isinstance(w, WriteUpgradeStatus) and w.status.running_batch is not None)
        for w in decision.writes
    )
