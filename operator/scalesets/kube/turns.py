"""Whose turn it is among the machines of a subscription (E5b): the budget over all of them, kept between decisions.

A machine that was told to begin has its place reserved from that very moment, before anything is stored, so that two
workers can't both take the last one. The place is given back when its next decisions show no upgrade at work. All of
this may be lost: a running batch is read from the stored RollingUpgrade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scalesets.engine import machines
from scalesets.engine.decision import CreateUpgrade, Decision, WriteUpgradeStatus
from scalesets.engine.machines import Machine
from scalesets.engine.view import BatchOutcome, SetView
from scalesets.kube.names import Raw
from scalesets.kube.seen import Key


class Turns:
    """The places that are taken, and who waits for one. ``wake`` is told of those who wait when one is given back."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._reserved: set[str] = set()  # UIDs of machines
        self._waiting: set[Key] = set()

    def ask(self, key: Key, mine: Raw, fleet: Iterable[tuple[Key, Raw, Iterable[Raw]]]) -> str:
        """Why the machine must wait, in words; empty when it may begin. ``fleet``: all machines of the subscription in
        its location, each with its upgrades.
        """
        known = [
            Machine(
                name=_name(raw),
                zone=next(iter(raw["spec"].get("zones") or ()), ""),
                busy=raw["metadata"]["uid"] in self._reserved or any(has_running_batch(u) for u in upgrades),
            )
            for _, raw, upgrades in fleet
        ]
        words = machines.turn(known, _name(mine))
        if words:
            self._waiting.add(key)
        else:
            self._waiting.discard(key)
        return words

    def decided(self, view: SetView, decision: Decision) -> None:
        """Take or give back the machine's place, in the same breath as the decision."""
        begins = any(
            isinstance(w, CreateUpgrade) or (isinstance(w, WriteUpgradeStatus) and w.status.running_batch is not None)
            for w in decision.writes
        )
        if begins:
            self._reserved.add(view.uid)
        elif view.uid in self._reserved and not any(not u.finished for u in view.upgrades):
            self.free(view.uid)

    def free(self, uid: str) -> None:
        """The machine is done, or gone."""
        self._reserved.discard(uid)
        waiting, self._waiting = self._waiting, set()
        for key in waiting:
            self._wake(key)


def has_running_batch(upgrade: Raw) -> bool:
    """Whether the RollingUpgrade, as it is stored, has a batch at work."""
    batches: list[Mapping[str, Any]] = (upgrade.get("status") or {}).get("batches") or []
    return bool(batches) and batches[-1].get("outcome") == BatchOutcome.RUNNING.value


def _name(raw: Raw) -> str:
    return f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
