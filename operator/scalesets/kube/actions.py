"""Performs the actions of decisions side by side, a bounded number at a time and in turn over the sets.

The last decision about a set says what is wanted: what it doesn't name any more and wasn't sent yet is dropped. While
an action on an instance is under way, others on the same instance wait for its answer and the decision that follows.
So decisions go on while a batch is being taken down, and no action outlives the state that it was decided from by
more than one request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from scalesets.engine.decision import Action

log = logging.getLogger(__name__)

C = TypeVar("C")

_REMEMBERED = 10_000
"""Actions done that are remembered; many more than end while one decision is being stored."""


class _Line(Generic[C]):
    """The actions of one set that wait, and the ordinals whose action is under way."""

    __slots__ = ("busy", "context", "missed", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Action] = deque()
        self.context: C | None = None
        self.busy: set[int] = set()
        self.missed: set[int] = set()  # ordinals that were busy when another action was wanted for them


class ActionPool(Generic[C]):
    """Runs ``perform(context, action)`` for each action.

    ``free(context)`` is called when an instance is free again for which more was wanted.
    """

    def __init__(
        self, perform: Callable[[C, Action], Awaitable[None]], free: Callable[[C], None], *, concurrency: int
    ) -> None:
        self._perform = perform
        self._free = free
        self._slots = concurrency
        self._lines: dict[str, _Line[C]] = {}
        self._done: deque[tuple[int, str, int]] = deque(maxlen=_REMEMBERED)  # number, set and ordinal of what was done
        self._count = 0
        self._turn: deque[str] = deque()  # sets with waiting actions
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def observe(self) -> int:
        """A view is being taken: what is done from now on, it doesn't know. Give the answer to ``want``."""
        return self._count

    def want(self, set_uid: str, context: C, actions: Iterable[Action], *, observed: int) -> int:
        """These actions, and no others that wait, are wanted now. How many were taken.

        What was done to an instance since ``observe`` makes its action out of date; the set is looked at again for it.
        """
        line = self._lines.get(set_uid)
        wanted = [] if self._closed else list(actions)
        if line is None:
            if not wanted:
                return 0
            line = self._lines[set_uid] = _Line()
        was_waiting = bool(line.waiting)
        done = self._done_since(set_uid, observed)
        fresh = [action for action in wanted if action.ordinal not in line.busy and action.ordinal not in done]
        line.missed = {action.ordinal for action in wanted if action.ordinal in line.busy}
        if any(action.ordinal in done for action in wanted):
            self._free(context)
        line.waiting = deque(fresh)
        line.context = context
        if fresh and not was_waiting:
            self._turn.append(set_uid)
        self._dispatch()
        self._tidy(set_uid, line)
        return len(fresh)

    def fresh(self, set_uid: str, actions: Iterable[Action]) -> list[Action]:
        """Those that are neither under way nor waiting already."""
        line = self._lines.get(set_uid)
        if line is None:
            return list(actions)
        known = line.busy | {action.ordinal for action in line.waiting}
        return [action for action in actions if action.ordinal not in known]

    def busy(self, set_uid: str) -> int:
        """How many actions of the set are under way or wait."""
        line = self._lines.get(set_uid)
        return len(line.busy) + len(line.waiting) if line is not None else 0

    async def drain(self) -> None:
        """Send nothing more and wait for what is under way (each request ends by its timeout)."""
        self._closed = True
        self._turn.clear()
        for line in self._lines.values():
            line.waiting.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        while self._slots > 0 and self._turn:
            set_uid = self._turn.popleft()
            line = self._lines.get(set_uid)
            if line is None or not line.waiting:
                continue
            action = line.waiting.popleft()
            if line.waiting:
                self._turn.append(set_uid)
            assert line.context is not None
            line.busy.add(action.ordinal)
            self._slots -= 1
            task = loop.create_task(self._run(set_uid, line, line.context, action))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, set_uid: str, line: _Line[C], context: C, action: Action) -> None:
        try:
            await self._perform(context, action)
        except Exception:
            log.exception("%s failed unexpectedly", action)
            line.missed.add(action.ordinal)
        finally:
            line.busy.discard(action.ordinal)
            self._count += 1
            self._done.append((self._count, set_uid, action.ordinal))
            self._slots += 1
        if action.ordinal in line.missed and not self._closed:
            line.missed.discard(action.ordinal)
            self._free(context)
        self._dispatch()
        self._tidy(set_uid, line)

    def _done_since(self, set_uid: str, observed: int) -> set[int]:
        done = set()
        for number, of_set, ordinal in reversed(self._done):
            if number <= observed:
                break
            if of_set == set_uid:
                done.add(ordinal)
        return done

    def _tidy(self, set_uid: str, line: _Line[C]) -> None:
        if not line.busy and not line.waiting and self._lines.get(set_uid) is line:
            del self._lines[set_uid]
