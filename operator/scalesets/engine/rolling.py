"""The step of the upgrade that holds the set's lock: one pure function of what is stored and what is seen.

The life of a batch: its intent is stored (Running) → its members are taken down and come back on the target → each is
judged → failed ones are put back where roll-back applies (an intent of its own, stored first) and judged once more →
the verdict is stored together with the next batch's intent (working.py looks at a running batch). Between batches the
stop rules, a cancel and the pause are looked at. Sources: O8, O11, O12, O13, O24 and docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from scalesets.engine import batches, checks, extensions, progress, releases, scopes, words, working
from scalesets.engine.census import Census
from scalesets.engine.decision import Action, DryRun, Event
from scalesets.engine.view import (
    NONE,
    Batch,
    BatchOutcome,
    Code,
    Ordinals,
    Release,
    RollingPolicy,
    SetView,
    StartedBy,
    TargetOutcome,
    Trouble,
    TroubleKind,
    Upgrade,
    UpgradeStatus,
    UpgradeType,
)

WAITING_FOR_TURN = "WaitingForTurn"
"""What a machine waits for while enough others are at work (E5b)."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the upgrade wants now. ``members`` are the running batch's, ``record`` what those of a batch that ends
    run.
    """

    status: UpgradeStatus | None = None  # to be stored; None: as it is
    clears_approvals: bool = False  # before the status is stored
    dry_run: DryRun | None = None  # before the status is stored
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: tuple[datetime, ...] = ()
    members: Ordinals = NONE
    record: Mapping[int, Release] = field(default_factory=dict)


def step(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> Step:
    """Take the upgrade that holds the lock one step further."""
    status = upgrade.status
    if status is None or (not status.batches and not scopes.is_current(view, upgrade, status, census, now)):
        begun = scopes.begin(view, upgrade, census, now)
        if begun.code.final:
            return Step(begun, events=(words.ended(upgrade, begun),))
        if status is not None and scopes.needs_new_approval(view, upgrade, status, begun):
            waiting = scopes.awaiting(begun)
            return Step(waiting, clears_approvals=True, events=(words.waits_for_approval(upgrade, waiting),))
        following = _next(view, upgrade, begun, census, now)
        events = (words.started(upgrade, begun), *following.events)
        return replace(following, status=following.status or begun, events=events)
    kept = scopes.let_go(view, status)
    if kept.running_batch is not None:
        following = _work(view, upgrade, kept, census, now)
    else:
        following = _next(view, upgrade, kept, census, now)
    after = following.status or kept
    return replace(following, status=after if after != status else None)


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


def has_failed(view: SetView, census: Census) -> bool:
    """Whether so many failed that the upgrade stops when the batch that is being put back is judged, or has stopped
    (O13).
    """
    upgrade = view.current_upgrade
    status = upgrade.status if upgrade is not None else None
    if upgrade is None or status is None:
        return False
    if status.code is not Code.ROLLING_BACK:
        return status.code is Code.FAULTED and status.error_code == checks.UPGRADED
    policy = policy_for(view, upgrade.type)
    return checks.upgraded_instances(census, policy, status.batches, status.scope) is not None


# -- a batch at work ---------------------------------------------------------------------------------------------------


def _work(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census, now: datetime) -> Step:
    policy = policy_for(view, upgrade.type)
    work = working.look(view, upgrade, status, policy, now, puts_back=rolls_back(view, upgrade))
    so_far = Step(actions=tuple(work.actions), look_again=tuple(work.look_again), members=frozenset(work.wanted))
    if work.batch == status.running_batch:
        return so_far
    if work.batch.outcome is BatchOutcome.RUNNING:
        after = _with_batch(status, work.batch, Code.ROLLING_BACK)
        after = replace(after, last_action="RollBack", last_action_time=now)
        back = work.batch.rolled_back - status.batches[-1].rolled_back
        told = words.putting_back(view, upgrade, back)
        if work.batch.extension:
            after = extensions.noted(after, work.batch, back, words.failure(view, back))
        return replace(so_far, status=after, events=(told,))
    after = _with_batch(status, work.batch, status.code if status.error_code else Code.ROLLING_FORWARD)
    after = replace(after, roll_back_error=words.roll_back_error(view, work.batch) or status.roll_back_error)
    following = _next(view, upgrade, after, census, now)
    return replace(
        following,
        status=following.status or after,
        events=(words.batch_judged(view, upgrade, work.batch, status.scope), *following.events),
        members=so_far.members,
        record=work.record,
    )


def _with_batch(status: UpgradeStatus, batch: Batch, code: Code) -> UpgradeStatus:
    return progress.counted(replace(status, batches=(*status.batches[:-1], batch), code=code))


# -- between batches ---------------------------------------------------------------------------------------------------


def _next(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census, now: datetime) -> Step:
    """No batch is at work: end, wait, or choose the next one."""
    policy = policy_for(view, upgrade.type)
    if status.error_code:
        return _put_back_next(view, upgrade, status, now)
    status = scopes.trim(view, upgrade, status, census)
    if upgrade.type is UpgradeType.EXTENSION:
        return _next_extension(view, upgrade, status, policy, census, now)
    if status.batches and (stop := checks.upgraded_instances(census, policy, status.batches, status.scope)):
        return _stop(view, upgrade, status, stop, now)
    pending = status.scope - checks.touched(status.batches, status.scope)
    if not pending:
        return _end(upgrade, status, Code.COMPLETED, now)
    if reason := scopes.cancel_reason(view, upgrade, status, now):
        return _end(upgrade, status, Code.CANCELLED, now, *reason)
    if held := _hold(view, upgrade, status, pending, policy, now):
        return held
    if not upgrade.instances:
        ignored = pending if upgrade.type is UpgradeType.MODEL else NONE
        code = checks.DURING if status.batches or upgrade.started_by is StartedBy.PLATFORM else checks.BEFORE
        if stop := checks.whole_set(census, policy, code=code, ignored=ignored):
            return _stop(view, upgrade, status, stop, now)
    return _choose(view, upgrade, scopes.refresh(view, status, now), pending, policy, census, now)


def _next_extension(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, policy: RollingPolicy, census: Census, now: datetime
) -> Step:
    """The next extension on the instances of the last batch, else the next visit (extensions.py). What may be touched
    at once is asked again each time: the set, or its policy, may be another meanwhile.
    """
    status = extensions.reviewed(view, upgrade, status, census, policy, now)
    left = extensions.pending(view, status, census)
    if not left:
        outcome, error_code, error = extensions.verdict(status)
        return _end(upgrade, status, outcome, now, error_code, error)
    if upgrade.deleting or upgrade.cancel:
        reason = scopes.cancel_reason(view, upgrade, status, now)
        assert reason is not None
        dropped = extensions.cut_short(status, left, TargetOutcome.DROPPED, *reason)
        return _end(upgrade, dropped, Code.CANCELLED, now, *reason)
    going_on = extensions.following(status, left)
    everyone = frozenset().union(*left.values())
    if going_on is None and (held := _hold(view, upgrade, status, everyone, policy, now)):
        return held
    code = checks.DURING if status.batches or upgrade.started_by is StartedBy.PLATFORM else checks.BEFORE
    if stop := checks.whole_set(census, policy, code=code):
        stopped = extensions.cut_short(status, left, TargetOutcome.STOPPED, stop.code, stop.message)
        return _stop(view, upgrade, stopped, stop, now)
    if going_on is None and view.held_back:
        return _wait(status, WAITING_FOR_TURN, view.held_back)
    name, candidates = going_on or ("", everyone)
    choice = batches.choose(
        view,
        candidates,
        limit=batches.limit(view, policy, upgrade.type),
        cross_zone=policy.cross_zone,
        unhealthy_first=census.unhealthy if policy.prioritize_unhealthy and going_on is None else NONE,
    )
    if choice is None:
        return _wait(status, "ZoneClosed", f"zone {view.open_zone} is open for this target now")
    members = choice.members
    if going_on is None:
        name, members = next((n, found) for n, some in left.items() if (found := choice.members & some))
    return _begin(view, status, census, choice.zone, choice.update_domain, members, now, extension=name)


def _begin(
    view: SetView,
    status: UpgradeStatus,
    census: Census,
    zone: str,
    update_domain: int,
    members: Ordinals,
    now: datetime,
    *,
    extension: str = "",
) -> Step:
    """A batch begins: its intent."""
    batch = Batch(
        number=len(status.batches) + 1,
        zone=zone,
        update_domain=update_domain,
        start=now,
        members={o: census.releases[o] for o in sorted(members)},
        extension=extension,
        unhealthy_before=members & census.unhealthy,
        machines=tuple(view.names[o] for o in sorted(members) if o in view.names),
    )
    started = replace(
        status, batches=(*status.batches, batch), code=Code.ROLLING_FORWARD, waiting="", waiting_message=""
    )
    return Step(progress.counted(started))


def _hold(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, pending: Ordinals, policy: RollingPolicy, now: datetime
) -> Step | None:
    """Not now: the pause between batches, an approval, or pods that can't be made."""
    if status.batches and (last := status.batches[-1].completed) is not None and last + policy.pause > now:
        until = last + policy.pause
        return _wait(status, "PauseBetweenBatches", f"until {until:%Y-%m-%dT%H:%M:%SZ}", until)
    if scopes.is_deferred(view, upgrade) and not scopes.approved(view, upgrade, pending):
        return Step(scopes.awaiting(status))
    for trouble in view.troubles:
        if trouble.until is not None and trouble.until > now and _holds_batches(trouble, status, pending):
            return _wait(status, trouble.kind.value, trouble.message, trouble.until)
    return None


