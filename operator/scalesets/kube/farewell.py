"""What remains to be done when no operator is to come back: its finalizer goes off all RollingUpgrades.

With it on, an upgrade that is deleted waits for an operator to judge its batch, and with it its namespace, for ever. An
operator at work would put it on again; so nothing is done before the Lease is free.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from scalesets.kube import upgrades
from scalesets.kube.client import JSON_PATCH, Cluster, Outcome, Refusal
from scalesets.kube.kinds import LEASES, UPGRADES
from scalesets.kube.lease import LEASE_SECONDS
from scalesets.kube.names import FINALIZER, Raw
from scalesets.kube.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MOST_TRIES = 5


class StillLed(Exception):  # noqa: N818
    """An operator is at work and doesn't end."""


async def release_finalizers(cluster: Cluster, settings: Settings, *, patience: float) -> int:
    """Take the finalizer off all upgrades of the settings' namespaces, once nobody leads; how many had it."""
    await _await_no_leader(cluster, settings, patience)
    released = 0
    for namespace in settings.namespaces or ("",):
        try:
            released += await release_in(cluster, namespace)
        except Refusal as refusal:
            if refusal.outcome is not Outcome.MISSING:  # without the CRD there are no upgrades either
                raise
    return released


async def release_in(cluster: Cluster, namespace: str) -> int:
    """Take the finalizer off the upgrades of a namespace (empty: all) that has nobody, or not for long; how many."""
    released = 0
    async for items, _ in cluster.pages(UPGRADES, namespace):
        for raw in items:
            released += await _release(cluster, raw)
    return released


async def _await_no_leader(
    cluster: Cluster, settings: Settings, patience: float, *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Wait until the Lease is given back, or not renewed for as long as it holds."""
    began = changed_at = clock()
    seen: tuple[object, ...] = ()
    while True:
        spec = await _lease(cluster, settings)
        holder = spec.get("holderIdentity") or ""
        if not holder:
            return
        now = clock()
        if (change := (holder, spec.get("renewTime"))) != seen:
            seen, changed_at = change, now
        if now - changed_at >= max(float(spec.get("leaseDurationSeconds") or 0), LEASE_SECONDS):
            return
        if now - began >= patience:
            where = f"{settings.lease_namespace}/{settings.lease_name}"
            raise StillLed(f"the operator {holder} is at work (Lease {where}), and would put its finalizer on again")
        log.info("waiting for the operator %s to end", holder)
        await asyncio.sleep(LOOK_SECONDS)


async def _lease(cluster: Cluster, settings: Settings) -> Raw:
    try:
        lease = await cluster.get(LEASES, settings.lease_namespace, settings.lease_name)
    except Refusal as refusal:
        if refusal.outcome is Outcome.MISSING:
            return {}
        raise
    return lease.get("spec") or {}


async def _release(cluster: Cluster, raw: Raw) -> bool:
    """Take it off one; whether it was on."""
    metadata = raw["metadata"]
    for _ in range(MOST_TRIES):
        if FINALIZER not in (raw["metadata"].get("finalizers") or ()):
            return False
        version = {"op": "replace", "path": "/metadata/resourceVersion", "value": raw["metadata"]["resourceVersion"]}
        body = [version, *upgrades.release_patch(raw)]
        try:
            await cluster.patch(UPGRADES, metadata["namespace"], metadata["name"], body, how=JSON_PATCH)
        except Refusal as refusal:
            if refusal.outcome is Outcome.MISSING:
                return False
            if refusal.outcome is not Outcome.CONFLICT:
                raise
            # Somebody wrote it meanwhile. A list, as reading single ones isn't among this command's rights.
            found = [each for each in await cluster.all(UPGRADES, metadata["namespace"]) if _same(each, metadata)]
            if not found:
                return False
            raw = found[0]
        else:
            log.info("released RollingUpgrade %s/%s", metadata["namespace"], metadata["name"])
            return True
    raise Refusal(Outcome.CONFLICT, f"RollingUpgrade {metadata['namespace']}/{metadata['name']} is being written to")


def _same(raw: Raw, metadata: Raw) -> bool:
    return bool(raw["metadata"]["uid"] == metadata["uid"])
