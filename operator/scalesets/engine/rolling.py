"""The step of the upgrade that holds the set's lock: one pure function of what is stored and what is seen.

The life of a batch: its intent is stored (Running) → its members are taken down and come back on the target → each is
judged → failed ones are put back where roll-back applies (an intent of its own, stored first) and judged once more →
the verdict is stored together with the next batch's intent. Between batches the stop rules, a cancel and the pause
are looked at. Sources: O8, O11, O12, O13, O24 and docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from scalesets.engine import batches, checks, health, instances, ordinals, progress, releases, scopes
from scalesets.engine.census import Census
from scalesets.engine.decision import Action, DeleteInstance, DryRun, Event
from scalesets.engine.health import Verdict
from scalesets.engine.instances import WAITING_FOR_APPROVAL
from scalesets.engine.view import (
    NONE,
    Batch,
    BatchOutcome,
    Code,
    Instance,
    Ordinals,
    Release,
    RollingPolicy,
    SetView,
    StartedBy,
    TroubleKind,
    Upgrade,
    UpgradeStatus,
    UpgradeType,
)

WAVE = timedelta(seconds=5)
"""Failures that fall due within this time of each other are put back together, in one status write."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the upgrade wants now. ``members`` are the running batch's, ``record`` what those of a batch that ends
    run.
    """

    status: UpgradeStatus | None = None  # to be stored; None: as it is
    dry_run: DryRun | None = None  # before the status is stored
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: tuple[datetime, ...] = ()
    members: Ordinals = NONE
    record: Mapping[int, Release] = field(default_factory=dict)


def step(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> Step:
    """Take the upgrade that holds the lock one step further."""
    status = upgrade.status
    if status is None or (not status.batches and not scopes.is_current(view, upgrade, status)):
        begun = scopes.begin(view, upgrade, census, now)
        if begun.code.final:
            return Step(begun, events=(_end_event(upgrade, begun),))
        started = Event("UpgradeStarted", f"{upgrade.name}: {scopes.describe(upgrade, begun)}")
        following = _next(view, upgrade, begun, census, now)
        status = following.status or begun
        return replace(following, status=status, events=(started, *following.events))
    batch = status.running_batch
    if batch is not None:
        return _work(view, upgrade, status, batch, census, now)
    following = _next(view, upgrade, status, census, now)
    return replace(following, status=None) if following.status == status else following


def policy_for(view: SetView, upgrade_type: UpgradeType) -> RollingPolicy:
    """The policy that counts: an OS upgrade uses 20/20/20 and no pause unless the set says useRollingUpgradePolicy."""
    if upgrade_type is not UpgradeType.OS_IMAGE or view.os_policy.use_rolling_policy:
        return view.policy
    return RollingPolicy(
        health_timeout=view.policy.health_timeout, provisioning_timeout=view.policy.provisioning_timeout
    )


def rolls_back(view: SetView, upgrade: Upgrade) -> bool:
    """Whether a failed instance is put back at once (docs/rules.md, "Who goes back")."""
    if scopes.is_platform_os(upgrade):
        return not view.os_policy.disable_roll_back
    return upgrade.type is UpgradeType.EXTENSION


# -- a batch at work ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Judged:
    """The members of the running batch by verdict."""

    failed: list[int] = field(default_factory=list)  # new failures
    put_back_failed: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


def _work(view: SetView, upgrade: Upgrade, status: UpgradeStatus, batch: Batch, census: Census, now: datetime) -> Step:
    policy = policy_for(view, upgrade.type)
    members = {o: former for o, former in batch.members.items() if o < view.replicas}
    wanted = {o: _wanted(view, upgrade, status, batch, o, former) for o, former in members.items()}
    judged = _judge(view, batch, wanted, policy, now)
    mine = frozenset(members)
    if judged.failed and rolls_back(view, upgrade):
        if any(t <= now + WAVE for t in judged.times):
            return Step(actions=tuple(judged.actions), look_again=tuple(judged.times), members=mine)
        put_back = frozenset(judged.failed)
        changed = replace(
            batch,
            failed=batch.failed | put_back,
            rolled_back=batch.rolled_back | put_back,
            roll_back_time=now,
        )
        told = Event("RollingBack", f"{upgrade.name}: putting back {_names(view, put_back)}", warning=True)
        return Step(
            _with_batch(view, status, changed, Code.ROLLING_BACK, "RollBack", now),
            actions=tuple(judged.actions),
            events=(told,),
            members=mine,
        )
    if judged.waiting:
        return Step(actions=tuple(judged.actions), look_again=tuple(judged.times), members=mine)
    return _finish_batch(view, upgrade, status, batch, wanted, judged, census, now)


def _wanted(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, batch: Batch, ordinal: int, former: Release
) -> Release:
    if ordinal in batch.rolled_back:
        return releases.for_lost_instance(view, former)
    return releases.for_member(view, upgrade, status.target, former)


def _judge(view: SetView, batch: Batch, wanted: Mapping[int, Release], policy: RollingPolicy, now: datetime) -> _Judged:
    judged = _Judged()
    for ordinal, release in wanted.items():
        back = ordinal in batch.rolled_back
        since = batch.roll_back_time if back and batch.roll_back_time else batch.start
        instance = view.instances.get(ordinal)
        model = view.models.get(release.model)
        judgement = health.judge(instance, release, since=since, policy=policy, model=model, now=now)
        if judgement.verdict is Verdict.HEALTHY:
            continue
        act = _bring(view, ordinal, instance, release, "RollBack" if back else "Upgrade", now)
        if isinstance(act, datetime):
            judged.times.append(act)
        elif act is not None:
            judged.actions.append(act)
        if judgement.verdict is Verdict.WAITING:
            judged.waiting.append(ordinal)
            if judgement.at is not None:
                judged.times.append(judgement.at)
        elif back:
            judged.put_back_failed.append(ordinal)
        elif ordinal not in batch.failed:
            judged.failed.append(ordinal)
    return judged


def _bring(
    view: SetView, ordinal: int, instance: Instance | None, wanted: Release, reason: str, now: datetime
) -> Action | datetime | None:
    """The next thing to do on the way to the wanted release, if anything."""
    if instance is None:
        return instances.create(view, ordinal, wanted, now)
    if instance.deleting_since is not None:
        return None
    if instance.release != wanted:
        if releases.differs_in_flags_only(view, instance.release, wanted):
            return instances.label_for(instance, wanted)
        return DeleteInstance(ordinal, instance.uid, reason)
    return instances.clear_away(view, instance, now) if instance.lost else None


def _finish_batch(
    view: SetView,
    upgrade: Upgrade,
    status: UpgradeStatus,
    batch: Batch,
    wanted: Mapping[int, Release],
    judged: _Judged,
    census: Census,
    now: datetime,
) -> Step:
    failed = batch.failed | frozenset(judged.failed)
    if batch.rolled_back:
        outcome = BatchOutcome.ROLLED_BACK
    else:
        outcome = BatchOutcome.FAILED if failed else BatchOutcome.SUCCEEDED
    done = replace(
        batch,
        failed=failed,
        roll_back_failed=frozenset(judged.put_back_failed),
        completed=now,
        outcome=outcome,
    )
    error = _roll_back_error(view, done) or status.roll_back_error
    code = status.code if status.error_code else Code.ROLLING_FORWARD
    after = replace(
        _with_batch(view, status, done, code, status.last_action, status.last_action_time), roll_back_error=error
    )
    record = {o: _runs(view.instances.get(o), release) for o, release in wanted.items()}
    following = _next(view, upgrade, after, census, now)
    return replace(
        following,
        status=following.status or after,
        events=(_batch_event(view, upgrade, done), *following.events),
        members=frozenset(wanted),
        record=record,
    )


def _runs(instance: Instance | None, wanted: Release) -> Release:
    return instance.release if instance is not None and instance.live else wanted


def _roll_back_error(view: SetView, batch: Batch) -> str:
    if not batch.roll_back_failed:
        return ""
    parts = []
    for ordinal in sorted(batch.roll_back_failed)[:5]:
        instance = view.instances.get(ordinal)
        if instance is None:
            why = "could not be created again"
        elif instance.deleting_since is not None:
            why = "is still terminating"
        else:
            why = instance.failure or "is still unhealthy"
        parts.append(f"{view.instance_name(ordinal)} {why}")
    more = len(batch.roll_back_failed) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


# -- between batches ---------------------------------------------------------------------------------------------------


def _next(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census, now: datetime) -> Step:
    """No batch is at work: end, wait, or choose the next one."""
    policy = policy_for(view, upgrade.type)
    status = scopes.trim(view, upgrade, status, census)
    if status.error_code:
        return _put_back_next(view, upgrade, status, now)
    if status.batches and (stop := checks.upgraded_instances(census, policy, status.batches, status.scope)):
        return _stop(view, upgrade, status, stop, now)
    pending = status.scope - checks.touched(status.batches, status.scope)
    if not pending:
        return _end(view, upgrade, status, Code.COMPLETED, now)
    if reason := scopes.cancel_reason(view, upgrade, status, now):
        return _end(view, upgrade, status, Code.CANCELLED, now, *reason)
    if held := _hold(view, upgrade, status, pending, policy, now):
        return held
    ignored = pending if upgrade.type is UpgradeType.MODEL else NONE
    if not upgrade.instances:
        code = checks.DURING if status.batches or upgrade.started_by is StartedBy.PLATFORM else checks.BEFORE
        if stop := checks.whole_set(census, policy, code=code, ignored=ignored):
            return _stop(view, upgrade, status, stop, now)
    return _choose(view, upgrade, status, pending, policy, census, now)


def _hold(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, pending: Ordinals, policy: RollingPolicy, now: datetime
) -> Step | None:
    """Not now: the pause between batches, an approval, or a template that the server refuses."""
    if status.batches and (last := status.batches[-1].completed) is not None and last + policy.pause > now:
        until = last + policy.pause
        return _wait(view, status, "PauseBetweenBatches", f"until {until:%Y-%m-%dT%H:%M:%SZ}", until)
    if scopes.is_deferred(view, upgrade) and not scopes.approved(view, upgrade, pending):
        return _wait(view, status, WAITING_FOR_APPROVAL, "name instances in spec.approvedInstances")
    for trouble in view.troubles:
        if (
            trouble.kind is TroubleKind.TEMPLATE_REFUSED
            and trouble.model == status.target.model
            and trouble.until is not None
            and trouble.until > now
        ):
            return _wait(view, status, "TemplateRefused", trouble.message, trouble.until)
    return None


def _choose(
    view: SetView,
    upgrade: Upgrade,
    status: UpgradeStatus,
    pending: Ordinals,
    policy: RollingPolicy,
    census: Census,
    now: datetime,
) -> Step:
    if scopes.is_deferred(view, upgrade):
        pending = scopes.approved(view, upgrade, pending)
        status = scopes.refresh(view, status, now)
    first_sick = upgrade.type is UpgradeType.MODEL or policy.prioritize_unhealthy
    choice = batches.choose(
        view,
        pending,
        limit=batches.size(policy, upgrade.type, view.replicas),
        cross_zone=policy.cross_zone,
        unhealthy_first=census.unhealthy if first_sick else NONE,
    )
    if choice is None:
        return _wait(view, status, "ZoneClosed", f"zone {view.open_zone} is open for this target now")
    batch = Batch(
        number=len(status.batches) + 1,
        zone=choice.zone,
        update_domain=choice.update_domain,
        start=now,
        members={o: census.releases[o] for o in sorted(choice.members)},
        unhealthy_before=choice.members & census.unhealthy,
    )
    started = replace(
        status, batches=(*status.batches, batch), code=Code.ROLLING_FORWARD, waiting="", waiting_message=""
    )
    sample = min(choice.members)
    release = releases.for_member(view, upgrade, started.target, batch.members[sample])
    return Step(progress.counted(started), dry_run=DryRun(sample, release))


def _put_back_next(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> Step:
    """After a stop the failed instances go back, cell by cell (rollbackFailedInstancesOnPolicyBreach)."""
    for former in status.batches:
        back = frozenset(o for b in status.batches for o in b.rolled_back)
        left = sorted(o for o in former.failed - back if o < view.replicas and o in former.members)
        if left:
            batch = Batch(
                number=len(status.batches) + 1,
                zone=former.zone,
                update_domain=former.update_domain,
                start=now,
                members={o: former.members[o] for o in left},
                unhealthy_before=frozenset(left),
                failed=frozenset(left),
                rolled_back=frozenset(left),
                roll_back_time=now,
            )
            changed = replace(status, batches=(*status.batches, batch), code=Code.ROLLING_BACK)
            return Step(progress.counted(changed))
    return _end(view, upgrade, status, Code.FAULTED, now, status.error_code, status.error)


def _stop(view: SetView, upgrade: Upgrade, status: UpgradeStatus, stop: checks.Stop, now: datetime) -> Step:
    if upgrade.type is UpgradeType.MODEL and view.policy.roll_back_on_breach:
        return _put_back_next(view, upgrade, replace(status, error_code=stop.code, error=stop.message), now)
    return _end(view, upgrade, status, Code.FAULTED, now, stop.code, stop.message)


def _wait(view: SetView, status: UpgradeStatus, reason: str, message: str, until: datetime | None = None) -> Step:
    waiting = progress.counted(replace(status, waiting=reason, waiting_message=message))
    return Step(waiting, look_again=(until,) if until is not None else ())


def _end(
    view: SetView,
    upgrade: Upgrade,
    status: UpgradeStatus,
    code: Code,
    now: datetime,
    error_code: str = "",
    error: str = "",
) -> Step:
    ended = replace(
        status,
        code=code,
        last_action="Cancel" if code is Code.CANCELLED else status.last_action,
        last_action_time=now if code is Code.CANCELLED else status.last_action_time,
        completed=now,
        error_code=error_code,
        error=error,
        waiting="",
        waiting_message="",
    )
    ended = progress.counted(ended)
    return Step(ended, events=(_end_event(upgrade, ended),))


def _with_batch(
    view: SetView, status: UpgradeStatus, batch: Batch, code: Code, action: str, at: datetime | None
) -> UpgradeStatus:
    changed = replace(status, batches=(*status.batches[:-1], batch), code=code, last_action=action, last_action_time=at)
    return progress.counted(changed)


# -- words -------------------------------------------------------------------------------------------------------------


def _names(view: SetView, some: Ordinals) -> str:
    return f"{view.name}-{{{ordinals.render(some)}}}" if len(some) > 1 else view.instance_name(next(iter(some)))


def _batch_event(view: SetView, upgrade: Upgrade, batch: Batch) -> Event:
    where = f"zone {batch.zone}, " if batch.zone else ""
    text = f"{upgrade.name}: batch {batch.number} ({where}update domain {batch.update_domain}) "
    good = frozenset(batch.members) - batch.failed
    parts = [f"{_names(view, good)} upgraded"] if good else []
    if back := batch.rolled_back - batch.roll_back_failed:
        parts.append(f"{_names(view, back)} failed and put back")
    if batch.roll_back_failed:
        parts.append(f"{_names(view, batch.roll_back_failed)} failed and could not be put back")
    if stay := batch.failed - batch.rolled_back:
        parts.append(f"{_names(view, stay)} failed")
    reason = "BatchSucceeded" if batch.outcome is BatchOutcome.SUCCEEDED else "BatchFailed"
    return Event(reason, text + "; ".join(parts), warning=bool(batch.failed))


def _end_event(upgrade: Upgrade, status: UpgradeStatus) -> Event:
    words = {
        Code.COMPLETED: ("UpgradeCompleted", "completed"),
        Code.CANCELLED: ("UpgradeCancelled", "cancelled"),
        Code.FAULTED: ("UpgradeStopped", "stopped"),
    }
    reason, verb = words[status.code]
    why = f": {status.error_code}: {status.error}" if status.error_code else ""
    return Event(reason, f"{upgrade.name} {verb}{why}", warning=status.code is Code.FAULTED)