def _holds_batches(trouble: Trouble, status: UpgradeStatus, pending: Ordinals) -> bool:
    """Whether the trial before a batch found that pods of the target can't be made."""
    if trouble.kind is TroubleKind.TEMPLATE_REFUSED:
        return trouble.model == status.target.model
    return trouble.kind is TroubleKind.IMAGE_MISSING and not pending.isdisjoint(trouble.ordinals)


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
    first_sick = upgrade.type is UpgradeType.MODEL or policy.prioritize_unhealthy
    choice = batches.choose(
        view,
        pending,
        limit=batches.limit(view, policy, upgrade.type),
        cross_zone=policy.cross_zone,
        unhealthy_first=census.unhealthy if first_sick else NONE,
    )
    if choice is None:
        return _wait(status, "ZoneClosed", f"zone {view.open_zone} is open for this target now")
    sample = min(choice.members)
    trial = DryRun(sample, releases.for_member(view, upgrade, status.target, census.releases[sample]))
    begun = _begin(view, status, census, choice.zone, choice.update_domain, choice.members, now)
    return replace(begun, dry_run=trial)


def _wait(status: UpgradeStatus, reason: str, message: str, until: datetime | None = None) -> Step:
    waiting = replace(status, waiting=reason, waiting_message=message)
    return Step(waiting, look_again=(until,) if until is not None else ())


