"""What every decision about a set rests on, learnt or stored once: whether nodes back its zones, and its model.

What can't be had is trouble of the set (docs/rules.md, "Trouble"): its conditions say so, nothing is created or
replaced meanwhile, and it is tried again with back-off, or at once when the set's spec changes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from scalesets.engine.view import SetView, TroubleKind
from scalesets.kube import models
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import NODES, REVISIONS, owner_kind
from scalesets.kube.memory import Memory
from scalesets.kube.names import LABEL_NODE_ZONE, owner_name
from scalesets.kube.seen import Seen
from scalesets.kube.world import World

log = logging.getLogger(__name__)

KINDS = (TroubleKind.ZONES_UNKNOWN, TroubleKind.MODEL_REFUSED, TroubleKind.MODEL_NOT_STORED)
"""The troubles with which a set has no model to go by."""


class Groundwork:
    """Lays it for one set after the other."""

    def __init__(self, cluster: Cluster, world: World) -> None:
        self._cluster = cluster
        self._world = world

    async def lay(self, seen: Seen, memory: Memory) -> bool:
        """Whether something is known now that wasn't before, so that the set is to be seen anew.

        A refusal is raised when it may pass by itself; one that stays is trouble.
        """
        metadata = seen.scale_set["metadata"]
        if metadata.get("deletionTimestamp"):
            return False
        if memory.groundwork_generation != metadata["generation"]:
            memory.groundwork_generation = metadata["generation"]
            memory.troubles.works(*KINDS)
        now = utc_now()
        if memory.troubles.first(*KINDS, held_at=now) is not None:
            return False
        steps: tuple[tuple[TroubleKind, Callable[[Seen, Memory], Awaitable[bool]]], ...] = (
            (TroubleKind.ZONES_UNKNOWN, self._learn_zones),
            (TroubleKind.MODEL_NOT_STORED, self._store_model),
        )
        for kind, step in steps:
            try:
                if await step(seen, memory):
                    memory.troubles.works(*KINDS)
                    return True
            except Refusal as refusal:
                if not memory.troubles.is_worth_saying(kind, refusal, now):
                    raise
                self._note(seen, memory, kind, refusal, now)
                return False
        memory.troubles.works(*KINDS)
        return False

    def _note(self, seen: Seen, memory: Memory, kind: TroubleKind, refusal: Refusal, now: datetime) -> None:
        name = seen.scale_set["metadata"]["name"]
        if kind is TroubleKind.ZONES_UNKNOWN:
            message = (
                f"whether nodes carry {LABEL_NODE_ZONE} of the set's zones can't be seen, so nothing is created: "
                f"{refusal.message}; give the operator list on nodes (ClusterRole scaleset-operator)"
            )
        else:
            message = f"the model can't be stored as a ControllerRevision: {refusal.message}"
            if refusal.outcome is Outcome.INVALID:
                kind = TroubleKind.MODEL_REFUSED
        memory.troubles.note(kind, message, now)
        log.warning("%s/%s: %s: %s", seen.scale_set["metadata"]["namespace"], name, kind.value, refusal)

    async def _learn_zones(self, seen: Seen, memory: Memory) -> bool:
        """Look once whether nodes carry the labels of the set's zones, if its status doesn't know yet.

        No guess stands in for it: the answer is kept for good, and a wrong one would put instances into any zone.
        """
        zones = seen.scale_set["spec"].get("zones")
        known = (seen.scale_set.get("status") or {}).get("zonesBacked")
        if not zones or known is not None or memory.zones_backed is not None:
            return False
        selector = f"{LABEL_NODE_ZONE} in ({','.join(zones)})"
        async for nodes, _ in self._cluster.pages(NODES, selector=selector, page=1):
            memory.zones_backed = bool(nodes)
            break
        return True

    async def _store_model(self, seen: Seen, memory: Memory) -> bool:
        """Store the set's model if it is a new one."""
        body = models.resolve(seen).create
        if body is None:
            return False
        namespace = seen.scale_set["metadata"]["namespace"]
        try:
            raw = await self._cluster.create(REVISIONS, namespace, body)
        except Refusal as refusal:
            if refusal.outcome is not Outcome.EXISTS:
                raise
            raw = await self._take_over_model(seen, body["metadata"]["name"])
        self._world.revisions.put(raw)
        known = self._world.see((namespace, owner_name(seen.scale_set)), utc_now())
        if known is not None and models.model_name(body) not in known.revisions:
            message = f"ControllerRevision {body['metadata']['name']} is on its way out or lost its labels: delete it"
            raise Refusal(Outcome.CONFLICT, message)
        return True

    async def _take_over_model(self, seen: Seen, name: str) -> dict[str, Any]:
        """The model exists already: as its cache entry is late, or because a set of this name left it behind."""
        metadata, kind = seen.scale_set["metadata"], owner_kind(seen.scale_set)
        raw = await self._cluster.get(REVISIONS, metadata["namespace"], name)
        controllers = [o["uid"] for o in raw["metadata"].get("ownerReferences") or () if o.get("controller")]
        if not controllers:
            # Its own end may have set the model free, and with an owner that ends it would end too.
            fresh = (await self._cluster.get(kind, metadata["namespace"], metadata["name"]))["metadata"]
            if fresh["uid"] != metadata["uid"] or fresh.get("deletionTimestamp"):
                raise Refusal(Outcome.CONFLICT, f"scale set {metadata['name']} is on its way out")
            patch = models.adoption_patch(seen.scale_set, raw)
            return await self._cluster.patch(REVISIONS, metadata["namespace"], name, patch)
        if controllers != [metadata["uid"]]:
            message = f"ControllerRevision {name} belongs to an earlier set of this name; waiting until it is gone"
            raise Refusal(Outcome.CONFLICT, message)
        return raw


def without_model(view: SetView, seen: Seen, memory: Memory) -> SetView:
    """The view without a model while the groundwork isn't laid: the engine touches nothing for it, and says why."""
    trouble = memory.troubles.first(*KINDS)
    if trouble is None:
        return view
    kind, message = trouble
    stored = {name: model for name, model in view.models.items() if name in seen.revisions}
    return replace(view, model=None, model_problem=(kind.value, message), models=stored)
