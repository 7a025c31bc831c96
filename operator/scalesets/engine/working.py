"""A batch at work: brings its members to where they are wanted, judges each, puts failed ones back (O12; docs/rules.md,
"Health" and "Checks, stops, roll-back").

One look at a running batch answers with the batch as it should be stored next: the same (nothing to store), with a
put-back in it (an intent: it is acted upon only when it is stored), or with its verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from scalesets.engine import extensions, health, instances, releases
from scalesets.engine.decision import Action, DeleteInstance, PatchExtension
from scalesets.engine.health import Verdict
from scalesets.engine.view import (
    NO_CONTAINER,
    Batch,
    BatchOutcome,
    Instance,
    Ordinals,
    Release,
    RollingPolicy,
    SetView,
    TroubleKind,
    Upgrade,
    UpgradeStatus,
)

WAVE = timedelta(seconds=5)
"""Failures that fall due within this time after the first are put back together, in one status write."""


@dataclass(slots=True)
class Work:
    """``batch`` as it should be stored; ``wanted`` is where each member that is still in scope belongs."""

    batch: Batch
    wanted: Mapping[int, Release]
    actions: list[Action] = field(default_factory=list)
    look_again: list[datetime] = field(default_factory=list)
    record: dict[int, Release] = field(default_factory=dict)  # of a batch that is over: what its members run

    def add(self, action: Action | datetime | None) -> None:
        """Take an action, or the time until which one is held."""
        if isinstance(action, datetime):
            self.look_again.append(action)
        elif action is not None:
            self.actions.append(action)


def look(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, policy: RollingPolicy, now: datetime, *, puts_back: bool
) -> Work:
    """Look at the running batch. ``puts_back``: whether this upgrade puts failed members back at once."""
    batch = status.running_batch
    assert batch is not None
    wanted = _wanted(view, upgrade, status, batch)
    work = Work(batch, wanted)
    waiting: list[datetime] = []
    failed: dict[int, datetime] = {}  # since when
    for ordinal, verdict, at in _verdicts(view, batch, wanted, policy, now):
        if verdict is Verdict.FAILED:
            failed[ordinal] = at
        else:
            waiting.append(at)
            work.look_again.append(at)
        if verdict is Verdict.WAITING or ordinal in batch.rolled_back or not puts_back:
            work.add(_bring(view, batch, ordinal, wanted[ordinal], now))
    fresh = frozenset(failed) - batch.failed
    if fresh and puts_back:
        wave_ends = min(failed[o] for o in fresh) + WAVE
        if not any(at <= wave_ends for at in waiting):
            work.batch = _put_back(view, batch, fresh, wanted, now)
    elif not waiting:
        work.batch = _judged(view, batch, frozenset(failed), wanted, now)
        work.record = {o: _runs(view, o, work.batch, release) for o, release in wanted.items()}
    return work


def _wanted(view: SetView, upgrade: Upgrade, status: UpgradeStatus, batch: Batch) -> dict[int, Release]:
    """Where the members belong that are still in scope: on the target, or back where they come from."""
    if batch.extension:
        targets = status.extensions
        forward = releases.once_each(lambda former: extensions.upgraded(targets, batch.extension, former))
    else:
        forward = releases.once_each(lambda former: releases.for_member(view, upgrade, status.target, former))
    backward = releases.once_each(lambda former: releases.for_lost_instance(view, former))
    wanted = {
        ordinal: backward(former) if ordinal in batch.rolled_back else forward(former)
        for ordinal, former in batch.members.items()
        if ordinal in status.scope
    }
    if not batch.extension:
        return wanted
    if view.is_group:
        return {o: _of_its_own_model(view, batch, o, release) for o, release in wanted.items()}
    return {o: _relabelled(view, o, release) for o, release in wanted.items()}


def _relabelled(view: SetView, ordinal: int, wanted: Release) -> Release:
    """With the model that the pod shows meanwhile, if that differs in flags only: a patch in place leaves it alone."""
    instance = view.instances.get(ordinal)
    if instance is None or instance.release.model == wanted.model:
        return wanted
    shown, known = view.models.get(instance.release.model), view.models.get(wanted.model)
    if shown is None or known is None or shown.content != known.content:
        return wanted
    return replace(wanted, model=instance.release.model)


def _of_its_own_model(view: SetView, batch: Batch, ordinal: int, wanted: Release) -> Release:
    """What the pod of an availability set's machine shows, with the batch's extension as wanted: its model, which may
    have replaced it just when the batch began, is the machine's own affair.
    """
    instance = view.instances.get(ordinal)
    version = dict(wanted.extensions).get(batch.extension)
    if instance is None or version is None or batch.extension not in dict(instance.release.extensions):
        return wanted
    shown = tuple((n, version if n == batch.extension else v) for n, v in instance.release.extensions)
    return instance.release if shown == instance.release.extensions else replace(instance.release, extensions=shown)


def _verdicts(
    view: SetView, batch: Batch, wanted: Mapping[int, Release], policy: RollingPolicy, now: datetime
) -> Iterator[tuple[int, Verdict, datetime]]:
    """The members that are not healthy, with the time of their judgement."""
    for ordinal, release in wanted.items():
        instance = view.instances.get(ordinal)
        since = batch.start
        if batch.roll_back_time is not None and ordinal in batch.rolled_back and not _never_left(instance, batch):
            since = batch.roll_back_time
        model = view.models.get(release.model)
        extension = extensions.model_extension(model, batch.extension) if batch.extension else None
        if extension is None:
            judgement = health.judge(
                instance, release, since=since, policy=policy, model=model, fresh_since=view.fresh_since, now=now
            )
        else:
            judgement = health.judge_in_place(
                instance,
                release,
                extension,
                since=since,
                policy=policy,
                model=model,
                was_unhealthy=ordinal in batch.unhealthy_before,
                fresh_since=view.fresh_since,
                now=now,
            )
        if judgement.at is not None:
            yield ordinal, judgement.verdict, judgement.at


def _never_left(instance: Instance | None, batch: Batch) -> bool:
    """Whether the pod has been terminating since before the put-back: waiting for its end a second time is in vain."""
    ending = instance.deleting_since if instance is not None else None
    return ending is not None and batch.roll_back_time is not None and ending < batch.roll_back_time


def _bring(view: SetView, batch: Batch, ordinal: int, wanted: Release, now: datetime) -> Action | datetime | None:
    """The next thing to do on the way to the wanted release, if anything."""
    instance = view.instances.get(ordinal)
    if instance is None:
        return instances.create(view, ordinal, wanted, now)
    if instance.deleting_since is not None:
        return None
    if batch.extension and instance.live:
        return _patch(view, batch, instance, wanted, now)
    if ordinal in view.claims_deleting:
        return None
    if instance.release != wanted:
        if releases.differs_in_flags_only(view, instance.release, wanted):
            return instances.label_for(instance, wanted.model)
        return DeleteInstance(ordinal, instance.uid, "RollBack" if ordinal in batch.rolled_back else "Upgrade")
    return instances.clear_away(view, instance, now) if instance.lost else None


def _patch(
    view: SetView, batch: Batch, instance: Instance, wanted: Release, now: datetime
) -> PatchExtension | datetime | None:
    """Upgrade or put back the batch's extension in place. The container that it has now is the one to wait for the end
    of, unless the one before never gave way and runs on: then nothing will change.
    """
    name = batch.extension
    version = dict(wanted.extensions).get(name, "")
    if not version or dict(instance.release.extensions).get(name) == version or instance.ordinal in view.unpatchable:
        return None
    if held := instances.held_until(view, instance.ordinal, TroubleKind.IMAGE_MISSING, now=now):
        return held
    sidecar = instance.sidecar(name)
    current = sidecar.container_id or NO_CONTAINER
    runs = sidecar.started_at is not None
    unmoved = instance.ordinal in batch.rolled_back and current == sidecar.before and runs
    return PatchExtension(instance.ordinal, instance.uid, name, version, before="" if unmoved else current)


def _put_back(view: SetView, batch: Batch, failed: Ordinals, wanted: Mapping[int, Release], now: datetime) -> Batch:
    return replace(
        batch,
        failed=batch.failed | failed,
        not_created=batch.not_created | _not_created(view, failed, wanted),
        rolled_back=batch.rolled_back | failed,
        roll_back_time=now,
    )


def _judged(view: SetView, batch: Batch, failed: Ordinals, wanted: Mapping[int, Release], now: datetime) -> Batch:
    """Every member is judged. ``failed`` are those that are not healthy now, put back or not."""
    if batch.rolled_back:
        outcome = BatchOutcome.ROLLED_BACK
    else:
        outcome = BatchOutcome.FAILED if failed else BatchOutcome.SUCCEEDED
    return replace(
        batch,
        failed=batch.failed | failed,
        not_created=batch.not_created | _not_created(view, failed - batch.failed, wanted),
        roll_back_failed=failed & batch.rolled_back,
        completed=now,
        outcome=outcome,
    )


def _not_created(view: SetView, failed: Ordinals, wanted: Mapping[int, Release]) -> Ordinals:
    """Those without a pod because the API server, a quota or a missing image didn't let it come."""
    return frozenset(o for o in failed if o not in view.instances and instances.obstacles(view, o, wanted[o]))


def _runs(view: SetView, ordinal: int, batch: Batch, wanted: Release) -> Release:
    """What a judged member runs or comes back as: one that never ended comes back as what it was."""
    instance = view.instances.get(ordinal)
    if instance is None or instance.lost:
        return wanted
    if instance.deleting_since is None:
        return instance.release
    return batch.members[ordinal] if ordinal in batch.failed else wanted
