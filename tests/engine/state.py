"""A simulated set and all around it, and what the operator sees of it: later than it is, with ``lag``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.lagging import Lagging
from engine.pods import Pod
from scalesets.engine import decision as d
from scalesets.engine.catalogue import PublishedVersion, SeenVersion, for_location, reconcile
from scalesets.engine.view import (
    Catalogue,
    Instance,
    Model,
    OSUpgradePolicy,
    RollingPolicy,
    SetStatus,
    SetView,
    Sidecar,
    Timing,
    Upgrade,
    UpgradeMode,
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
class Gallery:
    """A GalleryImage or Extension: what is published, and what its status remembers."""

    published: list[PublishedVersion] = field(default_factory=list)
    seen: tuple[SeenVersion, ...] = ()
    exists: bool = True
    supports: bool = True  # automatic upgrade


@dataclass
class State:
    """One scale set and all around it."""

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
    missing_for: set[str] = field(default_factory=set)  # the models that name them; empty: all
    unknown_images: set[str] = field(default_factory=set)  # of extensions: NAME:VERSION
    unmade: set[str] = field(default_factory=set)  # NAME:VERSION whose containers can't be made
    patches_in_vain: int = 0
    quota_full: bool = False
    protected: set[int] = field(default_factory=set)
    claims: dict[int, str] = field(default_factory=dict)  # the data disks: their UIDs
    claims_deleting: set[int] = field(default_factory=set)
    delete_claims_when_scaled: bool = False
    namespace: str = "team-a"
    name: str = "web"
    location: str = "here"
    locations: tuple[str, ...] = ("here",)  # all that there are
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
    watchers: list[Callable[[Any], None]] = field(default_factory=list)
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

    kind = "ScaleSet"

    @property
    def shown_mode(self) -> UpgradeMode:
        """The mode that the referee is told."""
        return self.mode

    # -- what is seen ----------------------------------------------------------------------------------------------

    def view(self) -> SetView:
        """The engine's view of this moment."""
        self.models[self.model.name] = self.model
        return SetView(
            namespace=self.namespace,
            name=self.name,
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
            location=self.location,
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
                gallery.seen = reconcile(gallery.published, gallery.seen, self.locations, self.now).seen
                catalogue = for_location(name, gallery.published, gallery.seen, self.location)
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
