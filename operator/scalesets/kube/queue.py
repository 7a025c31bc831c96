"""A work queue of keys: one worker per key at a time, each key at most once in it, and again at a given time.

A key that is added while it is worked on is worked on again after that. A key that fails waits longer each time,
alone: others don't starve. A key may ask not to be looked at again before some moment (``settle``), so that a storm
of events costs a few decisions instead of one each; a key that was quiet is taken at once, and so is one for which an
event came that is worth a decision of its own.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.1, 60.0


@dataclass(frozen=True, slots=True)
class Again:
    """What the work on a key answers."""

    after: float | None = None  # seconds until time alone calls for another look
    settle: float = 0.0  # seconds in which new events wait
    at_once: bool = False  # there is more to do already
    failed: bool = False  # back off
    forget: bool = False  # the object is gone


class Meter(Protocol):
    """Told how long keys wait, and how long the work on them takes (seconds)."""

    def taken(self, seconds: float) -> None:
        """A key is taken, after it waited so long."""

    def worked(self, seconds: float, *, failed: bool) -> None:
        """The work on it is over."""

    def follow_queue(self, depth: Callable[[], int]) -> None:
        """Whom to ask how many keys wait."""


class _State:
    __slots__ = ("due", "failures", "queued", "queued_at", "running", "settled", "timer", "urgent", "wanted")

    def __init__(self) -> None:
        self.queued = False
        self.queued_at = 0.0
        self.running = False
        self.wanted = False  # added while running
        self.urgent = False  # … and not to wait until it settles
        self.failures = 0
        self.settled = 0.0  # events wait until then
        self.timer: asyncio.TimerHandle | None = None
        self.due = 0.0  # when the timer fires


class WorkQueue(Generic[K]):
    """Runs ``work(key)`` for keys that were added. ``work`` answers ``Again``; an exception means ``failed``."""

    def __init__(self, work: Callable[[K], Awaitable[Again]], *, workers: int = 16, meter: Meter | None = None) -> None:
        self._work = work
        self._meter = meter
        self._workers = workers
        self._busy = 0
        self._states: dict[K, _State] = {}
        self._ready: deque[K] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False
        self._idle = asyncio.Event()
        self._idle.set()
        if meter is not None:
            meter.follow_queue(lambda: len(self._ready))

    def start(self) -> None:
        """Begin to work on what was added."""
        self._open = True
        self._dispatch()

    async def stop(self) -> None:
        """Take nothing new and wait for what is being worked on."""
        self._open = False
        for state in self._states.values():
            if state.timer is not None:
                state.timer.cancel()
        await self._idle.wait()

    def add(self, key: K, *, at_once: bool = False, afresh: bool = False) -> None:
        """Something about the key changed. ``at_once``: don't wait until it settles (but back off after failures);
        ``afresh``: it may be what made it fail, so it doesn't back off any more.
        """
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State()
        if afresh and state.failures:
            state.failures, state.settled = 0, 0.0
        if state.running:
            state.wanted = True
            state.urgent |= at_once
        elif not state.queued:
            now = asyncio.get_running_loop().time()
            if now >= state.settled or (at_once and not state.failures):
                self._enqueue(key, state)
            else:
                self._at(key, state, state.settled, now)

    def add_after(self, key: K, seconds: float) -> None:
        """Look at the key in some seconds at the latest."""
        state = self._states.setdefault(key, _State())
        if not state.queued:
            now = asyncio.get_running_loop().time()
            self._at(key, state, now + max(0.0, seconds), now)

    def _at(self, key: K, state: _State, when: float, now: float) -> None:
        if state.timer is not None:
            if state.due <= when:
                return
            state.timer.cancel()
        state.due = when
        state.timer = asyncio.get_running_loop().call_later(max(0.0, when - now), self._fire, key)

    def _fire(self, key: K) -> None:
        state = self._states.get(key)
        if state is None:
            return
        state.timer = None
        if state.running:
            state.wanted = True
        elif not state.queued:
            self._enqueue(key, state)

    def _enqueue(self, key: K, state: _State) -> None:
        state.queued = True
        state.queued_at = time.monotonic()
        if state.timer is not None:
            state.timer.cancel()
            state.timer = None
        self._ready.append(key)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._open and self._ready and self._busy < self._workers:
            key = self._ready.popleft()
            state = self._states[key]
            state.queued, state.running, state.wanted, state.urgent = False, True, False, False
            self._busy += 1
            self._idle.clear()
            task = asyncio.get_running_loop().create_task(self._run(key, state))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, key: K, state: _State) -> None:
        began = time.monotonic()
        if self._meter is not None:
            self._meter.taken(began - state.queued_at)
        try:
            again = await self._work(key)
        except Exception:
            log.exception("%s: unexpected; the others go on, this is tried again", key)
            again = Again(failed=True)
        finally:
            state.running = False
            self._busy -= 1
            if not self._busy:
                self._idle.set()
        if self._meter is not None:
            self._meter.worked(time.monotonic() - began, failed=again.failed)
        self._finish(key, state, again)
        self._dispatch()

    def _finish(self, key: K, state: _State, again: Again) -> None:
        if not self._open:
            return
        now = asyncio.get_running_loop().time()
        if again.failed:
            state.failures += 1
            pause = min(FIRST_BACK_OFF * 2 ** min(state.failures - 1, 20), LONGEST_BACK_OFF) * random.uniform(
                0.75, 1.25
            )
            state.settled = now + pause
            self._at(key, state, state.settled, now)
            return
        state.failures = 0
        if again.forget and not state.wanted:
            del self._states[key]
            return
        state.settled = now + again.settle
        if again.at_once or state.urgent:
            self._enqueue(key, state)
            return
        if state.wanted:
            self._at(key, state, state.settled, now)
        if again.after is not None:
            self._at(key, state, now + max(0.0, again.after), now)
