"""Events on our objects: what people look for with `kubectl describe`, best effort.

Events never hold anything up: they are posted in the background, the same one within ten minutes once, and the oldest
are dropped when the API server is slower than we are. A set that flaps can't flood the cluster: of each reason it gets
25 events, then one in five minutes, which says how many were left out (as client-go's correlator limits them per
object, but so that many finished batches don't hide the one that failed).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from scalesets.engine.decision import Event
from scalesets.kube.client import Cluster, Refusal
from scalesets.kube.kinds import EVENTS, Kind, owner_kind
from scalesets.kube.logs import FIELDS
from scalesets.kube.names import FIELD_MANAGER, Raw

log = logging.getLogger(__name__)

SAME_WITHIN = 600.0
BURST = 25
REFILL_SECONDS = 300.0
_MOST_WAITING = 500
_MOST_REMEMBERED = 2_000
_LONGEST_NOTE = 1024


@dataclass(slots=True)
class _Bucket:
    """How many events of one reason a set may still have; one more comes every five minutes."""

    tokens: float
    filled_at: float
    left_out: int = 0

    def take(self, now: float) -> bool:
        self.tokens = min(self.tokens + (now - self.filled_at) / REFILL_SECONDS, BURST)
        self.filled_at = now
        if self.tokens < 1:
            self.left_out += 1
            return False
        self.tokens -= 1
        return True


class Recorder:
    """Posts events, one at a time, and logs each: in the cluster they are gone after an hour."""

    def __init__(self, cluster: Cluster, identity: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._identity = identity[:128]
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=_MOST_WAITING)
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()  # by UID and reason
        self._more = asyncio.Event()
        self._count = 0

    def tell(self, obj: Raw, event: Event, *, kind: Kind | None = None) -> None:
        """Post the event unless the same was told a short while ago, or too many of its reason."""
        metadata = obj["metadata"]
        same = (metadata["uid"], event.reason, event.message)
        now = self._clock()
        if now - self._told.get(same, -SAME_WITHIN) < SAME_WITHIN:
            return
        log.log(
            logging.WARNING if event.warning else logging.INFO,
            "%s/%s: %s: %s",
            metadata["namespace"],
            metadata["name"],
            event.reason,
            " ".join(event.message.split()),  # one line, whatever a container's last words were
            extra={FIELDS: _about(kind or owner_kind(obj), metadata, event)},
        )
        self._told[same] = now
        self._told.move_to_end(same)
        while len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)
        bucket = self._bucket((metadata["uid"], event.reason), now)
        if not bucket.take(now):
            log.debug("event %s of %s/%s left out", event.reason, metadata["namespace"], metadata["name"])
            return
        if bucket.left_out:
            event = replace(event, message=f"{event.message} ({bucket.left_out} of the kind were left out before)")
            bucket.left_out = 0
        self._waiting.append((metadata["namespace"], self._body(kind or owner_kind(obj), metadata, event)))
        self._more.set()

    def _bucket(self, key: tuple[str, str], now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(BURST, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > _MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        return bucket

    async def run(self) -> None:
        """Post what is told, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.flush()

    async def flush(self) -> None:
        """Post all that waits."""
        while self._waiting:
            namespace, body = self._waiting.popleft()
            try:
                await self._cluster.create(EVENTS, namespace, body)
            except Refusal as refusal:
                log.debug("event %s not posted: %s", body["reason"], refusal)

    async def close(self, seconds: float = 2.0) -> None:
        """Post what is left, if that is quick."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.flush()

    def _body(self, kind: Kind, metadata: Raw, event: Event) -> dict[str, Any]:
        self._count += 1
        now = datetime.now(UTC)
        note = event.message if len(event.message) <= _LONGEST_NOTE else event.message[: _LONGEST_NOTE - 1] + "…"
        unique = f"{time.time_ns():x}{self._count % 256:02x}"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": f"{metadata['name']}.{unique}", "namespace": metadata["namespace"]},
            "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"scalesets.dev/{FIELD_MANAGER}",
            "reportingInstance": self._identity,
            "action": event.reason,
            "reason": event.reason,
            "note": note,
            "type": "Warning" if event.warning else "Normal",
            "regarding": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }


def _about(kind: Kind, metadata: Raw, event: Event) -> dict[str, str]:
    """The fields of the log's line."""
    return {"kind": kind.kind, "namespace": metadata["namespace"], "name": metadata["name"], "reason": event.reason}
