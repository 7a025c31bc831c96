"""A simulated scale set for the engine: pods that boot, break and die in virtual time, and a store that takes the
engine's writes.

``World.turn()`` asks the engine once and carries the answer out; ``World.run()`` turns until nothing is left to do,
moving the clock to whatever comes next. A crash is a decision of which only the first steps are carried out, and
``World.restart()`` forgets what the operator holds in memory only. Trouble is remembered as the operator does it.
With ``lag`` the operator sees late what others do to pods. A decision may also be carried out late (``look``,
``carry_out``): writes are then refused if their object changed meanwhile, as the API server does it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from engine.lagging import Lagging
from scalesets.engine import decision as d
from scalesets.engine.catalogue import PublishedVersion, SeenVersion, for_location, reconcile
from scalesets.engine.decide import decide
from scalesets.engine.view import (
    Catalogue,
    Condition,
    Instance,
    Model,
    OSUpgradePolicy,
    Release,
    RollingPolicy,
    SetStatus,
    SetView,
    Sidecar,
    StartedBy,
    Timing,
    TroubleKind,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)
from scalesets.kube.troubles import Troubles

START = datetime(2026, 11, 1, tzinfo=UTC)
IMAGE = "ubuntu"
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
GRACE = timedelta(seconds=5)
QUICK = RollingPolicy(health_timeout=timedelta(seconds=30), provisioning_timeout=timedelta(minutes=2))
OPTED_IN = OSUpgradePolicy(enabled=True)
FIRST_MODEL = Model("m1", "c1", IMAGE)


@dataclass(slots=True)
class Container:
    """The container of an extension. After a patch the one ``former`` is shown until ``from_``, then this one as well
    whatever it is, and from ``true_from`` on as it is (docs/rules.md, "Health").
    """

    id: str
    bad: bool
    from_: datetime
    true_from: datetime
    before: str = ""
    former: Container | None = None
    restarts: int = 0
    unmade: bool = False  # the kubelet ended the former one and can't make this one: it shows the former's id

    def shown(self, now: datetime) -> Container:
        """The container that the pod's status has now."""
        return self.former.shown(now) if self.former is not None and now < self.from_ else self

    def is_ready(self, now: datetime) -> bool:
        """Whether it is shown ready."""
        return not self.unmade and (not self.bad or now < self.true_from)

    def changes(self) -> Iterator[datetime]:
        """When it is shown otherwise."""
        yield from (self.from_, self.true_from)


@dataclass(slots=True)
class Pod:
    """A simulated pod. ``ready_at`` None: it never gets ready."""

    uid: str
    release: Release
    created: datetime
    ready_at: datetime | None
    fails_to_start: bool = False
    gone_at: datetime | None = None
    deleting_since: datetime | None = None
    first_ready: datetime | None = None  # in the operator's memory only
    failed_to_start: datetime | None = None  # likewise
    lost: bool = False
    protected: bool = False
    pending: str = ""
    containers: dict[str, Container] = field(default_factory=dict)  # of its extensions, once they were patched

    def is_ready(self, now: datetime) -> bool:
        """The pod's Ready condition."""
        well = all(c.shown(now).is_ready(now) for c in self.containers.values())
        return self.ready_at is not None and self.ready_at <= now and not self.lost and well

    def ready_since(self, now: datetime) -> datetime | None:
        """Its last transition to Ready."""
        if self.ready_at is None or not self.is_ready(now):
            return None
        former = [(c.from_, c.former) for c in self.containers.values() if c.from_ <= now and c.former]
        healed = [since for since, before in former if before.bad or before.unmade]
        return max([self.ready_at, *healed])


@dataclass(slots=True)
class Gallery:
    """A GalleryImage or Extension: what is published, and what its status remembers."""

    published: list[PublishedVersion] = field(default_factory=list)
    seen: tuple[SeenVersion, ...] = ()
    exists: bool = True
    supports: bool = True  # automatic upgrade


class ConflictError(Exception):
    """The object isn't any more what the decision was made from."""


