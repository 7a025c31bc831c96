"""The status of images and extensions: which of their versions are available where, and when to look again."""

from __future__ import annotations

from scalesets.engine.decision import Event
from scalesets.kube import catalogues
from scalesets.kube.afresh import refresh
from scalesets.kube.cache import Store
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.discovery import Discovery
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import Kind
from scalesets.kube.names import Raw
from scalesets.kube.queue import Again
from scalesets.kube.recorder import Recorder
from scalesets.kube.seen import Key
from scalesets.kube.settings import Settings
from scalesets.kube.world import World


class CatalogueStatus:
    """Writes it."""

    def __init__(
        self, cluster: Cluster, world: World, settings: Settings, recorder: Recorder, discovery: Discovery
    ) -> None:
        self._cluster = cluster
        self._world = world
        self._settings = settings
        self._recorder = recorder
        self._discovery = discovery

    async def look(self, kind: Kind, store: Store[Raw], key: Key) -> Again:
        """Bring the status of one of them up to date."""
        raw = store.get(key)
        if raw is None or raw["metadata"].get("deletionTimestamp"):
            self._discovery.forget(kind, key)
            return Again(forget=raw is None)
        now = utc_now()
        status, look_again = catalogues.describe(
            raw,
            self._world.catalogue(store, key[0]),
            locations=self._world.locations(),
            settings=self._settings,
            now=now,
            finding=self._discovery.follow(kind, raw),
            in_use=self._world.versions_in_use,
        )
        if status is not None:
            version = raw["metadata"]["resourceVersion"]
            try:
                store.put(await self._cluster.write_status(kind, *key, status, version=version))
                for event in catalogues.events(raw, {"status": status}):
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
