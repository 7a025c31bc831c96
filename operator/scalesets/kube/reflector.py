"""Keeps a store the same as the API server for one kind: list, then watch, for ever (docs/design.md, "What kopf does
here").

The bytes of the watch are split into lines and decoded once per event; the store turns them into what it keeps. What
a list doesn't hold any more is taken out of the store (nobody else tells after a gap). A 410 means list again; a
dropped or silent connection means watch again from the last version seen, with back-off and jitter. A watch that
doesn't come back for good ends it: who can't see would only limp.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import orjson

from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import Kind
from scalesets.kube.settings import WATCH_PATIENCE

log = logging.getLogger(__name__)

WATCH_SECONDS = 300
"""How long the server holds a watch; spread a little, so that not all end at once."""
SILENCE_SECONDS = 90.0
"""Bookmarks come about once a minute. A watch without a byte for longer is dead, whatever TCP says."""
BIND_ROLE = "; bind the ClusterRole scaleset-operator to the operator's ServiceAccount"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0
_HOLDS_SECONDS = 5.0
"""A watch that was open for so long works, also when nothing happened in it."""


class WatchLost(Exception):  # noqa: N818
    """A kind can't be watched for good: what is known of it isn't the truth any more."""


class Listing(Protocol):
    """One listing of all objects, page by page."""

    def add(self, raw: dict[str, Any]) -> None:
        """An object that is there."""

    def end(self, version: int) -> None:
        """That was all, as of this resourceVersion: what was not named is gone."""


class Sink(Protocol):
    """What a reflector feeds."""

    def listing(self, namespace: str) -> Listing:
        """All objects (of the namespace, if named) are about to be listed."""

    def put(self, raw: dict[str, Any]) -> Any:
        """An object was added or changed."""

    def gone(self, raw: dict[str, Any]) -> Any:
        """An object was deleted."""


class Reflector:
    """List and watch of one kind in one namespace ("" for all)."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        sink: Sink,
        *,
        namespace: str = "",
        selector: str = "",
        silence: float = SILENCE_SECONDS,
        patience: float = WATCH_PATIENCE,
    ) -> None:
        self._cluster = cluster
        self.kind = kind
        self._sink = sink
        self._namespace = namespace
        self._selector = selector
        self._silence = silence
        self._patience = patience
        self._worked_at = 0.0  # when the watch was last known to work, by the monotonic clock
        self._version = ""
        self.synced = asyncio.Event()
        self.fresh_since: datetime | None = None
        """Since when the watch has not been broken; None while it is."""
        self.lists = 0
        self.events = 0

    def __str__(self) -> str:
        return f"{self.kind.plural} in {self._namespace or 'all namespaces'}"

    async def run(self) -> None:
        """Follow the API server until cancelled; ``WatchLost`` when it can't be followed for as long as is bearable."""
        pause = _FIRST_PAUSE
        self._worked_at = time.monotonic()
        while True:
            before = self.events
            why: object = "it ended at once"
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Refusal as refusal:
                self.fresh_since = None
                why = f"{refusal}{BIND_ROLE}" if refusal.outcome is Outcome.FORBIDDEN else refusal
                if refusal.outcome is Outcome.GONE:
                    log.info("%s: the last version seen is too old, listing again", self)
                    self._version = ""
                else:
                    log.warning("%s: %s; again in %.1f s", self, refusal, pause)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self.fresh_since = None
                why = str(error) or type(error).__name__
                log.info("%s: watch broken (%s); again in %.1f s", self, why, pause)
            if self.events > before:
                pause = _FIRST_PAUSE
            if time.monotonic() - self._worked_at > self._patience:
                raise WatchLost(f"{self} can't be watched for {self._patience:g} s now: {why}")
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _list(self) -> None:
        listing = self._sink.listing(self._namespace)
        version = ""
        async for items, listed in self._cluster.pages(self.kind, self._namespace, selector=self._selector):
            for item in items:
                listing.add(item)
            version = listed
        listing.end(int(version))
        self._version = version
        self.lists += 1
        self.synced.set()

    async def _watch(self) -> None:
        """Follow one watch to its end."""
        seconds = int(WATCH_SECONDS * random.uniform(0.8, 1.2))
        opened = self._cluster.watch(
            self.kind,
            self._namespace,
            selector=self._selector,
            version=self._version,
            seconds=seconds,
            silence=self._silence,
        )
        async with opened as chunks:
            self.fresh_since = self.fresh_since or datetime.now(UTC)
            opened_at = time.monotonic()
            rest = b""
            try:
                async for chunk in chunks:
                    *lines, rest = (rest + chunk).split(b"\n") if rest else chunk.split(b"\n")
                    for line in lines:
                        if line:
                            self._event(orjson.loads(line))
                    self._worked_at = time.monotonic()
            finally:
                if (now := time.monotonic()) - opened_at >= _HOLDS_SECONDS:
                    self._worked_at = now

    def _event(self, event: dict[str, Any]) -> None:
        kind, raw = event["type"], event["object"]
        if kind == "ERROR":
            code = raw.get("code") or 500
            outcome = Outcome.GONE if code == 410 else Outcome.BUSY
            raise Refusal(outcome, raw.get("message") or "the watch ended with an error", status=code)
        self.events += 1
        if kind == "DELETED":
            self._sink.gone(raw)
        elif kind != "BOOKMARK":
            self._sink.put(raw)
        self._version = raw["metadata"]["resourceVersion"]