# -- stops and ends ----------------------------------------------------------------------------------------------------


def _stop(view: SetView, upgrade: Upgrade, status: UpgradeStatus, stop: checks.Stop, now: datetime) -> Step:
    """A stop rule was broken. The error code that is stored before the end is the intent to put failed ones back."""
    message = stop.message
    if stop.code == checks.NOT_CREATED:
        told = (t.message for t in view.troubles if t.model == status.target.model or t.ordinals & status.scope)
        message = "; ".join([message, *dict.fromkeys(told)])
    return _put_back_next(view, upgrade, replace(status, error_code=stop.code, error=message), now)


def _put_back_next(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> Step:
    """After a stop the failed instances of a model upgrade go back, cell by cell, if the policy says so
    (rollbackFailedInstancesOnPolicyBreach); then it ends.
    """
    limit = batches.size(policy_for(view, upgrade.type), upgrade.type, view.replicas)
    back = frozenset(o for b in status.batches for o in b.rolled_back)
    wanted = upgrade.type is UpgradeType.MODEL and view.policy.roll_back_on_breach
    for former in status.batches if wanted else ():
        left = sorted((former.failed & status.scope) - back - view.claims_deleting)[:limit]
        if left:
            batch = replace(
                former,
                number=len(status.batches) + 1,
                start=now,
                members={o: former.members[o] for o in left},
                unhealthy_before=frozenset(left),
                failed=frozenset(left),
                not_created=former.not_created.intersection(left),
                rolled_back=frozenset(left),
                roll_back_time=now,
                completed=None,
                outcome=BatchOutcome.RUNNING,
            )
            changed = replace(status, batches=(*status.batches, batch), code=Code.ROLLING_BACK)
            return Step(progress.counted(changed))
    return _end(upgrade, status, Code.FAULTED, now, status.error_code, status.error)


def _end(
    upgrade: Upgrade, status: UpgradeStatus, code: Code, now: datetime, error_code: str = "", error: str = ""
) -> Step:
    ended = replace(
        extensions.closed(status),
        code=code,
        completed=now,
        error_code=error_code,
        error=error,
        waiting="",
        waiting_message="",
    )
    if code is Code.CANCELLED:
        ended = replace(ended, last_action="Cancel", last_action_time=now)
    return Step(ended, events=(words.ended(upgrade, ended),))
