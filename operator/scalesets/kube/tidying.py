"""What can wait until nothing else is to be done for a set, and what is left behind when it is gone."""

from __future__ import annotations

from scalesets.kube import models, upgrades
from scalesets.kube.afresh import is_still_there, refresh
from scalesets.kube.client import JSON_PATCH, Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.disks import Disks
from scalesets.kube.kinds import REVISIONS, UPGRADES
from scalesets.kube.names import FINALIZER, Raw
from scalesets.kube.seen import Key
from scalesets.kube.world import World


class Tidying:
    """Claims to expand, models that nothing uses, upgrades that nobody will end."""

    def __init__(self, cluster: Cluster, world: World, disks: Disks) -> None:
        self._cluster = cluster
        self._world = world
        self._disks = disks

    async def tidy(self, context: Context) -> bool:
        """Expand claims and delete models that nothing uses.

        Whether there is news of trouble.
        """
        news = await self._disks.follow(context)
        if context.view.status.current_upgrade:
            return news
        used = models.in_use(context.view)
        for name in models.prune(context.seen.revisions.values(), used):
            raw = self._world.revisions.get((context.key[0], name))
            if raw is not None:
                await self._delete_revision(raw)
        return news

    async def let_go(self, key: Key) -> None:
        """The set doesn't exist: RollingUpgrades that are being deleted must not wait for it."""
        for upgrade in self._world.upgrades_of(key):
            metadata = upgrade["metadata"]
            if not metadata.get("deletionTimestamp") or FINALIZER not in (metadata.get("finalizers") or ()):
                continue
            version = {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
            try:
                await self._cluster.patch(
                    UPGRADES, key[0], metadata["name"], [version, *upgrades.release_patch(upgrade)], how=JSON_PATCH
                )
                self._world.upgrades.vanished((key[0], metadata["name"]), metadata["uid"])
            except Refusal as refusal:
                if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                    raise
                await refresh(self._cluster, self._world.upgrades, UPGRADES, (key[0], metadata["name"]))

    async def _delete_revision(self, raw: Raw) -> None:
        metadata = raw["metadata"]
        key = (metadata["namespace"], metadata["name"])
        try:
            await self._cluster.delete(REVISIONS, *key, uid=metadata["uid"])
        except Refusal as refusal:
            if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                raise
            await is_still_there(self._cluster, self._world.revisions, REVISIONS, key, metadata["uid"])
        else:
            self._world.revisions.vanished(key, metadata["uid"])
