"""The data disks of instances: claims are made before the pod, adopted where the rules say so, and never taken from
others.

docs/rules.md, "Trouble": a claim of the right name that isn't ours is not used unless the set says
``scalesets.dev/adopt-claims``; no claim is made without a fresh look at the set; with ``whenScaled: Delete`` a claim
goes, by UID, only after its pod.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scalesets.engine.view import TroubleKind
from scalesets.kube import claims
from scalesets.kube.afresh import is_still_there
from scalesets.kube.claims import Claim, Judgement
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import CLAIMS
from scalesets.kube.world import World

_VERDICTS = (Outcome.INVALID, Outcome.FORBIDDEN, Outcome.QUOTA)
"""Refusals that the same request will meet again: said, and nothing else waits for it."""

_OF_ALL = (TroubleKind.CLAIM_NOT_ADOPTED, TroubleKind.CLAIM_NOT_EXPANDED)
"""The troubles of claims that hold no instance up."""


class Unusable(Exception):  # noqa: N818
    """An instance's disk can't be used: ``kind`` of trouble and words."""

    def __init__(self, kind: TroubleKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Disks:
    """Makes, adopts, expands and deletes claims."""

    def __init__(self, cluster: Cluster, world: World) -> None:
        self._cluster = cluster
        self._world = world

    async def ensure(self, context: Context, ordinal: int) -> bool:
        """See that all claims of the instance are there.

        False when the set itself is gone; ``Unusable`` is raised when a claim can't be used.
        """
        if not context.scale_set["spec"].get("volumeClaimTemplates"):
            return True
        known = self._world.claims.of_set(context.key).get(ordinal, {})
        by_name = {claim.name: claim for claim in known.values()}
        for body in claims.bodies(context.scale_set, ordinal):
            name = body["metadata"]["name"]
            claim = by_name.get(name)
            if claim is not None and claim.set_uid == context.uid and not claim.deleting:
                continue
            if claim is None:
                if not await context.is_still_there(self._cluster, self._world):
                    return False
                if await self._create(context, body):
                    continue
            await self._take(context, name)
        return True

    async def delete(self, context: Context, ordinal: int) -> None:
        """Delete the claims of an instance that was scaled in, if a fresh look at the set still says so."""
        found = self._world.claims.of_set(context.key).get(ordinal, {}).values()
        wanted = [claim for claim in found if claim.set_uid == context.uid and not claim.deleting]
        if not wanted or not await self._is_scaled_in(context, ordinal):
            return
        for claim in wanted:
            key = (claim.namespace, claim.name)
            try:
                answer = await self._cluster.delete(CLAIMS, *key, uid=claim.uid)
            except Refusal as refusal:
                if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                    raise
                if await is_still_there(self._cluster, self._world.claims.store, CLAIMS, key, claim.uid):
                    raise
            else:
                if answer.get("kind") == CLAIMS.kind:
                    self._world.claims.store.put(answer)

    async def _is_scaled_in(self, context: Context, ordinal: int) -> bool:
        """Whether the set, as it is stored now, neither has the instance nor keeps the claims of those it had."""
        if not await context.is_still_there(self._cluster, self._world):
            return False
        scale_set = self._world.owner(context.key)
        if scale_set is None:
            return False
        spec = scale_set["spec"]
        retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
        return bool(ordinal >= spec.get("replicas", 1) and retention.get("whenScaled") == claims.DELETE)

    async def follow(self, context: Context) -> bool:
        """Bring existing claims to what the set says now, size and owner; once per generation unless it fails.

        Whether there is news of trouble for the next decision.
        """
        memory, generation = context.memory, context.scale_set["metadata"]["generation"]
        if memory.claims_generation == generation or not context.scale_set["spec"].get("volumeClaimTemplates"):
            return False
        now = utc_now()
        if memory.claims_tried == generation and memory.troubles.first(*_OF_ALL, held_at=now) is not None:
            return False
        if not await context.is_still_there(self._cluster, self._world):
            return False
        memory.claims_tried = generation
        before = [memory.troubles.first(kind) for kind in _OF_ALL]
        refused = {
            TroubleKind.CLAIM_NOT_ADOPTED: await self._adopt_left_behind(context)
            + await self._patch(claims.retention_patches(context.seen)),
            TroubleKind.CLAIM_NOT_EXPANDED: await self._patch(claims.expansions(context.seen)),
        }
        for kind, words in refused.items():
            if words:
                memory.troubles.note(kind, words[0], now)
            else:
                memory.troubles.clear(kind)
        if not any(refused.values()):
            memory.claims_generation = generation
        return before != [memory.troubles.first(kind) for kind in _OF_ALL]

    async def _patch(self, patches: Iterable[tuple[Claim, dict[str, Any]]]) -> list[str]:
        """Patch claims; what was refused, in words."""
        refused: list[str] = []
        for claim, patch in patches:
            try:
                answer = await self._cluster.patch(CLAIMS, claim.namespace, claim.name, patch)
            except Refusal as refusal:
                if refusal.outcome not in _VERDICTS:
                    raise
                refused.append(f"claim {claim.name}: {refusal.message}")
            else:
                self._world.claims.store.put(answer)
        return refused

    async def _adopt_left_behind(self, context: Context) -> list[str]:
        """Take what an earlier set of this name left, also where the pods were adopted as they are; what was refused.

        Only the disks of instances that the set has: others it would take for scaled in, and delete if it may.
        """
        refused: list[str] = []
        for ordinal, of_instance in sorted(self._world.claims.of_set(context.key).items()):
            for claim in list(of_instance.values()):
                if claim.set_uid == context.uid or claim.deleting or ordinal >= context.view.replicas:
                    continue
                try:
                    await self._take(context, claim.name)
                except Unusable as unusable:
                    if unusable.kind is TroubleKind.CLAIM_NOT_ADOPTED:  # others are said when an instance needs it
                        refused.append(unusable.message)
        return refused

    async def _create(self, context: Context, body: dict[str, Any]) -> bool:
        """Whether it was made now; no: one of the name exists."""
        try:
            answer = await self._cluster.create(CLAIMS, context.key[0], body)
        except Refusal as refusal:
            if refusal.outcome is Outcome.EXISTS:
                return False
            if refusal.outcome not in _VERDICTS:
                raise
            kind = TroubleKind.QUOTA if refusal.outcome is Outcome.QUOTA else TroubleKind.CREATE_FAILED
            raise Unusable(kind, f"claim {body['metadata']['name']}: {refusal.message}") from refusal
        self._world.claims.store.put(answer)
        return True

    async def _take(self, context: Context, name: str) -> None:
        """A claim of the name exists: use it, adopt it, or say why not."""
        raw = await self._cluster.get(CLAIMS, context.key[0], name)
        self._world.claims.store.put(raw)
        judgement = claims.judge(context.scale_set, raw)
        if judgement is Judgement.ADOPT:
            patch = claims.adopt_patch(context.scale_set, raw)
            try:
                answer = await self._cluster.patch(CLAIMS, context.key[0], name, patch)
            except Refusal as refusal:
                if refusal.outcome not in _VERDICTS:
                    raise
                message = f"claim {name} can't be taken over: {refusal.message}"
                raise Unusable(TroubleKind.CLAIM_NOT_ADOPTED, message) from refusal
            self._world.claims.store.put(answer)
        elif judgement is Judgement.DELETING:
            raise Unusable(
                TroubleKind.CREATE_FAILED, f"claim {name} is being deleted; a new one is made when it is gone"
            )
        elif judgement is Judgement.FOREIGN:
            raise Unusable(TroubleKind.CLAIM_CONFLICT, claims.foreign_message(raw, context.scale_set))
