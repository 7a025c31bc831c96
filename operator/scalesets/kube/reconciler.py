"""One look at one object: gather what is known, decide, write, act (docs/design.md, "The shape").

The decision itself is the engine's; here is what surrounds it: how often, from what, and what becomes of its answer.
Status writes that only inform are held back, so that a batch costs at most four of them however many instances it
has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from scalesets.engine.decide import decide
from scalesets.engine.decision import Action, Decision, Event, Write, WriteSetStatus, WriteUpgradeStatus
from scalesets.engine.groups import as_one_set, decide_group
from scalesets.engine.view import SetView, TroubleKind
from scalesets.kube import catalogues, discovered, models, narration, upgrades, views
from scalesets.kube.actions import ActionPool
from scalesets.kube.afresh import is_still_there, refresh
from scalesets.kube.cache import Store
from scalesets.kube.client import JSON_PATCH, Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.credentials import Credentials
from scalesets.kube.discovery import Discovery
from scalesets.kube.fleet import utc_now
from scalesets.kube.groundwork import Groundwork, without_model
from scalesets.kube.kinds import EXTENSIONS, IMAGES, REVISIONS, UPGRADES, Kind
from scalesets.kube.kubelets import Kubelets, is_near
from scalesets.kube.names import FINALIZER, Raw, is_group
from scalesets.kube.performer import Performer, held_back
from scalesets.kube.queue import Again
from scalesets.kube.recorder import Recorder
from scalesets.kube.seen import Key, Seen
from scalesets.kube.settings import Settings
from scalesets.kube.turns import begins
from scalesets.kube.world import Memory, Topic, Work, World
from scalesets.kube.writes import Result, Writer

log = logging.getLogger(__name__)

SHARE_OF_TIME = 60
"""Decisions about one set take at most one part in so many of the time while events pour in."""
SHORTEST_SETTLE, LONGEST_SETTLE = 0.005, 0.1
TROUBLE_SHOWN_AFTER = 0.2
"""Seconds until the next decision knows of a write's trouble. Not at once: what always fails must not spin."""
COUNTS_EVERY, COUNTS_EVERY_IN_BATCH = 1.0, 10.0
"""Seconds between status writes of mere counts: outside of batches, and while one runs."""

_TOPICS = {IMAGES: Topic.IMAGE, EXTENSIONS: Topic.EXTENSION}


