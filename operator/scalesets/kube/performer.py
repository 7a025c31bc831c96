"""Performs one action of a decision: creates, deletes, labels and patches instances (docs/design.md, "The shape").

Every delete and patch carries the UID it was decided for. The answer of each write goes into the cache at once, so
that a lagging watch can't make the operator act twice. What fails becomes trouble of the set, for the next decision
and its reader.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from scalesets.engine.decision import (
    Action,
    CreateInstance,
    DeleteClaims,
    DeleteInstance,
    LabelInstance,
    PatchExtension,
)
from scalesets.engine.view import TroubleKind
from scalesets.kube import pods, tracing
from scalesets.kube.afresh import is_still_there
from scalesets.kube.client import MERGE_PATCH, STRATEGIC_PATCH, Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.disks import Disks, Unusable
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import PODS
from scalesets.kube.pods import Pod
from scalesets.kube.seen import Key
from scalesets.kube.world import World

log = logging.getLogger(__name__)

FIRST_RETRY, LONGEST_RETRY = timedelta(milliseconds=100), timedelta(seconds=30)
SAID_AFTER = 6
"""What may pass by itself is said after so many failures in a row, some six seconds."""
_VERDICTS = (Outcome.INVALID, Outcome.FORBIDDEN, Outcome.QUOTA)

_OF_ONE = (
    TroubleKind.QUOTA,
    TroubleKind.CREATE_FAILED,
    TroubleKind.NAME_CONFLICT,
    TroubleKind.CLAIM_CONFLICT,
    TroubleKind.CLAIM_NOT_ADOPTED,
    TroubleKind.IMAGE_MISSING,
)


class Performer:
    """Performs actions. ``again(key, seconds)`` asks for another look at a set."""

    def __init__(self, cluster: Cluster, world: World, *, again: Callable[[Key, float], None]) -> None:
        self._cluster = cluster
        self._world = world
        self._again = again
        self.disks = Disks(cluster, world)

    async def perform(self, context: Context, action: Action) -> None:
        """Do it; a failure is remembered and tried again by a later decision."""
        memory = context.memory
        failures, _ = memory.retries.get(action.ordinal, (0, None))
        tracing.belong_to(context.part_of, failures=failures)
        try:
            await self._do(context, action)
        except Refusal as refusal:
            if refusal.outcome is Outcome.FENCED:
                self._again(context.key, LONGEST_RETRY.total_seconds())  # if it leads after all
                return
            self._failed(context, action, refusal, retry_after=refusal.retry_after)
        except Exception as error:  # a bug, or an object that nobody thought of: it must not spin
            log.exception("%s/%s: %s failed unexpectedly", *context.key, action)
            self._failed(context, action, error)
        else:
            memory.retries.pop(action.ordinal, None)
            if memory.troubles:
                memory.troubles.clear(TroubleKind.ACTION_REFUSED, ordinal=action.ordinal)
            if memory.batch_since is not None and isinstance(action, DeleteInstance | LabelInstance | PatchExtension):
                self._cluster.stats.next_batch_touched(memory.batch_since)
                memory.batch_since = None

    async def _do(self, context: Context, action: Action) -> None:
        match action:
            case CreateInstance():
                await self._create(context, action)
            case DeleteInstance():
                await self._delete(context, action)
            case LabelInstance():
                await self._patch(context, action, pods.label_patch(action.uid, action.labels, action.annotations))
            case PatchExtension():
                await self._patch_extension(context, action)
            case DeleteClaims():
                await self.disks.delete(context, action.ordinal)
            case _:
                assert_never(action)

    async def _create(self, context: Context, action: CreateInstance) -> None:
        release, ordinal = action.release, action.ordinal
        images = context.images(release)
        if isinstance(images, str):
            self._trouble(context, TroubleKind.IMAGE_MISSING, images, ordinal)
            return
        try:
            if not await self.disks.ensure(context, ordinal):
                return
        except Unusable as unusable:
            self._trouble(context, unusable.kind, unusable.message, ordinal)
            return
        body = context.template(release.model).build(ordinal, release, images)
        try:
            raw = await self._cluster.create(PODS, context.key[0], body)
        except Refusal as refusal:
            await self._not_created(context, action, refusal)
            return
        self._world.pods.store.put(raw)
        troubles = context.memory.troubles
        if troubles:
            troubles.clear(*_OF_ONE, ordinal=ordinal)
            troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)

    async def _not_created(self, context: Context, action: CreateInstance, refusal: Refusal) -> None:
        if refusal.outcome is Outcome.EXISTS:
            await self._look_at(context, action.ordinal)
        elif refusal.outcome is Outcome.QUOTA:
            self._trouble(context, TroubleKind.QUOTA, refusal.message, action.ordinal)
        elif refuses_template(refusal):
            self._trouble(context, TroubleKind.TEMPLATE_REFUSED, refusal.message, None, model=action.release.model)
        elif refusal.outcome is Outcome.FENCED:
            raise refusal
        else:
            wait = timedelta(seconds=refusal.retry_after) if refusal.retry_after else None
            self._trouble(context, TroubleKind.CREATE_FAILED, refusal.message, action.ordinal, wait=wait)

    async def _look_at(self, context: Context, ordinal: int) -> None:
        """A pod of the name exists already: ours after all, an orphan, or somebody else's."""
        name = context.view.instance_name(ordinal)
        try:
            raw = await self._cluster.get(PODS, context.key[0], name)
        except Refusal as refusal:
            if refusal.outcome is not Outcome.MISSING:
                raise
            self._again(context.key, 0.0)
            return
        self._world.pods.store.put(raw)
        pod = pods.parse(raw, previous=None, now=utc_now())
        message = ""
        if pod is None or pod.owner_uid not in ("", context.uid) or pod.set_name != context.key[1]:
            message = f"pod {name} is not an instance of this set: delete it, and the instance is made"
        elif not pod.owner_uid and pod.instance.deleting_since is not None:
            message = f"pod {name} belongs to nobody and is being deleted; the instance is made when it is gone"
        if message:
            self._trouble(context, TroubleKind.NAME_CONFLICT, message, ordinal)
        else:
            context.memory.troubles.clear(TroubleKind.NAME_CONFLICT, ordinal=ordinal)
            self._again(context.key, 0.0)

    async def _delete(self, context: Context, action: DeleteInstance) -> None:
        key = (context.key[0], context.view.instance_name(action.ordinal))
        try:
            answer = await self._cluster.delete(PODS, *key, uid=action.uid)
        except Refusal as refusal:
            if refusal.outcome is Outcome.MISSING:
                self._world.pods.store.vanished(key, action.uid)
            elif refusal.outcome is not Outcome.CONFLICT or await self._is_still_there(key, action.uid):
                raise
        else:
            if answer.get("kind") == PODS.kind:
                self._world.pods.store.put(answer)

    async def _is_still_there(self, key: Key, uid: str) -> bool:
        return await is_still_there(self._cluster, self._world.pods.store, PODS, key, uid)

    async def _patch_extension(self, context: Context, action: PatchExtension) -> None:
        former, image, problem = context.extension_images(action)
        if image == former:  # under another number: nothing is started anew, so nothing is to be waited for
            action = replace(action, before="")
        if problem:
            self._trouble(context, TroubleKind.IMAGE_MISSING, problem, action.ordinal)
            return
        await self._patch(context, action, pods.extension_patch(action, image), how=STRATEGIC_PATCH)
        if context.memory.troubles:
            context.memory.troubles.clear(TroubleKind.IMAGE_MISSING, ordinal=action.ordinal)

    async def _patch(
        self, context: Context, action: LabelInstance | PatchExtension, patch: dict[str, Any], *, how: str = MERGE_PATCH
    ) -> None:
        key = (context.key[0], context.view.instance_name(action.ordinal))
        try:
            raw = await self._cluster.patch(PODS, *key, patch, how=how)
        except Refusal as refusal:
            if refusal.outcome is Outcome.MISSING:
                self._world.pods.store.vanished(key, action.uid)
            elif refusal.outcome not in (Outcome.CONFLICT, Outcome.INVALID) or await self._is_still_there(
                key, action.uid
            ):  # another UID is answered by one of the two
                raise
        else:
            self._world.pods.store.put(raw)

    async def adopt(self, context: Context) -> bool:
        """Own the pods of this set that nobody controls (after ``--cascade=orphan``). Whether it was tried.

        Only after a fresh look at the set: its own end may have set them free, and with an owner that ends they would
        end too.
        """
        now, troubles = utc_now(), context.memory.troubles
        found = [
            pod
            for pod in self._world.pods.orphans(context.key)
            if pod.instance.deleting_since is None and troubles.held_until(pod.instance.ordinal, now) is None
        ]
        if found and await context.is_still_there(self._cluster, self._world):
            for pod in found:
                await self._adopt(context, pod)
        return bool(found)

    async def _adopt(self, context: Context, pod: Pod) -> None:
        """The patch adds an owner: it is refused, not obeyed, when somebody else controls the pod by now."""
        key, ordinal = (pod.namespace, pod.name), pod.instance.ordinal
        patch = pods.adoption_patch(context.scale_set, pod)
        try:
            raw = await self._cluster.patch(PODS, *key, patch, how=STRATEGIC_PATCH)
        except Refusal as refusal:
            if refusal.outcome not in (Outcome.MISSING, Outcome.CONFLICT, Outcome.INVALID, Outcome.FORBIDDEN):
                raise
            if await self._is_still_there(key, pod.uid):
                message = f"pod {pod.name} can't be taken over: {refusal.message}"
                self._trouble(context, TroubleKind.NAME_CONFLICT, message, ordinal)
        else:
            self._world.pods.store.put(raw)
            context.memory.troubles.clear(TroubleKind.NAME_CONFLICT, ordinal=ordinal)

    def _trouble(
        self,
        context: Context,
        kind: TroubleKind,
        message: str,
        ordinal: int | None,
        *,
        model: str = "",
        wait: timedelta | None = None,
    ) -> None:
        now = utc_now()
        until = context.memory.troubles.note(kind, message, now, ordinal=ordinal, model=model, wait=wait)
        log.debug("%s/%s: %s: %s", *context.key, kind.value, message)
        self._again(context.key, (until - now).total_seconds())

    def _failed(self, context: Context, action: Action, error: Exception, *, retry_after: float | None = None) -> None:
        now = utc_now()
        failures, _ = context.memory.retries.get(action.ordinal, (0, now))
        wait = min(FIRST_RETRY * 2 ** min(failures, 20), LONGEST_RETRY)
        if retry_after:
            wait = max(wait, timedelta(seconds=retry_after))
        context.memory.retries[action.ordinal] = (failures + 1, now + wait)
        name = context.view.instance_name(action.ordinal)
        if failures + 1 >= SAID_AFTER or (isinstance(error, Refusal) and error.outcome in _VERDICTS):
            words = error.message if isinstance(error, Refusal) else f"unexpected: {type(error).__name__}: {error}"
            message = f"instance {name}: {_verb(action)} does not succeed: {words}"
            context.memory.troubles.note(TroubleKind.ACTION_REFUSED, message, now, ordinal=action.ordinal)
        log.warning(
            "%s/%s: %s not done, again in %s s: %s", context.key[0], name, _verb(action), wait.total_seconds(), error
        )
        self._again(context.key, wait.total_seconds())


def refuses_template(refusal: Refusal) -> bool:
    """Whether the server refuses this pod for what it is, whoever sends it and whenever."""
    if refusal.status == 401:
        return False  # our credentials, not the pod
    if refusal.outcome is Outcome.INVALID:
        return "does not support dry run" not in refusal.message
    if refusal.outcome is Outcome.FORBIDDEN:
        ours = "User " in refusal.message and " cannot " in refusal.message  # our own rights, not the pod
        return not ours and "is being terminated" not in refusal.message
    return False


def held_back(context: Context, ordinal: int, now: datetime) -> datetime | None:
    """Until when nothing is to be tried on the instance, after a failure."""
    failed = context.memory.retries.get(ordinal)
    return failed[1] if failed is not None and failed[1] > now else None


def _verb(action: Action) -> str:
    verbs = {
        CreateInstance: "create",
        DeleteInstance: "delete",
        LabelInstance: "label",
        PatchExtension: "patch",
        DeleteClaims: "delete of claims",
    }
    return verbs[type(action)]
