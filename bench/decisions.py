"""How long one decision of the engine takes, for one set of 10,000 instances in the middle of an upgrade.

The set is brought there by the engine's own decisions, carried out on values, so that statuses, batches and records are
what they would be in a cluster. Measured is what a change of one pod costs: the next decision, with half of the
second batch Ready again.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from scalesets.engine import decision as d
from scalesets.engine.decide import decide
from scalesets.engine.view import (
    Batch,
    Catalogue,
    CatalogueVersion,
    Instance,
    Model,
    OSUpgradePolicy,
    Release,
    SetStatus,
    SetView,
    Upgrade,
    UpgradeMode,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MODEL = Model("m1", "c1", "bench")


def measure(replicas: int, *, rounds: int) -> dict[str, float]:
    """Milliseconds of a decision: in mid-batch (the figure), at rest, and at the end of a batch."""
    fleet = Fleet(replicas)
    fleet.settle()
    idle = fleet.time_decisions(rounds)
    fleet.publish("1.0.0", "2.0.0")
    fleet.settle(until=lambda batch: batch is not None and batch.number == 2)
    fleet.take_down()
    fleet.bring_up(0.5)
    fleet.settle(until=lambda _: True)
    middle = fleet.time_decisions(rounds)
    fleet.bring_up(1.0)
    end = fleet.time_decisions(max(rounds // 5, 5))
    return {
        "decide_10k_ms": statistics.median(middle),
        "decide_10k_ms_max": max(middle),
        "decide_10k_ms_idle": statistics.median(idle),
        "decide_10k_ms_batch_end": statistics.median(end),
    }


class Fleet:
    """One set as values, with its decisions carried out on them."""

    def __init__(self, replicas: int) -> None:
        self.now = START
        self.view = SetView(
            namespace="bench",
            name="web",
            uid="set-uid",
            generation=1,
            created=START,
            replicas=replicas,
            mode=UpgradeMode.ROLLING,
            model=MODEL,
            status=SetStatus(),
            location="here",
            os_policy=OSUpgradePolicy(enabled=True),
            models={MODEL.name: MODEL},
            within_limit_since=START,
        )
        self.publish("1.0.0")

    def publish(self, *versions: str) -> None:
        """Say which versions there are."""
        seen = tuple(CatalogueVersion(v, START, START) for v in versions)
        self.view = replace(self.view, images={MODEL.image: Catalogue("bench", seen)})

    def time_decisions(self, rounds: int) -> list[float]:
        """Decide again and again on the same view; milliseconds each."""
        decide(self.view, self.now)
        gc.collect()
        taken = []
        for _ in range(rounds):
            start = time.perf_counter()
            decide(self.view, self.now)
            taken.append((time.perf_counter() - start) * 1000)
        return taken

    def settle(self, until: Callable[[Batch | None], bool] = lambda _: False) -> None:
        """Decide and carry out until nothing is left to do, or the condition on the running batch holds."""
        for _ in range(200):
            decision = decide(self.view, self.now)
            if not decision.writes and not decision.actions:
                return
            for write in decision.writes:
                self._store(write)
            if until(self.running_batch):
                return
            for action in decision.actions:
                self._act(action)
            self.now += SECOND
        raise RuntimeError("the engine does not come to rest")

    @property
    def running_batch(self) -> Batch | None:
        """The batch at work."""
        upgrade = self.view.current_upgrade
        return upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None

    def take_down(self) -> None:
        """The members of the running batch are gone and not Ready yet."""
        batch = self.running_batch
        assert batch is not None
        for ordinal in batch.members:
            self._upgrade(ordinal, ready=False)

    def bring_up(self, share: float) -> None:
        """That share of the running batch is Ready."""
        batch = self.running_batch
        assert batch is not None
        members = sorted(batch.members)
        for ordinal in members[: int(share * len(members))]:
            self._upgrade(ordinal, ready=True)

    def _store(self, write: d.Write) -> None:
        upgrades = {u.name: u for u in self.view.upgrades}
        match write:
            case d.WriteSetStatus(status):
                self.view = replace(self.view, status=status)
            case d.CreateUpgrade(name, kind, started_by):
                upgrades[name] = Upgrade(name, f"uid-{name}", self.now, kind, started_by, held=True)
            case d.WriteUpgradeStatus(name, _, status):
                upgrades[name] = replace(upgrades[name], status=status)
        self.view = replace(self.view, upgrades=tuple(upgrades.values()))

    def _act(self, action: d.Action) -> None:
        assert isinstance(self.view.instances, dict)
        match action:
            case d.CreateInstance(ordinal, release):
                self.view.instances[ordinal] = self._instance(ordinal, release, ready=True)
            case d.DeleteInstance(ordinal):
                del self.view.instances[ordinal]

    def _instance(self, ordinal: int, release: Release, *, ready: bool) -> Instance:
        return Instance(
            ordinal,
            f"pod-{ordinal}-{release.image_version}",
            release,
            self.now,
            ready=ready,
            ready_since=self.now if ready else None,
            started_at=self.now if ready else None,
            first_ready=self.now if ready else None,
        )

    def _upgrade(self, ordinal: int, *, ready: bool) -> None:
        assert isinstance(self.view.instances, dict)
        self.view.instances[ordinal] = self._instance(ordinal, Release("2.0.0", MODEL.name), ready=ready)
