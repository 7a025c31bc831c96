"""One look at one object: gather what is known, decide, write, act (docs/design.md, "The shape").

The decision itself is the engine's, what becomes of it execution.py's; here is how often and from what it is made.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from scalesets.engine.decide import decide
from scalesets.engine.decision import Decision, Event
from scalesets.engine.groups import as_one_set, decide_group
from scalesets.engine.view import SetView
from scalesets.kube import tracing, views
from scalesets.kube.at_work import awaited, models_at_work
from scalesets.kube.catalogue_status import CatalogueStatus
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.credentials import Credentials
from scalesets.kube.discovery import Discovery
from scalesets.kube.execution import Execution
from scalesets.kube.fleet import utc_now
from scalesets.kube.groundwork import Groundwork, without_model
from scalesets.kube.kinds import EXTENSIONS, IMAGES
from scalesets.kube.kubelets import Kubelets, is_near
from scalesets.kube.memory import Memory
from scalesets.kube.names import Raw, is_group
from scalesets.kube.performer import Performer
from scalesets.kube.queue import Again
from scalesets.kube.recorder import Recorder
from scalesets.kube.seen import Key, Seen
from scalesets.kube.settings import Settings
from scalesets.kube.tidying import Tidying
from scalesets.kube.work import Topic, Work
from scalesets.kube.world import World
from scalesets.kube.writes import Writer

log = logging.getLogger(__name__)

SHARE_OF_TIME = 60
"""Decisions about one set take at most one part in so many of the time while events pour in."""
SHORTEST_SETTLE, LONGEST_SETTLE = 0.005, 0.1

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
        self._groundwork = Groundwork(cluster, world)
        self.discovery = Discovery(
            cluster, settings, wake=lambda kind, key: again(Work(_TOPICS[kind], *key), 0.0), meter=cluster.metrics
        )
        self._catalogue_status = CatalogueStatus(cluster, world, settings, recorder, self.discovery)
        self._performer = Performer(cluster, world, again=lambda key, s: again(Work(Topic.SCALE_SET, *key), s))
        self._tidying = Tidying(cluster, world, self._performer.disks)
        self._kubelets = Kubelets(cluster)
        self._execution = Execution(
            self._performer,
            Writer(cluster, world, settings, recorder),
            self._tidying,
            Credentials(cluster, settings, recorder),
            recorder,
            concurrency=settings.concurrency,
            fresh_for=lambda: self._kubelets.fresh_for,
            again=lambda context: again(Work(Topic.SCALE_SET, *context.key), 0.0),
        )
        self.pool = self._execution.pool
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
                return await self._catalogue_status.look(IMAGES, self._world.images, key)
            return await self._catalogue_status.look(EXTENSIONS, self._world.extensions, key)
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
            await self._tidying.let_go(key)
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
            view = replace(view, troubles=(*memory.troubles.all(now), *seen.circumstances))
        view = without_model(view, seen, memory)
        if is_near(view, now):
            if not self._kubelets.fresh_for:
                await self._learn_kubelets(seen.scale_set)
                return Again(at_once=True)
            view = replace(view, unpatchable=self._kubelets.unpatchable(view.instances))
        built = time.monotonic()
        if view.names:
            view = replace(view, held_back=self._world.turn(key))
        decision = decide(view, now)
        if view.names:
            self._world.turns.decided(key, view, decision)
        ended = time.monotonic()
        self._cluster.stats.sample("build_view", (built - started) * 1000)
        self._cluster.stats.sample("decide", (ended - built) * 1000)
        self._decided(ended - started)
        settle = min(max((time.thread_time() - cpu) * SHARE_OF_TIME, SHORTEST_SETTLE), LONGEST_SETTLE)
        context = Context(key, seen, view, memory)
        _remember_limit(memory, decision, now)
        self._note_ready(view, memory, now)
        if not view.deleting and (await self._performer.adopt(context)):
            return Again(at_once=True)
        return await self._execution.carry_out(
            context, decision, now, settle=settle, since=woken or started, observed=observed
        )

    def _note_ready(self, view: SetView, memory: Memory, now: datetime) -> None:
        """Who of the running batch is Ready now, and was made anew and awaited."""
        before, memory.awaited = memory.not_ready, awaited(view)
        memory.not_ready = set(memory.awaited)
        upgrade = view.current_upgrade
        running = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
        if upgrade is None or running is None or running.extension:
            return
        for ordinal in before - memory.not_ready - running.failed:
            if ordinal in running.members:
                self._cluster.metrics.became_ready(upgrade.type.value, (now - running.start).total_seconds())

    def _waits_for_place(self, seen: Seen) -> bool:
        group = self._world.group_of(seen.scale_set)
        joins = group is not None and self._world.is_member(seen.scale_set, self._world.owner(group))
        return joins and seen.update_domain is None

    async def _look_at_group(self, key: Key, memory: Memory) -> Again:
        """An availability set: its upgrades only, its machines tend themselves."""
        started, now = time.monotonic(), utc_now()
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
        self._decided(time.monotonic() - started)
        _remember_limit(memory, decision, now)
        context = Context(key, seen, view, memory)
        return await self._execution.carry_out(
            context, decision, now, settle=SHORTEST_SETTLE, since=time.monotonic(), observed=observed
        )

    def _decided(self, seconds: float) -> None:
        self._cluster.metrics.decided(seconds)
        tracing.decided(seconds)

    async def _learn_kubelets(self, scale_set: Raw) -> None:
        if words := await self._kubelets.learn():
            self._recorder.tell(scale_set, Event("NodesNotChecked", words))


def _remember_limit(memory: Memory, decision: Decision, now: datetime) -> None:
    """Since when the set has been within its limit of unhealthy instances (O11)."""
    if not decision.within_limit:
        memory.within_limit_since = None
    elif memory.within_limit_since is None:
        memory.within_limit_since = now
