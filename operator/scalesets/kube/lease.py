"""Leader election on a Lease: of several operators only one acts (docs/design.md, "What kopf does here").

Time is the monotonic clock of this process, never the Lease's: others' renewals are timed from when they were *seen*
to change. The leader stops writing ``RENEW_DEADLINE`` after it last began a renewal that succeeded; with the timeout
of a write that ends before a follower may take over. A leader that lost the Lease doesn't follow: the process ends
and starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import LEASES

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
RENEW_DEADLINE = 10.0
RETRY_SECONDS = 2.0


class LeadershipLost(Exception):  # noqa: N818
    """Another operator leads, or the Lease couldn't be renewed in time."""


class Lease:
    """One candidate for leadership."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        lease_seconds: float = LEASE_SECONDS,
        renew_deadline: float = RENEW_DEADLINE,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry_seconds = retry_seconds
        self._seen: dict[str, Any] | None = None  # the Lease as last seen …
        self._seen_change: tuple[Any, ...] = ()
        self._changed_at = 0.0  # … and when it was seen to change
        self._renewed_at: float | None = None  # when the last successful renewal began; None while not leading
        self.holder = ""

    def may_write(self) -> bool:
        """Whether this operator leads for certain: the fence of every write."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < self._renew_deadline

    async def win(self) -> None:
        """Wait until this operator leads."""
        said = ""
        while not await self._try():
            if self.holder != said:
                said = self.holder
                log.info("waiting: %s leads", said or "nobody yet, but the Lease isn't free,")
            await asyncio.sleep(self._retry_seconds * random.uniform(0.8, 1.2))
        log.info("leading as %s", self.identity)

    async def keep(self) -> None:
        """Renew for as long as it lasts; ends with ``LeadershipLost``."""
        while True:
            await asyncio.sleep(self._retry_seconds)
            left = (self._renewed_at or 0.0) + self._renew_deadline - self._clock()
            if left <= 0:
                self._renewed_at = None
                raise LeadershipLost(
                    f"the Lease {self._namespace}/{self._name} could not be renewed for {self._renew_deadline:g} s"
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    if not await self._try() and self.holder != self.identity and self._renewed_at is None:
                        raise LeadershipLost(
                            f"{self.holder or 'another operator'} took the Lease {self._namespace}/{self._name}"
                        )

    async def release(self) -> None:
        """Let the next one lead at once."""
        if not self.may_write() or self._seen is None:
            return
        self._renewed_at = None
        spec = {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_now()}
        with contextlib.suppress(Refusal):
            await self._cluster.replace(LEASES, self._namespace, self._name, {**self._seen, "spec": spec})
            log.info("leadership released")

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is ours now. Trouble counts as no."""
        began = self._clock()
        try:
            if self._renewed_at is not None and self._seen is not None:
                try:
                    await self._write(self._seen, taking=False)
                    self._renewed_at = began
                    return True
                except Refusal as refusal:
                    if refusal.outcome is not Outcome.CONFLICT:
                        raise
            lease = await self._read()
            if lease is None:
                await self._create()
            elif self._free(lease, began):
                await self._write(lease, taking=self.holder != self.identity)
            else:
                self._renewed_at = None  # someone else wrote their name into it
                return False
        except Refusal as refusal:
            level = logging.DEBUG if refusal.outcome in (Outcome.CONFLICT, Outcome.EXISTS) else logging.WARNING
            log.log(level, "Lease %s/%s: %s", self._namespace, self._name, refusal)
            return False
        self._renewed_at = began
        return True

    async def _read(self) -> dict[str, Any] | None:
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except Refusal as refusal:
            if refusal.outcome is Outcome.MISSING:
                return None
            raise
        spec = lease.get("spec") or {}
        change = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if change != self._seen_change:
            self._seen_change = change
            self._changed_at = self._clock()
        self.holder = spec.get("holderIdentity") or ""
        return lease

    def _free(self, lease: dict[str, Any], now: float) -> bool:
        if not self.holder or self.holder == self.identity:
            return True
        duration = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._lease_seconds
        return now - self._changed_at >= max(float(duration), self._lease_seconds)

    async def _create(self) -> None:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}, taking=True),
        }
        self._took(await self._cluster.create(LEASES, self._namespace, body))

    async def _write(self, lease: dict[str, Any], *, taking: bool) -> None:
        body = {**lease, "spec": self._spec(lease.get("spec") or {}, taking=taking)}
        self._took(await self._cluster.replace(LEASES, self._namespace, self._name, body))

    def _spec(self, before: dict[str, Any], *, taking: bool) -> dict[str, Any]:
        now = _micro_now()
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._lease_seconds) or 1,
            "acquireTime": now if taking else before.get("acquireTime") or now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + (1 if taking and before else 0),
        }

    def _took(self, lease: dict[str, Any]) -> None:
        self._seen = lease
        self.holder = self.identity


def _micro_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