class Reconciler:
    """The work of the queue."""

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        settings: Settings,
        recorder: Recorder,
        *,
        again: Callable[[Work, float], None],
    ) -> None:
        self._cluster = cluster
        self._world = world
        self._settings = settings
        self._recorder = recorder
        self._again = again
        self._groundwork = Groundwork(cluster, world)
        self._performer = Performer(cluster, world, again=lambda key, s: again(Work(Topic.SCALE_SET, *key), s))
        self._writer = Writer(cluster, world, settings, recorder)
        self._credentials = Credentials(cluster, settings, recorder)
        self._kubelets = Kubelets(cluster)
        self.discovery = Discovery(cluster, settings, wake=lambda kind, key: again(Work(_TOPICS[kind], *key), 0.0))
        self.pool: ActionPool[Context] = ActionPool(
            self._performer.perform,
            lambda context: again(Work(Topic.SCALE_SET, *context.key), 0.0),
            concurrency=settings.concurrency,
        )
        self._woken: dict[Work, float] = {}

    def woken(self, work: Work) -> None:
        """Something about the key changed just now."""
        self._woken[work] = time.monotonic()

    async def look(self, work: Work) -> Again:
        """Look at one object and do what is due."""
        key = (work.namespace, work.name)
        try:
            if work.topic is Topic.SCALE_SET:
                return await self._look_at_set(work, key)
            if work.topic is Topic.IMAGE:
                return await self._look_at_catalogue(IMAGES, self._world.images, key)
            return await self._look_at_catalogue(EXTENSIONS, self._world.extensions, key)
        except Refusal as refusal:
            if refusal.outcome is Outcome.FENCED:
                return Again(failed=True)  # the process ends soon; if it doesn't, nothing may be forgotten
            log.warning("%s: tried again later: %s", work, refusal)
            return Again(failed=True)

    # ------------------------------------------------------------------ scale sets

    async def _look_at_set(self, work: Work, key: Key) -> Again:
        woken = self._woken.pop(work, None)
        seen = self._world.see(key, utc_now())
        if seen is None:
            await self._let_go(key)
            return Again(forget=True)
        memory = self._world.memory(seen.scale_set["metadata"]["uid"])
        if is_group(seen.scale_set):
            return await self._look_at_group(key, memory)
        if self._waits_for_place(seen):
            return Again()  # its availability set gives it one, and wakes it
        if await self._groundwork.lay(seen, memory):
            return Again(at_once=True)
        started, cpu = time.monotonic(), time.thread_time()
        now = utc_now()
        observed = self.pool.observe()
        seen = self._world.see(key, now)
        if seen is None:
            return Again(at_once=True)
        view = views.build(seen, settings=self._settings)
        if memory.troubles and memory.troubles.forget_models_but(models_at_work(view)):
            lasting = (t for t in seen.troubles if t.kind is TroubleKind.NO_AVAILABILITY_SET)
            view = replace(view, troubles=(*memory.troubles.all(now), *lasting))
        view = without_model(view, seen, memory)
        if is_near(view, now):
            if not self._kubelets.fresh_for:
                await self._learn_kubelets(seen.scale_set)
                return Again(at_once=True)
            view = replace(view, unpatchable=self._kubelets.unpatchable(view.instances))
        built = time.monotonic()
        decision = decide(view, now)
        if view.names:
            if begins(decision) and (words := self._world.turn(key, view.location)):
                view = replace(view, held_back=words)
                decision = decide(view, now)
            self._world.turns.decided(key, view, decision)
        ended = time.monotonic()
        self._cluster.stats.sample("build_view", (built - started) * 1000)
        self._cluster.stats.sample("decide", (ended - built) * 1000)
        settle = min(max((time.thread_time() - cpu) * SHARE_OF_TIME, SHORTEST_SETTLE), LONGEST_SETTLE)
        context = Context(key, seen, view, memory)
        _remember_limit(memory, decision, now)
        memory.awaited = _awaited(view)
        if not view.deleting and (await self._performer.adopt(context)):
            return Again(at_once=True)
        return await self._carry_out(context, decision, now, settle=settle, since=woken or started, observed=observed)

    def _waits_for_place(self, seen: Seen) -> bool:
        group = self._world.group_of(seen.scale_set)
        return group is not None and self._world.owner(group) is not None and seen.update_domain is None

    async def _look_at_group(self, key: Key, memory: Memory) -> Again:
        """An availability set: its upgrades only, its machines tend themselves."""
        now = utc_now()
        observed = self.pool.observe()
        seen = self._world.see(key, now)
        if seen is None:
            return Again(at_once=True)
        view = views.build_group(seen, settings=self._settings)
        if is_near(as_one_set(view), now):
            if not self._kubelets.fresh_for:
                await self._learn_kubelets(seen.scale_set)
                return Again(at_once=True)
            view = replace(view, unpatchable=self._kubelets.unpatchable(view.instances))
        decision = decide_group(view, now)
        _remember_limit(memory, decision, now)
        context = Context(key, seen, view, memory)
        return await self._carry_out(
            context, decision, now, settle=SHORTEST_SETTLE, since=time.monotonic(), observed=observed
        )

    async def _carry_out(
        self, context: Context, decision: Decision, now: datetime, *, settle: float, since: float, observed: int
    ) -> Again:
        writes, later = self._worth_writing(context, decision.writes)
        actions, held = _ready(context, decision.actions, now)
        self._tell(context, writes, actions)
        result = await self._writer.perform(context, writes) if writes else Result.SAME
        if result in (Result.RETRY, Result.LOOK_AGAIN):  # backing off, for a conflict may come again and again
            self.pool.want(context.uid, context, (), observed=observed)
            return Again(failed=True)
        self.pool.want(context.uid, context, actions, observed=observed)
        if result is Result.REFUSED:  # what is stored already is still seen to
            return Again(failed=True)
        if result is Result.TROUBLE:
            return Again(after=TROUBLE_SHOWN_AFTER, settle=settle)
        if _begins_batch(context.view, writes) and context.memory.batch_since is None:
            context.memory.batch_since = since
        for event in decision.events:
            self._recorder.tell(context.scale_set, event)
        if (later is None and self._writer.passed(context)) or result is Result.STORED:
            return Again(at_once=True, settle=settle)
        stuck = None
        if not actions and not context.view.deleting and not context.view.is_group:
            news, stuck = await self._credentials.follow(context)
            if await self._tidy(context) or news:
                return Again(after=TROUBLE_SHOWN_AFTER, settle=settle)
        times = [t for t in (decision.look_again, held) if t is not None]
        waits = [(t - utc_now()).total_seconds() for t in times]
        waits.extend(wait for wait in (later, stuck) if wait is not None)
        if context.view.unpatchable:  # a node may be upgraded
            waits.append(self._kubelets.fresh_for)
        return Again(after=min(waits, default=None), settle=settle)

    async def _learn_kubelets(self, scale_set: Raw) -> None:
        if words := await self._kubelets.learn():
            log.warning("%s", words)
            self._recorder.tell(scale_set, Event("NodesNotChecked", words))

    def _worth_writing(self, context: Context, writes: Sequence[Write]) -> tuple[list[Write], float | None]:
        """The writes without those of mere counts that can wait, and in how many seconds they are due."""
        if not any(isinstance(w, WriteSetStatus) and not w.urgent for w in writes):
            if any(isinstance(w, WriteSetStatus) for w in writes):
                context.memory.told_at = time.monotonic()
            return list(writes), None
        every = COUNTS_EVERY_IN_BATCH if _batch(context.view)[1] else COUNTS_EVERY
        wait = context.memory.told_at + every - time.monotonic()
        if wait > 0:
            return [w for w in writes if not isinstance(w, WriteSetStatus)], wait
        context.memory.told_at = time.monotonic()
        return list(writes), None

    def _tell(self, context: Context, writes: Sequence[Write], actions: Sequence[Action]) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fresh = self.pool.fresh(context.uid, actions)
        parts = [part for part in (narration.of_writes(writes), narration.of_actions(fresh)) if part]
        if parts:
            log.info("%s/%s: %s", *context.key, " → ".join(parts))

    async def _tidy(self, context: Context) -> bool:
        """What can wait until nothing else is to be done: claims to expand, models that nothing uses.

        Whether there is news of trouble.
        """
        news = await self._performer.disks.follow(context)
        if context.view.status.current_upgrade:
            return news
        used = models.in_use(context.view)
        for name in models.prune(context.seen.revisions.values(), used):
            raw = self._world.revisions.get((context.key[0], name))
            if raw is not None:
                await self._delete_revision(raw)
        return news

    async def _delete_revision(self, raw: Raw) -> None:
        metadata = raw["metadata"]
        key = (metadata["namespace"], metadata["name"])
        try:
            await self._cluster.delete(REVISIONS, *key, uid=metadata["uid"])
        except Refusal as refusal:
            if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                raise
            await is_still_there(self._cluster, self._world.revisions, REVISIONS, key, metadata["uid"])
        else:
            self._world.revisions.vanished(key, metadata["uid"])

    async def _let_go(self, key: Key) -> None:
        """The set doesn't exist: RollingUpgrades that are being deleted must not wait for it."""
        for upgrade in self._world.upgrades_of(key):
            metadata = upgrade["metadata"]
            if not metadata.get("deletionTimestamp") or FINALIZER not in (metadata.get("finalizers") or ()):
                continue
            version = {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
            try:
                await self._cluster.patch(
                    UPGRADES, key[0], metadata["name"], [version, *upgrades.release_patch(upgrade)], how=JSON_PATCH
                )
                self._world.upgrades.vanished((key[0], metadata["name"]), metadata["uid"])
            except Refusal as refusal:
                if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                    raise
                await refresh(self._cluster, self._world.upgrades, UPGRADES, (key[0], metadata["name"]))

    # ------------------------------------------------------- images and extensions

    async def _look_at_catalogue(self, kind: Kind, store: Store[Raw], key: Key) -> Again:
        raw = store.get(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self.discovery.forget(kind, key)
            return Again(forget=raw is None)
        now = utc_now()
        status, look_again = catalogues.describe(
            raw,
            self._world.catalogue(store, key[0]),
            locations=self._world.locations(),
            settings=self._settings,
            now=now,
            finding=self.discovery.follow(kind, raw),
        )
        if status is not None:
            version = raw["metadata"]["resourceVersion"]
            try:
                store.put(await self._cluster.write_status(kind, *key, status, version=version))
                for event in discovered.events(raw, {"status": status}):
                    log.info("%s %s/%s: %s", kind.plural, *key, event.message)
                    self._recorder.tell(raw, event, kind=kind)
            except Refusal as refusal:
                if refusal.outcome in (Outcome.INVALID, Outcome.FORBIDDEN):
                    words = f"the status was not stored: {refusal.message}"
                    self._recorder.tell(raw, Event("WriteRefused", words, warning=True), kind=kind)
                if refusal.outcome not in (Outcome.CONFLICT, Outcome.MISSING):
                    raise
                await refresh(self._cluster, store, kind, key)
                return Again(at_once=True)
        return Again(after=(look_again - now).total_seconds() if look_again is not None else None)


def _ready(context: Context, actions: Sequence[Action], now: datetime) -> tuple[list[Action], datetime | None]:
    """The actions that may be tried now, and when the next of the others may."""
    if not context.memory.retries:
        return list(actions), None
    ready: list[Action] = []
    times: list[datetime] = []
    for action in actions:
        until = held_back(context, action.ordinal, now)
        if until is None:
            ready.append(action)
        else:
            times.append(until)
    return ready, min(times, default=None)


def _remember_limit(memory: Memory, decision: Decision, now: datetime) -> None:
    """Since when the set has been within its limit of unhealthy instances (O11)."""
    if not decision.within_limit:
        memory.within_limit_since = None
    elif memory.within_limit_since is None:
        memory.within_limit_since = now


def _batch(view: SetView) -> tuple[str, int]:
    """The running batch: its upgrade's name and its number; 0 without one."""
    upgrade = view.current_upgrade
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return (upgrade.name, batch.number) if upgrade is not None and batch is not None else ("", 0)


def models_at_work(view: SetView) -> set[str]:
    """The models that the set is on or on its way to, or that missing instances come back to: what was wrong with
    others is past.
    """
    found = {view.model.name if view.model is not None else ""}
    wanted = [view.status.record]
    upgrade = view.current_upgrade
    if upgrade is not None and upgrade.status is not None:
        found.add(upgrade.status.target.model)
        if (batch := upgrade.status.running_batch) is not None:
            wanted.append(batch.members)
    found.update(release.model for some in wanted for o, release in some.items() if o not in view.instances)
    return found


def _awaited(view: SetView) -> set[int]:
    """The members of the running batch that are not Ready: it ends with the last of them, or by time."""
    upgrade = view.current_upgrade
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    if batch is None:
        return set()
    given_up = batch.failed - batch.rolled_back
    return {
        ordinal
        for ordinal in batch.members
        if ordinal not in given_up and not ((instance := view.instances.get(ordinal)) and instance.healthy)
    }


def _begins_batch(view: SetView, writes: Sequence[Write]) -> bool:
    """Whether the writes ended a batch and began the next."""
    name, number = _batch(view)
    for write in writes:
        if isinstance(write, WriteUpgradeStatus) and write.name == name:
            after = write.status.running_batch
            return after is not None and after.number > number > 0
    return False
