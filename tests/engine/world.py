"""A simulated scale set for the engine: pods that boot, break and die in virtual time, and a store that takes the
engine's writes.

``World.turn()`` asks the engine once and carries the answer out; ``World.run()`` turns until nothing is left to do,
moving the clock to whatever comes next. A crash is a decision of which only the first steps are carried out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from scalesets.engine import decision as d
from scalesets.engine.catalogue import PublishedVersion, SeenVersion, for_location, reconcile
from scalesets.engine.decide import decide
from scalesets.engine.view import (
    Code,
    Condition,
    Instance,
    Model,
    OSUpgradePolicy,
    Release,
    RollingPolicy,
    SetStatus,
    SetView,
    StartedBy,
    Timing,
    Trouble,
    TroubleKind,
    Upgrade,
    UpgradeMode,
    UpgradeType,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
IMAGE = "team-a/ubuntu"
SECOND = timedelta(seconds=1)
QUICK = RollingPolicy(health_timeout=timedelta(seconds=30), provisioning_timeout=timedelta(minutes=2))
OPTED_IN = OSUpgradePolicy(enabled=True)
FIRST_MODEL = Model("m1", "c1", IMAGE)


@dataclass(slots=True)
class Pod:
    """A simulated pod. ``ready_at`` None: it never gets ready."""

    uid: str
    release: Release
    created: datetime
    ready_at: datetime | None
    gone_at: datetime | None = None
    deleting_since: datetime | None = None
    first_ready: datetime | None = None
    lost: bool = False
    protected: bool = False
    pending: str = ""


@dataclass
class World:
    """One scale set and all around it. Tests change the fields and call ``run``."""

    replicas: int = 5
    mode: UpgradeMode = UpgradeMode.ROLLING
    zones: tuple[str, ...] = ()
    update_domains: int = 5
    policy: RollingPolicy = QUICK
    os_policy: OSUpgradePolicy = OPTED_IN
    timing: Timing = field(default_factory=Timing)
    model: Model = FIRST_MODEL
    boot: timedelta = SECOND
    stop: timedelta = SECOND
    now: datetime = START
    bad: set[str] = field(default_factory=set)  # image versions or model names that never get ready
    refused: set[str] = field(default_factory=set)  # models that the server refuses
    missing_secrets: str = ""
    protected: set[int] = field(default_factory=set)
    claims_deleting: set[int] = field(default_factory=set)
    deleting: bool = False
    status: SetStatus = field(default_factory=SetStatus)
    pods: dict[int, Pod] = field(default_factory=dict)
    upgrades: dict[str, Upgrade] = field(default_factory=dict)
    published: list[PublishedVersion] = field(default_factory=list)
    seen: tuple[SeenVersion, ...] = ()
    models: dict[str, Model] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    events: list[tuple[datetime, d.Event]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    watchers: list[Callable[[World], None]] = field(default_factory=list)
    writes: int = 0
    status_writes: int = 0
    within_limit_since: datetime | None = START
    losses: dict[int, tuple[int, datetime]] = field(default_factory=dict)
    generation: int = 1
    replicas_owned: bool = True
    _ids: Iterable[int] = field(default_factory=itertools.count)

    # -- what tests do ---------------------------------------------------------------------------------------------

    def publish(self, version: str, **fields: object) -> World:
        """Publish an image version."""
        self.published.append(PublishedVersion(version, f"registry.example/os:{version}", **fields))  # type: ignore[arg-type]
        return self

    def exclude(self, version: str) -> None:
        """Exclude a version from latest."""
        self.published = [replace(p, excluded=True) if p.version == version else p for p in self.published]

    def change_model(self, name: str, content: str | None = None, **fields: object) -> None:
        """Edit the set's model."""
        self.model = replace(self.model, name=name, content=content or f"c-{name}", **fields)  # type: ignore[arg-type]
        self.generation += 1

    def start_upgrade(self, name: str, kind: UpgradeType = UpgradeType.OS_IMAGE, *instances: str) -> None:
        """A user creates a RollingUpgrade."""
        self.upgrades[name] = Upgrade(name, f"uid-{name}", self.now, kind, StartedBy.USER, instances=instances)

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

    def break_instance(self, ordinal: int) -> None:
        """The application of one instance gets sick until its pod is replaced."""
        pod = self.pods[ordinal]
        pod.ready_at = None

    def heal(self, ordinal: int) -> None:
        """It recovers."""
        self.pods[ordinal].ready_at = self.now

    def kill(self, ordinal: int, *, at_once: bool = True) -> None:
        """Somebody else deletes the pod."""
        if at_once:
            del self.pods[ordinal]
        else:
            self._delete(ordinal)

    def end(self, ordinal: int) -> None:
        """The pod ends in phase Failed."""
        self.pods[ordinal].lost = True
        count, _ = self.losses.get(ordinal, (0, self.now))
        self.losses[ordinal] = (count + 1, self.now)

    # -- what is seen ----------------------------------------------------------------------------------------------

    def view(self) -> SetView:
        """The engine's view of this moment."""
        result = reconcile(self.published, self.seen, ("here",), self.now)
        self.seen = result.seen
        self.models.setdefault(self.model.name, self.model)
        self.models[self.model.name] = self.model
        return SetView(
            namespace="team-a",
            name="web",
            uid="set-uid",
            generation=self.generation,
            created=START,
            replicas=self.replicas,
            mode=self.mode,
            model=self.model,
            status=self.status,
            deleting=self.deleting,
            replicas_owned=self.replicas_owned,
            location="here",
            zones=self.zones,
            update_domains=self.update_domains,
            policy=self.policy,
            os_policy=self.os_policy,
            timing=self.timing,
            protected=frozenset(self.protected),
            models=dict(self.models),
            images={IMAGE: for_location("ubuntu", self.published, self.seen, "here")},
            instances={o: self._instance(o, p) for o, p in self.pods.items()},
            claims_deleting=frozenset(self.claims_deleting),
            upgrades=tuple(self.upgrades.values()),
            troubles=tuple(self.troubles),
            within_limit_since=self.within_limit_since,
            losses=dict(self.losses),
        )

    def _instance(self, ordinal: int, pod: Pod) -> Instance:
        booted = pod.created + self.boot
        ready = pod.ready_at is not None and pod.ready_at <= self.now and not pod.lost
        return Instance(
            ordinal,
            pod.uid,
            pod.release,
            pod.created,
            ready=ready,
            ready_since=pod.ready_at if ready else None,
            started_at=booted if booted <= self.now else None,
            first_ready=pod.first_ready,
            deleting_since=pod.deleting_since,
            grace=timedelta(seconds=5),
            lost=pod.lost,
            protected=pod.protected,
            pending_os_upgrade=pod.pending,
        )

    # -- time ------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Let pods do what is due by now."""
        for ordinal, pod in list(self.pods.items()):
            if pod.gone_at is not None and pod.gone_at <= self.now:
                del self.pods[ordinal]
            elif pod.first_ready is None and pod.ready_at is not None and pod.ready_at <= self.now and not pod.lost:
                pod.first_ready = pod.ready_at

    def turn(self, crash_after: int | None = None) -> tuple[bool, datetime | None]:
        """Decide once and carry it out, or only its first steps. Returns whether anything was done, and when to look
        again.
        """
        self.live()
        decision = decide(self.view(), self.now)
        if not decision.within_limit:
            self.within_limit_since = None
        elif self.within_limit_since is None:
            self.within_limit_since = self.now
        left = crash_after if crash_after is not None else 10**9
        writes = [w for w in decision.writes if not self._is_held_back(w)]
        for write in writes:
            if left <= 0 or not self._write(write):
                return True, decision.look_again
            left -= 1
            self._tell()
        for action in decision.actions:
            if left <= 0:
                break
            self._act(action)
            left -= 1
            self._tell()
        self.events.extend((self.now, e) for e in decision.events)
        self.log.extend(f"{self.now:%H:%M:%S} {e.reason}: {e.message}" for e in decision.events)
        return bool(writes or decision.actions), decision.look_again

    def _is_held_back(self, write: d.Write) -> bool:
        """Counts may wait for the end of the batch, as the executor does it."""
        working = any(u.status is not None and u.status.running_batch is not None for u in self.upgrades.values())
        return isinstance(write, d.WriteSetStatus) and not write.urgent and working

    def run(self, lasting: timedelta = timedelta(hours=2), until: Callable[[World], bool] | None = None) -> World:
        """Turn until nothing is left to do, or for so long in virtual time, or until the condition holds."""
        end = self.now + lasting
        turns = 0
        while self.now <= end:
            busy = True
            while busy:
                if until is not None and until(self):
                    return self
                busy, again = self.turn()
                turns += 1
                assert turns < 20_000, "the engine doesn't come to rest:\n" + "\n".join(self.log[-20:])
            times = [t for t in [again, *self._pod_times()] if t is not None and t > self.now]
            if not times:
                return self
            following = min(times)
            if following > end:
                break
            self.now = following
        assert until is None or until(self), "it never came to that:\n" + "\n".join(self.log[-20:])
        self.now = max(self.now, end) if until is None else self.now
        return self

    def _pod_times(self) -> list[datetime]:
        times: list[datetime] = []
        for pod in self.pods.values():
            times.extend(t for t in (pod.gone_at, pod.ready_at, pod.created + self.boot) if t is not None)
        return times

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self)

    # -- the API server --------------------------------------------------------------------------------------------

    def _write(self, write: d.Write) -> bool:
        match write:
            case d.WriteSetStatus(status):
                assert status != self.status, "a write that changes nothing"
                self.status = status
                self.status_writes += 1
            case d.CreateUpgrade(name, kind, started_by):
                self.upgrades.setdefault(name, Upgrade(name, f"uid-{name}", self.now, kind, started_by, held=True))
            case d.HoldUpgrade(name):
                self.upgrades[name] = replace(self.upgrades[name], held=True)
            case d.WriteUpgradeStatus(name, _, status):
                upgrade = self.upgrades[name]
                assert status != upgrade.status, "a write that changes nothing"
                assert not upgrade.finished, f"{name} is finished"
                self.upgrades[name] = replace(upgrade, status=status)
                self.status_writes += 1
            case d.ClearApprovals(name):
                self.upgrades[name] = replace(self.upgrades[name], approved=frozenset())
            case d.ReleaseUpgrade(name):
                upgrade = replace(self.upgrades[name], held=False)
                if upgrade.deleting:
                    del self.upgrades[name]
                else:
                    self.upgrades[name] = upgrade
            case d.DeleteUpgrade(name):
                del self.upgrades[name]
            case d.DryRun(_, release):
                if release.model in self.refused:
                    until = self.now + timedelta(minutes=1)
                    self.troubles = [
                        Trouble(TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", model=release.model, until=until)
                    ]
                    return False
                self.troubles = [t for t in self.troubles if t.kind is not TroubleKind.TEMPLATE_REFUSED]
            case d.Preflight():
                self.troubles = [t for t in self.troubles if t.kind is not TroubleKind.PREFLIGHT]
                if self.missing_secrets:
                    until = self.now + timedelta(minutes=1)
                    self.troubles.append(Trouble(TroubleKind.PREFLIGHT, self.missing_secrets, until=until))
                    return False
        self.writes += 1
        return True

    def _act(self, action: d.Action) -> None:
        match action:
            case d.CreateInstance(ordinal, release):
                if ordinal not in self.pods and not self.deleting:
                    sick = release.image_version in self.bad or release.model in self.bad
                    ready_at = None if sick else self.now + 2 * self.boot
                    self.pods[ordinal] = Pod(f"pod-{next(self._ids)}", release, self.now, ready_at)  # type: ignore[call-overload]
            case d.DeleteInstance(ordinal, uid):
                if ordinal in self.pods and self.pods[ordinal].uid == uid:
                    self._delete(ordinal)
            case d.LabelInstance(ordinal, uid, labels, annotations):
                pod = self.pods.get(ordinal)
                if pod is not None and pod.uid == uid:
                    for key, value in labels:
                        assert key == "scalesets.dev/model"
                        pod.release = replace(pod.release, model=value)
                    for key, mark in annotations:
                        assert key == "scalesets.dev/pending-os-upgrade"
                        pod.pending = mark or ""
            case d.DeleteClaims():
                pass

    def _delete(self, ordinal: int) -> None:
        pod = self.pods[ordinal]
        if pod.deleting_since is None:
            pod.deleting_since = self.now
            pod.gone_at = self.now + self.stop

    # -- what tests ask --------------------------------------------------------------------------------------------

    def versions(self) -> dict[str, int]:
        """How many pods run each image version."""
        counts: dict[str, int] = {}
        for pod in self.pods.values():
            counts[pod.release.image_version] = counts.get(pod.release.image_version, 0) + 1
        return counts

    def only_upgrade(self, kind: UpgradeType = UpgradeType.OS_IMAGE) -> Upgrade:
        """The one upgrade of a type."""
        found = [u for u in self.upgrades.values() if u.type is kind]
        assert len(found) == 1, f"{len(found)} upgrades: {[u.name for u in found]}"
        return found[0]

    def condition(self, kind: str) -> Condition:
        """A condition of the set."""
        return next(c for c in self.status.conditions if c.type == kind)

    def all_ready(self) -> bool:
        """Every instance exists and is Ready."""
        return len(self.pods) == self.replicas and all(
            p.ready_at is not None and p.ready_at <= self.now and p.deleting_since is None for p in self.pods.values()
        )


def a_set(*versions: str, **fields: object) -> World:
    """A healthy set that runs ``versions[0]``, with the others not published yet."""
    world = World(**fields)  # type: ignore[arg-type]
    world.publish(versions[0] if versions else "1.0.0")
    world.run(timedelta(minutes=1))
    assert world.all_ready(), world.log
    return world


__all__ = ["Code", "World", "a_set"]
