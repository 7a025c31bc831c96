"""Performs the writes of one decision, in order, each only when the one before was stored (docs/design.md, "Order of
writes").

Every write of a status carries the resourceVersion that the decision was made from; a Conflict means that somebody
else changed the object, so it is read afresh and decided again. Answers go into the cache at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum
from typing import Any, assert_never

from scalesets.engine.decision import (
    ClearApprovals,
    CreateUpgrade,
    DeleteUpgrade,
    DryRun,
    Event,
    HoldUpgrade,
    Preflight,
    ReleaseUpgrade,
    Write,
    WriteSetStatus,
    WriteUpgradeStatus,
)
from scalesets.engine.view import Condition, TroubleKind
from scalesets.kube import statuses, upgrades
from scalesets.kube.afresh import is_still_there, refresh
from scalesets.kube.client import JSON_PATCH, Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.credentials import Credentials
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import PODS, UPGRADES, owner_kind
from scalesets.kube.names import Raw
from scalesets.kube.performer import refuses_template
from scalesets.kube.recorder import Recorder
from scalesets.kube.settings import Settings
from scalesets.kube.world import World

log = logging.getLogger(__name__)


class Result(Enum):
    """How a decision's writes ended."""

    STORED = "stored"
    SAME = "same"  # all of it was so already
    LOOK_AGAIN = "look again"  # what was decided from isn't so any more
    TROUBLE = "trouble"  # remembered as trouble of the set, with a time
    RETRY = "retry"  # the API server is in trouble: back off
    REFUSED = "refused"  # for good, it seems: remembered as trouble of the set; back off


class Writer:
    """Performs writes."""

    def __init__(self, cluster: Cluster, world: World, settings: Settings, recorder: Recorder) -> None:
        self._cluster = cluster
        self._world = world
        self._credentials = Credentials(cluster, settings, recorder)
        self._recorder = recorder

    async def perform(self, context: Context, writes: Sequence[Write]) -> Result:
        """Do them until one isn't stored."""
        run = _Run(self._cluster, self._world, self._credentials, self._recorder, context)
        stored = False
        for write in writes:
            try:
                result = await run.perform(write)
            except Refusal as refusal:
                result = await run.refused(write, refusal)
            if result not in (Result.STORED, Result.SAME):
                return result
            stored = stored or result is Result.STORED
        return Result.STORED if stored else Result.SAME

    def passed(self, context: Context) -> bool:
        """All that was decided is stored now; whether something of it was refused before."""
        return context.memory.troubles.works(TroubleKind.WRITE_REFUSED)


