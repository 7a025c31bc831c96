"""What becomes of a decision: its writes, then its actions, and when the set is looked at again.

Status writes that only inform are held back, so that a batch costs at most four of them however many instances it
has. What can wait is tidied when nothing else is to be done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from scalesets.engine.decision import Action, Decision, Write, WriteSetStatus
from scalesets.kube import narration
from scalesets.kube.actions import ActionPool
from scalesets.kube.at_work import batch, begins_batch
from scalesets.kube.context import Context
from scalesets.kube.credentials import Credentials
from scalesets.kube.fleet import utc_now
from scalesets.kube.logs import FIELDS
from scalesets.kube.performer import Performer, held_back
from scalesets.kube.queue import Again
from scalesets.kube.recorder import Recorder
from scalesets.kube.tidying import Tidying
from scalesets.kube.writes import Result, Writer

log = logging.getLogger(__name__)

TROUBLE_SHOWN_AFTER = 0.2
"""Seconds until the next decision knows of a write's trouble. Not at once: what always fails must not spin."""
COUNTS_EVERY, COUNTS_EVERY_IN_BATCH = 1.0, 10.0
"""Seconds between status writes of mere counts: outside of batches, and while one runs."""


class Execution:
    """Carries out decisions; ``pool`` performs the actions, ``again`` asks for another look at a set."""

    def __init__(
        self,
        performer: Performer,
        writer: Writer,
        tidying: Tidying,
        credentials: Credentials,
        recorder: Recorder,
        *,
        concurrency: int,
        fresh_for: Callable[[], float],
        again: Callable[[Context], None],
    ) -> None:
        self._writer = writer
        self._tidying = tidying
        self._credentials = credentials
        self._recorder = recorder
        self._fresh_for = fresh_for  # seconds for which what is known of the nodes' kubelets is good
        self.pool: ActionPool[Context] = ActionPool(performer.perform, again, concurrency=concurrency)

    async def carry_out(
        self, context: Context, decision: Decision, now: datetime, *, settle: float, since: float, observed: int
    ) -> Again:
        """Store what was decided, then act on it; the answer says when to look again."""
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
        if begins_batch(context.view, writes) and context.memory.batch_since is None:
            context.memory.batch_since = since
        for event in decision.events:
            self._recorder.tell(context.scale_set, event)
        if (later is None and self._writer.passed(context)) or result is Result.STORED:
            return Again(at_once=True, settle=settle)
        stuck = None
        if not actions and not context.view.deleting and not context.view.is_group:
            news, stuck = await self._credentials.follow(context)
            if await self._tidying.tidy(context) or news:
                return Again(after=TROUBLE_SHOWN_AFTER, settle=settle)
        times = [t for t in (decision.look_again, held) if t is not None]
        waits = [(t - utc_now()).total_seconds() for t in times]
        waits.extend(wait for wait in (later, stuck) if wait is not None)
        if context.view.unpatchable:  # a node may be upgraded
            waits.append(self._fresh_for())
        return Again(after=min(waits, default=None), settle=settle)

    def _worth_writing(self, context: Context, writes: Sequence[Write]) -> tuple[list[Write], float | None]:
        """The writes without those of mere counts that can wait, and in how many seconds they are due."""
        if not any(isinstance(w, WriteSetStatus) and not w.urgent for w in writes):
            if any(isinstance(w, WriteSetStatus) for w in writes):
                context.memory.told_at = time.monotonic()
            return list(writes), None
        every = COUNTS_EVERY_IN_BATCH if batch(context.view)[1] else COUNTS_EVERY
        wait = context.memory.told_at + every - time.monotonic()
        if wait > 0:
            return [w for w in writes if not isinstance(w, WriteSetStatus)], wait
        context.memory.told_at = time.monotonic()
        return list(writes), None

    def _tell(self, context: Context, writes: Sequence[Write], actions: Sequence[Action]) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        fresh = self.pool.fresh(context.uid, actions)
        stored = narration.of_writes(writes, context.view.status.conditions)
        done = narration.of_actions(fresh)
        if not stored and not done:
            return
        namespace, name = context.api_key
        owner = {"kind": context.scale_set["kind"], "namespace": namespace, "name": name}
        fields = {**owner, "upgrade": context.view.status.current_upgrade, "stores": stored, "does": done}
        words = " → ".join(part for part in (stored, done) if part)
        log.info("%s/%s: %s", *context.key, words, extra={FIELDS: fields})


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
