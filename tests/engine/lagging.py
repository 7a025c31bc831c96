"""A watch that lags: what others did to pods is seen late, the operator's own writes at once (docs/design.md,
"Crash-safe by writing the intent first").

It keeps the rules of the operator's cache: entries are told apart by UID, older states never replace newer ones, and
the end of a pod counts for the entry with its UID only.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from scalesets.engine.view import Instance


class Lagging:
    """The pods as the operator sees them."""

    def __init__(self, lag: timedelta) -> None:
        self.lag = lag
        self._versions = itertools.count(1)
        self._entries: dict[int, tuple[int, Instance]] = {}  # what is seen, with its version
        self._stored: dict[int, Instance] = {}  # what is known to be stored: the end of the stream
        self._coming: deque[tuple[datetime, int, int, Instance, bool]] = deque()  # due, version, ordinal, state, gone

    def follow(self, stored: Mapping[int, Instance], now: datetime) -> None:
        """Others changed something: it is on its way."""
        for ordinal in self._stored.keys() | stored.keys():
            before, after = self._stored.get(ordinal), stored.get(ordinal)
            if before is not None and (after is None or after.uid != before.uid):
                self._coming.append((now + self.lag, next(self._versions), ordinal, before, True))
            if after is not None and after != before:
                self._coming.append((now + self.lag, next(self._versions), ordinal, after, False))
        self._stored = dict(stored)

    def wrote(self, ordinal: int, state: Instance) -> None:
        """The answer of the operator's own write."""
        self._stored[ordinal] = state
        self._entries[ordinal] = (next(self._versions), state)

    def vanished(self, ordinal: int, uid: str) -> None:
        """A write found that the pod is gone."""
        known = self._entries.get(ordinal)
        if known is not None and known[1].uid == uid:
            del self._entries[ordinal]

    def seen(self, now: datetime) -> dict[int, Instance]:
        """What has arrived by now."""
        while self._coming and self._coming[0][0] <= now:
            _, version, ordinal, state, gone = self._coming.popleft()
            known, entry = self._entries.get(ordinal, (0, None))
            if gone and entry is not None and entry.uid == state.uid:
                del self._entries[ordinal]
            elif not gone and version > known:
                self._entries[ordinal] = (version, state)
        return {ordinal: entry for ordinal, (_, entry) in self._entries.items()}

    def arrivals(self) -> Iterable[datetime]:
        """When something arrives."""
        return (due for due, *_ in self._coming)