class _Run:
    """The writes of one decision: knows the objects as the decision saw them, and as its own writes left them."""

    def __init__(
        self, cluster: Cluster, world: World, credentials: Credentials, recorder: Recorder, context: Context
    ) -> None:
        self._cluster = cluster
        self._world = world
        self._credentials = credentials
        self._recorder = recorder
        self._context = context
        self._namespace = context.key[0]
        self._set: Raw = context.scale_set
        self._kind = owner_kind(context.scale_set)
        self._upgrades: dict[str, Raw] = {u["metadata"]["name"]: u for u in context.seen.upgrades}

    async def perform(self, write: Write) -> Result:
        match write:
            case WriteSetStatus():
                return await self._set_status(write)
            case WriteUpgradeStatus():
                return await self._upgrade_status(write)
            case CreateUpgrade():
                return await self._create_upgrade(write)
            case HoldUpgrade():
                patch = upgrades.hold_patch(self._set, self._upgrades[write.name])
                return await self._patch_upgrade(write.name, patch)
            case ClearApprovals():
                return await self._patch_upgrade(write.name, upgrades.clear_approvals_patch())
            case ReleaseUpgrade():
                return await self._patch_upgrade(write.name, upgrades.release_patch(self._upgrades[write.name]))
            case DeleteUpgrade():
                return await self._delete_upgrade(write)
            case DryRun():
                return await self._dry_run(write)
            case Preflight():
                return await self._preflight(write)
            case _:
                assert_never(write)

    async def refused(self, write: Write, refusal: Refusal) -> Result:
        """A write wasn't stored: find out what is there now."""
        name = type(write).__name__
        if refusal.outcome in (Outcome.CONFLICT, Outcome.EXISTS, Outcome.MISSING):
            log.info("%s/%s: %s met a change by others, looking again: %s", *self._context.key, name, refusal)
            await self._refresh(write)
            return Result.LOOK_AGAIN
        if refusal.outcome is Outcome.FENCED:
            return Result.RETRY
        log.warning("%s/%s: %s was not stored, tried again later: %s", *self._context.key, name, refusal)
        if not self._context.memory.troubles.is_worth_saying(TroubleKind.WRITE_REFUSED, refusal, utc_now()):
            return Result.RETRY
        status_too = isinstance(write, WriteSetStatus) and refusal.outcome is not Outcome.INVALID
        await self._say(f"{_what(write)}: {refusal.message}", in_status=not status_too)
        return Result.REFUSED

    async def _say(self, message: str, *, in_status: bool) -> None:
        """Tell of a refused write now: the decision that would tell in its status may never get as far.

        When the set's own status is what was refused, its last good one may still be taken with the condition.
        """
        kind = TroubleKind.WRITE_REFUSED
        self._context.memory.troubles.note(kind, message, utc_now())
        self._recorder.tell(self._set, Event(kind.value, message, warning=True))
        status = statuses.with_condition(self._set, Condition(kind.value, True, kind.value, message), utc_now())
        if not in_status or statuses.same(status, self._set.get("status")):
            return
        version = self._set["metadata"]["resourceVersion"]
        try:
            self._set = await self._cluster.write_status(self._kind, *self._context.api_key, status, version=version)
        except Refusal as refusal:
            log.debug("%s/%s: %s was not told: %s", *self._context.key, kind.value, refusal)
        else:
            self._world.store_of(self._kind).put(self._set)

    async def _refresh(self, write: Write) -> None:
        upgrade = getattr(write, "name", "")
        await refresh(self._cluster, self._world.store_of(self._kind), self._kind, self._context.api_key)
        if upgrade:
            await refresh(self._cluster, self._world.upgrades, UPGRADES, (self._namespace, upgrade))

    async def _set_status(self, write: WriteSetStatus) -> Result:
        status = statuses.write_set(write.status, self._set, utc_now())
        if not statuses.same(status, self._set.get("status")):
            version = self._set["metadata"]["resourceVersion"]
            self._set = await self._cluster.write_status(self._kind, *self._context.api_key, status, version=version)
            self._world.store_of(self._kind).put(self._set)
            return Result.STORED
        return Result.SAME

    async def _upgrade_status(self, write: WriteUpgradeStatus) -> Result:
        upgrade = self._upgrades[write.name]
        status = upgrades.write_status(write.status, upgrade, utc_now())
        if not statuses.same(status, upgrade.get("status")):
            version = upgrade["metadata"]["resourceVersion"]
            raw = await self._cluster.write_status(UPGRADES, self._namespace, write.name, status, version=version)
            self._stored(raw)
            return Result.STORED
        return Result.SAME

    async def _create_upgrade(self, write: CreateUpgrade) -> Result:
        kind, troubles = TroubleKind.UPGRADE_NAME_CONFLICT, self._context.memory.troubles
        if troubles.first(kind, held_at=utc_now()) is not None:
            return Result.SAME  # what else was decided may go on, and the status says it
        try:
            raw = await self._cluster.create(UPGRADES, self._namespace, upgrades.body(self._set, write))
        except Refusal as refusal:
            if refusal.outcome is not Outcome.EXISTS:
                raise
            raw = await self._cluster.get(UPGRADES, self._namespace, write.name)
            if upgrades.owner_of(raw) != self._context.key[1]:
                self._world.upgrades.put(raw)
                message = (
                    f"RollingUpgrade {write.name} is not of this set but of {_whose(raw)}, and is left alone: "
                    "delete it, and the upgrade is made"
                )
                troubles.note(kind, message, utc_now())
                return Result.TROUBLE
        troubles.works(kind)
        self._stored(raw)
        return Result.STORED

    async def _patch_upgrade(self, name: str, patch: list[dict[str, Any]]) -> Result:
        version = self._upgrades[name]["metadata"]["resourceVersion"]
        body = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, *patch]
        try:
            raw = await self._cluster.patch(UPGRADES, self._namespace, name, body, how=JSON_PATCH)
        except Refusal as refusal:
            if refusal.outcome is not Outcome.MISSING:
                raise
            self._world.upgrades.vanished((self._namespace, name), self._upgrades[name]["metadata"]["uid"])
            return Result.LOOK_AGAIN
        self._stored(raw)
        return Result.STORED

    async def _delete_upgrade(self, write: DeleteUpgrade) -> Result:
        key = (self._namespace, write.name)
        try:
            answer = await self._cluster.delete(UPGRADES, *key, uid=write.uid)
        except Refusal as refusal:
            if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT):
                raise
            there = await is_still_there(self._cluster, self._world.upgrades, UPGRADES, key, write.uid)
            return Result.LOOK_AGAIN if there else Result.STORED
        if (answer.get("metadata") or {}).get("finalizers"):
            self._stored(answer)
        else:
            self._world.upgrades.vanished(key, write.uid)
        return Result.STORED

    async def _dry_run(self, write: DryRun) -> Result:
        context, release = self._context, write.release
        troubles = context.memory.troubles
        images = context.images(release)
        if isinstance(images, str):
            troubles.note(TroubleKind.IMAGE_MISSING, images, utc_now(), ordinal=write.ordinal)
            return Result.TROUBLE
        body = context.template(release.model).dry_run(write.ordinal, release, images)
        try:
            await self._cluster.create(PODS, self._namespace, body, dry_run=True)
        except Refusal as refusal:
            if refuses_template(refusal):
                troubles.note(TroubleKind.TEMPLATE_REFUSED, refusal.message, utc_now(), model=release.model)
                return Result.TROUBLE
            if refusal.outcome in (Outcome.QUOTA, Outcome.INVALID, Outcome.EXISTS):
                return Result.SAME  # no verdict on the template
            raise
        if troubles:
            troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)
        return Result.SAME

    async def _preflight(self, write: Preflight) -> Result:
        report = await self._credentials.look(self._context, write.model)
        return Result.TROUBLE if report.problems else Result.SAME

    def _stored(self, raw: dict[str, Any]) -> None:
        self._upgrades[raw["metadata"]["name"]] = raw
        self._world.upgrades.put(raw)


def _what(write: Write) -> str:
    """What a write was to do, in a user's words."""
    match write:
        case WriteSetStatus():
            return "the status was not stored"
        case WriteUpgradeStatus(name=name):
            return f"the status of RollingUpgrade {name} was not stored"
        case CreateUpgrade(name=name):
            return f"RollingUpgrade {name} was not created"
        case DeleteUpgrade(name=name):
            return f"RollingUpgrade {name} was not deleted"
        case DryRun(ordinal=ordinal):
            return f"instance {ordinal} could not be tried by a dry run"
        case Preflight():
            return "what the model names could not be looked at"
        case HoldUpgrade(name=name) | ClearApprovals(name=name) | ReleaseUpgrade(name=name):
            return f"RollingUpgrade {name} was not changed"
        case _:
            assert_never(write)


def _whose(upgrade: Raw) -> str:
    spec = upgrade["spec"]
    return next((f"{field} {spec[field]}" for field in upgrades.TARGETS if spec.get(field)), "nobody")
