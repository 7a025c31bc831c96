"""A simulated scale set for the engine: pods that boot, break and die in virtual time, and a store that takes the
engine's writes.

``World.turn()`` asks the engine once and carries the answer out; ``World.run()`` turns until nothing is left to do,
moving the clock to whatever comes next. A crash is a decision of which only the first steps are carried out, and
``World.restart()`` forgets what the operator holds in memory only. Trouble is remembered as the operator does it.
With ``lag`` the operator sees late what others do to pods. A decision may also be carried out late (``look``,
``carry_out``): writes are then refused if their object changed meanwhile, as the API server does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from engine.server import ConflictError, Decided, Server
from engine.state import FIRST_MODEL, IMAGE, MINUTE, OPTED_IN, QUICK, SECOND, START, Gallery
from scalesets.engine import decision as d
from scalesets.engine.catalogue import PublishedVersion
from scalesets.engine.decide import decide
from scalesets.engine.view import (
    Condition,
    SetStatus,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeStatus,
    UpgradeType,
)
from scalesets.kube.troubles import Troubles

__all__ = ["FIRST_MODEL", "IMAGE", "MINUTE", "OPTED_IN", "QUICK", "SECOND", "START", "World", "a_set", "in_batch"]


class World(Server):
    """One scale set and all around it. Tests change the fields and call ``run``."""

    # -- what users and publishers do ------------------------------------------------------------------------------

    @property
    def published(self) -> list[PublishedVersion]:
        """The versions of the set's first image."""
        return self.images[IMAGE].published

    def publish(self, version: str, *, image: str = IMAGE, **fields: object) -> World:
        """Publish an image version."""
        published = PublishedVersion(version, f"registry.example/{image}:{version}", **fields)  # type: ignore[arg-type]
        self.images.setdefault(image, Gallery()).published.append(published)
        return self

    def publish_extension(self, key: str, *versions: str) -> World:
        """Publish versions of an extension."""
        gallery = self.extensions.setdefault(key, Gallery())
        gallery.published.extend(PublishedVersion(v, f"registry.example/{key}:{v}") for v in versions)
        return self

    def exclude(self, version: str, *, excluded: bool = True) -> None:
        """Exclude a version from latest, or include it again."""
        gallery = self.images[IMAGE]
        gallery.published = [replace(p, excluded=excluded) if p.version == version else p for p in gallery.published]

    def withdraw(self, version: str) -> None:
        """Take a version out of the catalogue."""
        self.images[IMAGE].published = [p for p in self.published if p.version != version]

    def withdraw_extension(self, key: str, version: str) -> None:
        """Take a version of an extension out of the catalogue."""
        gallery = self.extensions[key]
        gallery.published = [p for p in gallery.published if p.version != version]

    def change_model(self, name: str, content: str | None = None, **fields: object) -> None:
        """Edit the set's model."""
        self.model = replace(self.model, name=name, content=content or f"c-{name}", **fields)  # type: ignore[arg-type]
        self.generation += 1
        self.troubles.try_anew(self.now)

    def start_upgrade(self, name: str, kind: UpgradeType = UpgradeType.OS_IMAGE, *instances: str) -> None:
        """A user creates a RollingUpgrade."""
        self.upgrades[name] = Upgrade(name, f"uid-{name}", self.now, kind, StartedBy.USER, instances=instances)
        self.troubles.try_anew(self.now)

    def upgrade_extensions(self, name: str, *extensions: str) -> None:
        """A user starts an Extension upgrade."""
        kind = UpgradeType.EXTENSION
        self.upgrades[name] = Upgrade(name, f"uid-{name}", self.now, kind, StartedBy.USER, extensions=extensions)

    def cancel(self, name: str) -> None:
        """A user sets spec.cancel."""
        self.upgrades[name] = replace(self.upgrades[name], cancel=True)

    def delete_upgrade(self, name: str) -> None:
        """A user deletes a RollingUpgrade."""
        upgrade = self.upgrades[name]
        if upgrade.held:
            self.upgrades[name] = replace(upgrade, deleting=True)
        else:
            del self.upgrades[name]

    def approve(self, name: str, *names: str) -> None:
        """A user approves instances of a deferred upgrade."""
        upgrade = self.upgrades[name]
        self.upgrades[name] = replace(upgrade, approved=upgrade.approved | set(names))

    def delete_claim(self, ordinal: int) -> None:
        """A user deletes a data disk: it goes with its pod."""
        self.claims_deleting.add(ordinal)

    def recreate(self, *, orphans: bool = False) -> None:
        """The set is deleted, with its pods or leaving them behind, and made again under its name."""
        self.now += MINUTE
        self.uid, self.created, self.status = f"set-{next(self._ids)}", self.now, SetStatus()
        self.restart()
        if not orphans:
            self.pods.clear()

    # -- fate --------------------------------------------------------------------------------------------------------

    def break_instance(self, ordinal: int) -> None:
        """The application of one instance gets sick until its pod is replaced."""
        self.pods[ordinal].ready_at = None

    def heal(self, ordinal: int) -> None:
        """It recovers."""
        self.pods[ordinal].ready_at = self.now

    def kill(self, ordinal: int, *, at_once: bool = True) -> None:
        """Somebody else deletes the pod."""
        if at_once:
            del self.pods[ordinal]
        else:
            self._delete(ordinal)

    def hang(self, ordinal: int) -> None:
        """The node of a terminating pod is lost: nobody tells that it ended."""
        assert self.pods[ordinal].deleting_since is not None
        self.pods[ordinal].gone_at = None

    def end(self, ordinal: int) -> None:
        """The pod ends in phase Failed."""
        self.pods[ordinal].lost = True
        count, _ = self.losses.get(ordinal, (0, self.now))
        self.losses[ordinal] = (count + 1, self.now)

    def restart(self) -> None:
        """The operator starts anew: what it held in memory is gone, or counted from what pods show."""
        self.troubles = Troubles()
        self.within_limit_since = None
        self._lagging = None
        self.losses = {o: (1, self.now) for o, p in self.pods.items() if p.lost}
        for pod in self.pods.values():
            pod.first_ready = pod.ready_at if pod.is_ready(self.now) else None
            pod.failed_to_start = None

    # -- time ------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Let pods and claims do what is due by now."""
        for ordinal, pod in list(self.pods.items()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                del self.pods[ordinal]
            elif pod.first_ready is None and pod.is_ready(self.now):
                pod.first_ready = pod.ready_at
            elif pod.fails_to_start and pod.failed_to_start is None and pod.created + self.boot <= self.now:
                pod.failed_to_start = self.now
        for ordinal in [o for o in self.claims_deleting if o not in self.pods]:
            self.claims_deleting.discard(ordinal)
            self.claims.pop(ordinal, None)
        self._tell()

    def turn(self, crash_after: int | None = None) -> tuple[bool, datetime | None]:
        """Decide once and carry it out, or only its first steps. Returns whether anything was done, and when to look
        again.
        """
        decided = self.look()
        return self.carry_out(decided, crash_after), decided.decision.look_again

    def look(self) -> Decided:
        """Decide, and do nothing about it yet."""
        self.live()
        decision = self.decide(self.view())
        if not decision.within_limit:
            self.within_limit_since = None
        elif self.within_limit_since is None:
            self.within_limit_since = self.now
        return Decided(self.now, decision, self._stamp(), dict(self.upgrades))

    def decide(self, view: SetView) -> d.Decision:
        """The question to the engine."""
        return decide(view, self.now)

    def carry_out(self, decided: Decided, crash_after: int | None = None) -> bool:
        """Carry a decision out, or only its first steps. Whether there was anything to do."""
        decision = decided.decision
        for teller in self.tellers:
            teller(decision)
        left = crash_after if crash_after is not None else 10**9
        writes = [w for w in decision.writes if not self._is_held_back(w)]
        for write in writes:
            if left <= 0:
                return True
            try:
                stored = self._write(write, decided)
            except ConflictError:
                self.conflicts += 1
                return True
            if not stored:
                break  # trouble ends the writes; the actions rest on what was stored before
            left -= 1
            self._tell()
        else:
            self.events.extend((self.now, e) for e in decision.events)
            self.log.extend(f"{self.now:%H:%M:%S} {e.reason}: {e.message}" for e in decision.events)
        for action in decision.actions:
            if left <= 0:
                break
            self._act(action)
            left -= 1
            self._tell()
        return bool(writes or decision.actions)

    def _is_held_back(self, write: d.Write) -> bool:
        """Counts may wait for the end of the batch, as the executor does it."""
        working = any(u.status is not None and u.status.running_batch is not None for u in self.upgrades.values())
        return isinstance(write, d.WriteSetStatus) and not write.urgent and working

    def run(self, lasting: timedelta = timedelta(hours=2), until: Callable[[World], object] | None = None) -> World:
        """Turn until nothing is left to do, or for so long in virtual time, or until the condition holds."""
        end = self.now + lasting
        while self.now <= end:
            busy, turns = True, 0
            while busy:
                if until is not None and until(self):
                    return self
                busy, again = self.turn()
                turns += 1
                assert turns < 300, "the engine doesn't come to rest:\n" + "\n".join(self.log[-20:])
            if until is not None and until(self):
                return self
            times = [t for t in [again, *self.pod_times()] if t is not None and t > self.now]
            if not times:
                break
            following = min(times)
            if following > end:
                break
            self.now = following
        assert until is None or until(self), "it never came to that:\n" + "\n".join(self.log[-20:])
        self.now = max(self.now, end) if until is None else self.now
        return self

    def pod_times(self) -> Iterable[datetime]:
        """When pods do something by themselves."""
        for pod in self.pods.values():
            yield from (t for t in (pod.gone_at, pod.ready_at, pod.created + self.boot) if t is not None)
            for container in pod.containers.values():
                yield from container.changes()
        if self._lagging is not None:
            yield from self._lagging.arrivals()

    # -- what tests ask --------------------------------------------------------------------------------------------

    def versions(self) -> dict[str, int]:
        """How many pods run each image version."""
        counts: dict[str, int] = {}
        for pod in self.pods.values():
            counts[pod.release.image_version] = counts.get(pod.release.image_version, 0) + 1
        return counts

    def on(self, what: str) -> set[int]:
        """The ordinals of the pods that run an image version or a model."""
        return {o for o, p in self.pods.items() if what in (p.release.image_version, p.release.model)}

    def only_upgrade(self, kind: UpgradeType = UpgradeType.OS_IMAGE) -> Upgrade:
        """The one upgrade of a type."""
        found = [u for u in self.upgrades.values() if u.type is kind]
        assert len(found) == 1, f"{len(found)} upgrades: {[u.name for u in found]}"
        return found[0]

    def status_of(self, name: str = "", kind: UpgradeType = UpgradeType.OS_IMAGE) -> UpgradeStatus:
        """The status of an upgrade; of the one of a type when it isn't named."""
        upgrade = self.upgrades[name] if name else self.only_upgrade(kind)
        assert upgrade.status is not None, f"{upgrade.name} has not begun"
        return upgrade.status

    def condition(self, kind: str) -> Condition:
        """A condition of the set."""
        return next(c for c in self.status.conditions if c.type == kind)

    def all_ready(self) -> bool:
        """Every instance exists and is Ready."""
        return len(self.pods) == self.replicas and all(
            p.is_ready(self.now) and p.deleting_since is None for p in self.pods.values()
        )


def a_set(*versions: str, **fields: object) -> World:
    """A healthy set that runs ``versions[0]``, with the others not published yet."""
    world = World(**fields)  # type: ignore[arg-type]
    world.publish(versions[0] if versions else "1.0.0")
    world.run(timedelta(minutes=1))
    assert world.all_ready(), world.log
    return world


def in_batch(number: int) -> Callable[[World], bool]:
    """Whether an upgrade's batch of that number has been written."""

    def reached(world: World) -> bool:
        return any(u.status is not None and len(u.status.batches) == number for u in world.upgrades.values())

    return reached
