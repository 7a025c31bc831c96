"""The running operator: who leads, what is watched, and the work that follows from it.

Every replica keeps kopf's watches of our kinds. The one that wins the Lease reads sets and upgrades, *then* lists
pods and claims, then decides (docs/design.md, "What kopf does here"). When it can't know the truth any more it stops:
``failure`` says why, and the process ends and starts anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from datetime import datetime
from typing import Any

from scalesets.kube import served
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import CLAIMS, NAMESPACES, OURS, PODS, REVISIONS, Kind
from scalesets.kube.lease import LeadershipLost, Lease
from scalesets.kube.names import LABEL_INSTANCE, LABEL_MODEL, LABEL_SUBSCRIPTION
from scalesets.kube.queue import WorkQueue
from scalesets.kube.reconciler import Reconciler
from scalesets.kube.recorder import Recorder
from scalesets.kube.reflector import BIND_ROLE, Reflector, Sink, WatchLost
from scalesets.kube.settings import Settings
from scalesets.kube.work import Urgency, Work
from scalesets.kube.world import World

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
"""kopf's watches don't tell what was deleted while they were interrupted; so our kinds are listed now and then."""
SWEEP_AGAIN_SECONDS = 5.0

LATER_SECONDS = 1.0
"""How long a change that decides nothing by itself may wait for company."""


class Operator:
    """One operator on one cluster. ``start`` it in a running event loop; ``stopped`` is set when it can't go on."""

    def __init__(self, cluster: Cluster, settings: Settings, *, named: Settings | None = None) -> None:
        """``named``: the settings as they were given, with namespaces too that can't be served now."""
        self._cluster = cluster
        self._settings = settings
        self._departures = served.Departures(cluster, settings)
        self._return = served.Return(cluster, named or settings, settings)
        self.world = World(settings, self._wake)
        self._recorder = Recorder(cluster, settings.identity)
        self._reconciler = Reconciler(cluster, self.world, settings, self._recorder, again=self._again)
        self._queue: WorkQueue[Work] = WorkQueue(cluster.traces.followed(self._reconciler.look), meter=cluster.metrics)
        self.world.upgrades.tell(lambda _, before, after: cluster.metrics.upgrade_changed(before, after))
        self.world.upgrades.tell(lambda _, before, after: cluster.traces.upgrade_changed(before, after))
        cluster.metrics.gather(self.world.fleets, self.world.catalogues)
        self._lease = Lease(
            cluster, namespace=settings.lease_namespace, name=settings.lease_name, identity=settings.identity
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweep_soon = asyncio.Event()
        self._gets_namespaces = False
        self.leading = False
        self.failure: BaseException | None = None
        self.stopped = asyncio.Event()

    # ------------------------------------------------------------------ life cycle

    def start(self) -> None:
        """Begin; returns at once."""
        if self._settings.leader_election:
            self._cluster.may_write = self._lease.may_write
        self._spawn(self._lead(), "leader")
        if self._return.awaited:
            self._spawn(self._return.watch(), "namespaces to serve")

    async def stop(self) -> None:
        """Finish the writes that are under way, send no new ones, and let the next operator lead."""
        await self._queue.stop()
        await self._reconciler.discovery.close()
        await self._reconciler.pool.drain()
        await self._departures.let_go()  # again: somebody may have been at work there until now
        if self.leading:
            await self._recorder.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._settings.leader_election:
            await self._lease.release()
        self.stopped.set()  # kopf would wait five seconds for whoever still waits for this

    def check(self) -> dict[str, Any]:
        """For the liveness probe; raises when the operator is not well."""
        if self.failure is not None:
            raise RuntimeError(f"stopping: {self.failure}")
        return {"leading": self.leading, "scaleSets": len(self.world.sets), "pods": len(self.world.pods.store)}

    async def _lead(self) -> None:
        if self._settings.leader_election:
            await self._lease.win()
            self._spawn(self._lease.keep(), "lease")
        self._cluster.stats.mark("leading")
        await self._sweep()
        if self._settings.namespaces:
            await self._departures.look(self._settings.namespaces)
            self._spawn(self._departures.watch(self.world.upgrades.values), "served namespaces")
        await self._follow()
        self._cluster.stats.mark("synced")
        log.info(
            "ready: %d scale sets, %d pods, %d claims",
            len(self.world.sets),
            len(self.world.pods.store),
            len(self.world.claims.store),
        )
        self.leading = True
        self._cluster.metrics.lead()
        self._cluster.traces.lead(self.world.upgrades.values())
        self._queue.start()
        self._spawn(self._recorder.run(), "events")
        await self._keep_swept()

    async def _follow(self) -> None:
        """Keep pods, claims and models the same as the API server; returns when all were listed."""
        sinks: list[tuple[Kind, Sink, str]] = [
            (PODS, self.world.pods.store, LABEL_INSTANCE),
            (CLAIMS, self.world.claims.store, LABEL_INSTANCE),
            (REVISIONS, self.world.revisions, LABEL_MODEL),
        ]
        reflectors = [
            Reflector(
                self._cluster,
                kind,
                sink,
                namespace=namespace,
                selector=selector,
                patience=self._settings.watch_patience,
            )
            for kind, sink, selector in sinks
            for namespace in self._settings.namespaces or ("",)
        ]
        reflectors += await self._namespaces()
        self.world.fresh_since = lambda: _all_fresh_since(r for r in reflectors if r.kind is PODS)
        for reflector in reflectors:
            self._spawn(reflector.run(), str(reflector))
        for reflector in reflectors:
            await reflector.synced.wait()

    async def _namespaces(self) -> list[Reflector]:
        """Where it is read of which subscription a namespace is (E5b). One that serves some namespaces may not be
        allowed to watch them: then it gets each of its own, now and with every sweep.
        """
        patience = self._settings.watch_patience
        sink, selector = self.world.namespaces, LABEL_SUBSCRIPTION
        watched = [Reflector(self._cluster, NAMESPACES, sink, selector=selector, patience=patience)]
        if not self._settings.namespaces:
            return watched
        served = ", ".join(self._settings.namespaces)
        log.info("machines take turns with those of %s only: what is in other namespaces isn't seen", served)
        try:
            async for _ in self._cluster.pages(NAMESPACES, selector=selector, page=1):
                break
        except Refusal as refusal:
            if refusal.outcome is not Outcome.FORBIDDEN:
                raise
            self._gets_namespaces = True
            await self._get_namespaces()
            return []
        return watched

    async def _get_namespaces(self) -> None:
        refused: dict[str, str] = {}
        found = []
        for name in self._settings.namespaces:
            try:
                found.append(await self._cluster.get(NAMESPACES, "", name))
            except Refusal as refusal:
                if refusal.outcome is Outcome.FORBIDDEN:
                    refused[name] = refusal.message
                elif refusal.outcome is not Outcome.MISSING:
                    raise
        if refused and not self.leading:  # once
            log.warning(
                "may not read the label %s of %s: their machines take turns as those of one subscription; "
                "give get on namespaces",
                LABEL_SUBSCRIPTION,
                ", ".join(refused),
            )
        self.world.subscriptions.refused(refused)
        for raw in found:
            self.world.namespaces.put(raw)

    # ------------------------------------------------------------------ our own kinds

    def seen(self, kind: Kind, event_type: str | None, raw: dict[str, Any]) -> None:
        """kopf saw one of our objects; ``event_type`` is None when it was listed."""
        store = self.world.store_of(kind)
        raw.setdefault("apiVersion", kind.api_version)
        raw.setdefault("kind", kind.kind)
        if event_type == "DELETED":
            store.gone(raw)
            return
        store.put(raw)
        if event_type is None:
            self._sweep_soon.set()

    async def _keep_swept(self) -> None:
        wait, failing_since = SWEEP_SECONDS, None
        while True:
            self._sweep_soon.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._sweep_soon.wait()
                await asyncio.sleep(1.0)  # a list brings many objects: one sweep for all
            except TimeoutError:
                pass
            try:
                await self._sweep()
                if self._gets_namespaces:
                    await self._get_namespaces()
            except Refusal as refusal:
                log.warning("could not list our objects, tried again: %s", refusal)
                now = time.monotonic()
                failing_since = failing_since or now
                if now - failing_since > self._settings.watch_patience:
                    why = f"{refusal}{BIND_ROLE}" if refusal.outcome is Outcome.FORBIDDEN else refusal
                    away = f"{self._settings.watch_patience:g} s"
                    raise WatchLost(f"our own objects can't be listed for {away} now: {why}") from refusal
                wait = SWEEP_AGAIN_SECONDS
            else:
                wait, failing_since = SWEEP_SECONDS, None
                self.world.turns.remind()

    async def _sweep(self) -> None:
        """Make the stores of our kinds the same as the API server."""
        namespaces = self._settings.watched_namespaces or ("",)
        for kind in OURS:
            store = self.world.store_of(kind)
            for namespace in namespaces:
                listing = store.listing(namespace)
                version = ""
                async for items, listed in self._cluster.pages(kind, namespace):
                    for item in items:
                        listing.add(item)
                    version = listed
                listing.end(int(version))

    # ------------------------------------------------------------------ the queue

    def _wake(self, work: Work, urgency: Urgency) -> None:
        if urgency is Urgency.LATER:
            self._queue.add_after(work, LATER_SECONDS)
        else:
            self._reconciler.woken(work)
            self._queue.add(work, at_once=urgency is Urgency.AT_ONCE, afresh=urgency is Urgency.AFRESH)

    def _again(self, work: Work, seconds: float) -> None:
        if seconds <= 0:
            self._queue.add(work)
        else:
            self._queue.add_after(work, seconds)

    # ------------------------------------------------------------------ tasks

    def _spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception() or RuntimeError(f"{task.get_name()} ended")
        if self.failure is None:
            self.failure = error
            log.error("stopping, because %s: %s", task.get_name(), error, exc_info=error if _is_bug(error) else None)
            self.stopped.set()


def _all_fresh_since(reflectors: Iterable[Reflector]) -> datetime | None:
    """Since when none of them has been without its watch; None while one is."""
    latest: datetime | None = None
    for reflector in reflectors:
        if reflector.fresh_since is None:
            return None
        latest = max(latest, reflector.fresh_since) if latest is not None else reflector.fresh_since
    return latest


def _is_bug(error: BaseException) -> bool:
    return not isinstance(error, LeadershipLost | Refusal | WatchLost | served.NamespacesChanged)