@dataclass(slots=True)
class Decided:
    """A decision, and the objects as they were when it was made: writes are fenced by them."""

    at: datetime
    decision: d.Decision
    scale_set: object
    upgrades: dict[str, Upgrade]


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
    model_problem: tuple[str, str] = ("", "")
    boot: timedelta = SECOND
    stop: timedelta = SECOND
    now: datetime = START
    bad: set[str] = field(default_factory=set)  # image versions or model names that never get ready
    failing: set[str] = field(default_factory=set)  # those whose containers don't even start
    refused: set[str] = field(default_factory=set)  # models that the server refuses
    missing_secrets: str = ""
    unknown_images: set[str] = field(default_factory=set)  # of extensions: NAME:VERSION
    patches_in_vain: int = 0
    unmade: set[str] = field(default_factory=set)  # NAME:VERSION whose containers can't be made
    missing_for: set[str] = field(default_factory=set)  # the models that name them; empty: all
    quota_full: bool = False
    protected: set[int] = field(default_factory=set)
    claims: dict[int, str] = field(default_factory=dict)  # the data disks: their UIDs
    claims_deleting: set[int] = field(default_factory=set)
    delete_claims_when_scaled: bool = False
    uid: str = "set-uid"
    created: datetime = START
    deleting: bool = False
    status: SetStatus = field(default_factory=SetStatus)
    pods: dict[int, Pod] = field(default_factory=dict)
    upgrades: dict[str, Upgrade] = field(default_factory=dict)
    images: dict[str, Gallery] = field(default_factory=lambda: {IMAGE: Gallery()})
    extensions: dict[str, Gallery] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    troubles: Troubles = field(default_factory=Troubles)
    events: list[tuple[datetime, d.Event]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    watchers: list[Callable[[World], None]] = field(default_factory=list)
    tellers: list[Callable[[d.Decision], None]] = field(default_factory=list)
    writes: int = 0
    status_writes: int = 0
    within_limit_since: datetime | None = START
    fresh_since: datetime | None = START - timedelta(days=1)
    losses: dict[int, tuple[int, datetime]] = field(default_factory=dict)
    notice: timedelta = SECOND  # until a kubelet acts on a patch
    pretence: timedelta = 2 * SECOND  # how long a new container is shown ready although it isn't
    probe_budget: timedelta = 10 * SECOND  # after which a bad container is started anew
    patches: list[tuple[datetime, int, str, str]] = field(default_factory=list)
    unpatchable: set[int] = field(default_factory=set)
    generation: int = 1
    replicas_owned: bool = True
    lag: timedelta = timedelta(0)  # fixed from the start
    conflicts: int = 0
    _lagging: Lagging | None = None
    _ids: Iterator[int] = field(default_factory=itertools.count)

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

    # -- what is seen ----------------------------------------------------------------------------------------------

    def view(self) -> SetView:
        """The engine's view of this moment."""
        self.models[self.model.name] = self.model
        return SetView(
            namespace="team-a",
            name="web",
            uid=self.uid,
            generation=self.generation,
            created=self.created,
            replicas=self.replicas,
            mode=self.mode,
            model=None if self.model_problem[0] else self.model,
            model_problem=self.model_problem,
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
            images=self._catalogues(self.images),
            extensions=self._catalogues(self.extensions),
            instances=self._instances(),
            unpatchable=frozenset(self.unpatchable),
            claims_deleting=frozenset(self.claims_deleting),
            spare_claims=frozenset(o for o in self.claims if o >= self.replicas),
            delete_claims_when_scaled=self.delete_claims_when_scaled,
            upgrades=tuple(self.upgrades.values()),
            troubles=self.troubles.all(self.now),
            within_limit_since=self.within_limit_since,
            fresh_since=self.fresh_since,
            losses=dict(self.losses),
        )

    def _instances(self) -> dict[int, Instance]:
        stored = {o: self._instance(o, p) for o, p in self.pods.items()}
        if not self.lag:
            return stored
        if self._lagging is None:  # it has just listed them
            self._lagging = Lagging(self.lag)
            for ordinal, instance in stored.items():
                self._lagging.wrote(ordinal, instance)
        self._lagging.follow(stored, self.now)
        return self._lagging.seen(self.now)

    def _learn(self, ordinal: int, uid: str = "") -> None:
        """What the answer to the operator's own write of a pod says is seen at once."""
        if self._lagging is None:
            return
        pod = self.pods.get(ordinal)
        if pod is None or (uid and pod.uid != uid):
            self._lagging.vanished(ordinal, uid)
        else:
            self._lagging.wrote(ordinal, self._instance(ordinal, pod))

    def _catalogues(self, galleries: dict[str, Gallery]) -> dict[str, Catalogue]:
        found = {}
        for name, gallery in galleries.items():
            if gallery.exists:
                gallery.seen = reconcile(gallery.published, gallery.seen, ("here",), self.now).seen
                catalogue = for_location(name, gallery.published, gallery.seen, "here")
                found[name] = replace(catalogue, supports_automatic_upgrade=gallery.supports)
        return found

    def _instance(self, ordinal: int, pod: Pod) -> Instance:
        started = pod.created + self.boot
        ready = pod.is_ready(self.now)
        return Instance(
            ordinal,
            pod.uid,
            pod.release,
            pod.created,
            ready=ready,
            ready_since=pod.ready_since(self.now),
            started_at=started if started <= self.now and not pod.fails_to_start else None,
            failed_to_start=None if ready else pod.failed_to_start,
            failure="ImagePullBackOff" if pod.failed_to_start else "",
            first_ready=pod.first_ready,
            deleting_since=pod.deleting_since,
            grace=GRACE,
            lost=pod.lost,
            protected=pod.protected,
            pending_os_upgrade=pod.pending,
            sidecars=self.sidecars(pod),
        )

    def sidecars(self, pod: Pod) -> tuple[Sidecar, ...]:
        """The containers of its extensions, as its status shows them."""
        return tuple(self._sidecar(pod, name) for name, _ in pod.release.extensions)

    def restarts(self, pod: Pod, name: str) -> int:
        """How often the extension's container was started anew."""
        return pod.containers[name].shown(self.now).restarts if name in pod.containers else 0

    def _sidecar(self, pod: Pod, name: str) -> Sidecar:
        latest = pod.containers.get(name)
        if latest is None:
            started = pod.created + self.boot
            there = started <= self.now
            return Sidecar(name, self._first_id(pod, name) if there else "", there, started if there else None, there)
        shown = latest.shown(self.now)
        if shown.unmade:
            return Sidecar(name, shown.id, before=latest.before)
        started, changed = shown.from_, shown.from_ if shown is latest else None
        if shown.bad and self.now >= shown.true_from:  # its start-up probe fails, and it is started again and again
            started += self.probe_budget * ((self.now - shown.from_) // self.probe_budget)
        return Sidecar(name, shown.id, True, started, shown.is_ready(self.now), latest.before, changed)

    def _first_id(self, pod: Pod, name: str) -> str:
        return f"{pod.uid}/{name}/0"

    def _patch(self, pod: Pod, action: d.PatchExtension) -> None:
        """A kubelet takes note of a patch after a moment, and shows the new container as well for a moment more."""
        former = pod.containers.get(action.name) or Container(
            self._first_id(pod, action.name), False, pod.created + self.boot, pod.created + self.boot
        )
        extensions = tuple((n, action.version if n == action.name else v) for n, v in pod.release.extensions)
        pod.release = replace(pod.release, extensions=extensions)
        from_ = self.now + self.notice
        unmade = f"{action.name}:{action.version}" in self.unmade
        pod.containers[action.name] = Container(
            former.id if unmade else f"{pod.uid}/{action.name}/{next(self._ids)}",
            f"{action.name}:{action.version}" in self.bad,
            from_,
            from_ + self.pretence,
            action.before,
            replace(former, former=None),
            former.restarts + (not unmade),
            unmade,
        )

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
        decision = decide(self.view(), self.now)
        if not decision.within_limit:
            self.within_limit_since = None
        elif self.within_limit_since is None:
            self.within_limit_since = self.now
        return Decided(self.now, decision, self._stamp(), dict(self.upgrades))

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

    def _stamp(self) -> object:
        """What the set's resourceVersion stands for."""
        spec = (self.uid, self.generation, self.replicas, self.replicas_owned, self.mode, self.policy, self.os_policy)
        return (spec, self.model, frozenset(self.protected), self.deleting, self.status)

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

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self)

    # -- the API server --------------------------------------------------------------------------------------------

    def _write(self, write: d.Write, decided: Decided) -> bool:
        """Store a write; False when it is a trial that failed."""
        name = getattr(write, "name", "")
        if name and not isinstance(write, d.CreateUpgrade) and self.upgrades.get(name) != decided.upgrades.get(name):
            raise ConflictError(name)
        stored = self._store(write, decided)
        if name in self.upgrades:
            decided.upgrades[name] = self.upgrades[name]
        return stored

    def _store(self, write: d.Write, decided: Decided) -> bool:
        match write:
            case d.WriteSetStatus(status):
                if decided.scale_set != self._stamp():
                    raise ConflictError("the set")
                assert status != self.status, "a write that changes nothing"
                self.status = status
                decided.scale_set = self._stamp()
                self.status_writes += 1
            case d.CreateUpgrade(name, kind, started_by):
                self.upgrades.setdefault(name, Upgrade(name, f"uid-{name}", self.now, kind, started_by, held=True))
            case d.HoldUpgrade(name):
                assert not self.upgrades[name].held, "a write that changes nothing"
                self.upgrades[name] = replace(self.upgrades[name], held=True)
            case d.WriteUpgradeStatus(name, _, status):
                upgrade = self.upgrades[name]
                assert status != upgrade.status, "a write that changes nothing"
                assert not upgrade.finished, f"{name} is finished"
                self.upgrades[name] = replace(upgrade, status=status)
                self.status_writes += 1
            case d.ClearApprovals(name):
                assert self.upgrades[name].approved, "a write that changes nothing"
                self.upgrades[name] = replace(self.upgrades[name], approved=frozenset())
            case d.ReleaseUpgrade(name):
                upgrade = replace(self.upgrades[name], held=False)
                if upgrade.deleting:
                    del self.upgrades[name]
                else:
                    self.upgrades[name] = upgrade
            case d.DeleteUpgrade(name):
                del self.upgrades[name]
            case d.DryRun(ordinal, release):
                return self._dry_run(ordinal, release)
            case d.Preflight(model):
                if self.missing_secrets and (not self.missing_for or model in self.missing_for):
                    self.troubles.note(TroubleKind.PREFLIGHT, self.missing_secrets, self.now, model=model)
                    return False
                self.troubles.clear(TroubleKind.PREFLIGHT, model=model)
                return True
        self.writes += 1
        return True

    def _dry_run(self, ordinal: int, release: Release) -> bool:
        if missing := self._missing_image(release):
            self.troubles.note(TroubleKind.IMAGE_MISSING, missing, self.now, ordinal=ordinal)
            return False
        if release.model in self.refused:
            self.troubles.note(TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", self.now, model=release.model)
            return False
        self.troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)
        return True

    def _missing_image(self, release: Release) -> str:
        model = self.models[release.model]
        wanted = [(self.images, model.image, release.image_version)]
        installed = dict(release.extensions)
        wanted += [(self.extensions, e.key, installed.get(e.name, "")) for e in model.extensions]
        for galleries, key, version in wanted:
            gallery = galleries.get(key)
            if gallery is None or not gallery.exists or version not in {s.version for s in gallery.seen}:
                return f"no image is known for {key} {version}"
        return ""

    def _act(self, action: d.Action) -> None:
        match action:
            case d.CreateInstance(ordinal, release):
                if ordinal not in self.pods and not self.deleting:
                    self._create(ordinal, release)
                if ordinal in self.pods:
                    self._learn(ordinal)
            case d.DeleteInstance(ordinal, uid):
                if ordinal in self.pods and self.pods[ordinal].uid == uid:
                    self._delete(ordinal)
                self._learn(ordinal, uid)
            case d.LabelInstance(ordinal, uid, labels, annotations):
                pod = self.pods.get(ordinal)
                if pod is not None and pod.uid == uid:
                    for key, value in labels:
                        assert key == "scalesets.dev/model"
                        pod.release = replace(pod.release, model=value)
                    for key, mark in annotations:
                        assert key == "scalesets.dev/pending-os-upgrade"
                        pod.pending = mark or ""
                self._learn(ordinal, uid)
            case d.PatchExtension(ordinal, uid):
                pod = self.pods.get(ordinal)
                if f"{action.name}:{action.version}" in self.unknown_images:
                    self.patches_in_vain += 1
                    self.troubles.note(TroubleKind.IMAGE_MISSING, "no image is known", self.now, ordinal=ordinal)
                elif pod is not None and pod.uid == uid:
                    self._patch(pod, action)
                    self.patches.append((self.now, ordinal, action.name, action.version))
                self._learn(ordinal, uid)
            case d.DeleteClaims(ordinal):
                if ordinal >= self.replicas:  # a fresh look says that it is still wanted
                    assert ordinal not in self.pods, "a claim is deleted before its pod is gone"
                    self.claims.pop(ordinal, None)

    def _create(self, ordinal: int, release: Release) -> None:
        if ordinal in self.claims_deleting:
            return
        if missing := self._missing_image(release):
            self.troubles.note(TroubleKind.IMAGE_MISSING, missing, self.now, ordinal=ordinal)
            return
        self.claims.setdefault(ordinal, f"claim-{next(self._ids)}")
        if self.quota_full:
            self.troubles.note(TroubleKind.QUOTA, "exceeded quota: pods", self.now, ordinal=ordinal)
            return
        if release.model in self.refused:
            self.troubles.note(TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", self.now, model=release.model)
            return
        self.troubles.clear(*TroubleKind, ordinal=ordinal)
        self.troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)
        named = {release.image_version, release.model, *(f"{n}:{v}" for n, v in release.extensions)}
        fails = bool(named & self.failing)
        ready_at = None if fails or named & self.bad else self.now + 2 * self.boot
        self.pods[ordinal] = Pod(f"pod-{next(self._ids)}", release, self.now, ready_at, fails)

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
