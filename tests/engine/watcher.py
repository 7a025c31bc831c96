"""Looks at the simulated world after every write and names what breaks an invariant of docs/design.md. Shares no code
with the engine.
"""

from __future__ import annotations

from engine.world import World
from scalesets.engine.view import BatchOutcome, StartedBy, Upgrade, UpgradeType


class Watcher:
    """Collects violations. ``excuse`` names an instance that the test itself broke, so that its fate is not the
    engine's.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.excused: set[tuple[str, int]] = set()
        self._batches: dict[str, int] = {}
        self._finished: dict[str, object] = {}

    def excuse(self, ordinal: int) -> None:
        for upgrade in self.world.upgrades.values():
            self.excused.add((upgrade.name, ordinal))

    def look(self, world: World) -> None:
        """One look after one write."""
        for upgrade in world.upgrades.values():
            if upgrade.status is None:
                continue
            known = self._batches.get(upgrade.name, 0)
            for batch in upgrade.status.batches[known:]:
                self._new_batch(upgrade, batch)
            self._batches[upgrade.name] = len(upgrade.status.batches)
            self._sums(upgrade)
            self._down(upgrade)
            if upgrade.finished:
                if self._finished.setdefault(upgrade.name, upgrade.status) != upgrade.status:
                    self._say("I6", f"{upgrade.name}: the status of a finished upgrade changed")
                elif (upgrade.name, -1) not in self.excused:
                    self._ended(upgrade)
                    self.excused.add((upgrade.name, -1))

    def _say(self, invariant: str, words: str) -> None:
        self.violations.append(f"{invariant} at {self.world.now:%H:%M:%S}: {words}")

    def _new_batch(self, upgrade, batch) -> None:
        world = self.world
        status = upgrade.status
        zones = max(1, len(world.zones))
        cells = {(o % zones, o // zones % world.update_domains) for o in batch.members}
        crossing = world.policy.cross_zone and (upgrade.type is UpgradeType.MODEL or world.os_policy.use_rolling_policy)
        if len({d for _, d in cells}) > 1 or (len(cells) > 1 and not crossing):
            self._say("I2", f"{upgrade.name} batch {batch.number} lies in cells {cells}")
        if upgrade.type is UpgradeType.OS_IMAGE:
            if len(batch.members) > max(1, world.replicas * 20 // 100):
                self._say("I1", f"{upgrade.name} batch {batch.number} has {len(batch.members)} of {world.replicas}")
            known = set(world.status.record)
            sick = [o for o in known if o < world.replicas and not self._healthy(o)]
            limit = world.policy.max_unhealthy_percent if world.os_policy.use_rolling_policy else 20
            total = len({o for o in known if o < world.replicas} | set(world.pods))
            if len(sick) * 100 > limit * max(1, total):
                self._say("I4", f"{upgrade.name} batch {batch.number} was written with {sick} unhealthy of {total}")
            version = next((p for p in world.published if p.version == status.target.image_version), None)
            if version is None or version.excluded:
                self._say("I8", f"{upgrade.name} batch {batch.number} goes to {status.target.image_version}")

    def _healthy(self, ordinal: int) -> bool:
        pod = self.world.pods.get(ordinal)
        return (
            pod is not None
            and pod.deleting_since is None
            and not pod.lost
            and pod.ready_at is not None
            and pod.ready_at <= self.world.now
        )

    def _sums(self, upgrade: Upgrade) -> None:
        status = upgrade.status
        p = status.progress
        if p.successful + p.failed + p.in_progress + p.pending != len(status.scope):
            self._say("I6", f"{upgrade.name}: {p} doesn't sum to {len(status.scope)}")
        if min(p.successful, p.failed, p.in_progress, p.pending) < 0:
            self._say("I6", f"{upgrade.name}: {p}")

    def _down(self, upgrade: Upgrade) -> None:
        """Only members of running batches are taken down by an upgrade."""
        if len([b for b in upgrade.status.batches if b.outcome is BatchOutcome.RUNNING]) > 1:
            self._say("I1", f"{upgrade.name} runs two batches at once")
        running = [
            u.name for u in self.world.upgrades.values() if u.status is not None and u.status.running_batch is not None
        ]
        if len(running) > 1:
            self._say("I1", f"two upgrades at work: {running}")

    def _ended(self, upgrade: Upgrade) -> None:
        """Touched instances are on the target, or where roll-back applies on what their batch recorded (I5)."""
        status = upgrade.status
        if upgrade.type is not UpgradeType.OS_IMAGE:
            return
        for batch in status.batches:
            for ordinal, former in batch.members.items():
                pod = self.world.pods.get(ordinal)
                if pod is None or ordinal >= self.world.replicas or (upgrade.name, ordinal) in self.excused:
                    continue
                back = (
                    ordinal in batch.failed
                    and upgrade.started_by is StartedBy.PLATFORM
                    and not self.world.os_policy.disable_roll_back
                )
                expected = former.image_version if back else status.target.image_version
                if pod.release.image_version != expected:
                    self._say(
                        "I5", f"{upgrade.name}: web-{ordinal} ended on {pod.release.image_version}, not {expected}"
                    )
