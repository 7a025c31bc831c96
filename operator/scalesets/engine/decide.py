"""The one question the operator asks: what is to be done for this scale set now? (docs/design.md, "The shape")

Reads top to bottom: count the set, take the upgrade that holds the lock one step further or see who may take it, tend
the instances outside it, then say it all in the status. What must be stored first comes first in ``Decision.writes``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from scalesets.engine import automatic, checks, history, instances, rolling, scopes, start, versions
from scalesets.engine import census as counting
from scalesets.engine import status as statuses
from scalesets.engine.census import Census
from scalesets.engine.decision import (
    ClearApprovals,
    Decision,
    Event,
    ReleaseUpgrade,
    Write,
    WriteSetStatus,
    WriteUpgradeStatus,
)
from scalesets.engine.rolling import WAITING_FOR_TURN, Step
from scalesets.engine.start import Start
from scalesets.engine.view import SetStatus, SetView, Upgrade, UpgradeType


def decide(view: SetView, now: datetime) -> Decision:
    """Decide on one scale set. Pure: the same view and time give the same decision."""
    if view.deleting:
        return Decision(writes=tuple(ReleaseUpgrade(u.name, u.uid) for u in view.upgrades if u.held))
    stored = view.status
    view = _as_its_group_wants(_guard_replicas(view))
    base = statuses.bookkeeping(view, now)
    view = replace(view, status=base)
    census = counting.take(view, now)
    step, begin, base, events = _upgrade(view, base, census, now)
    upgrade = _at_work(view, base, step)
    failed = rolling.has_failed(view, census)
    plan = instances.Plan()
    if not view.is_group:
        plan = instances.tend(view, census, step.members, now, target_failed=failed)
    free = not base.current_upgrade and not begin.writes and not view.is_group and view.wanted is None
    intents = automatic.intents(view, census, now) if free else automatic.Intents()
    members = step.members if view.wanted is None else frozenset(view.names)
    base = replace(
        base,
        record=statuses.record(view, census, members=members, judged=step.record, intents=intents.record),
    )
    after = statuses.compute(view, base, census, upgrade, begin, plan.unresolved, now)
    dropped, expiry = history.outdated(view, now)
    # First, for what is refused there ends the decision unsaid.
    writes: list[Write] = [step.dry_run] if step.dry_run else [*intents.trials]
    writes.extend(begin.writes)
    if after != stored:
        writes.append(WriteSetStatus(after, urgent=statuses.is_urgent(stored, after, judged=step.record)))
    if step.status is not None and view.current_upgrade is not None:
        held = view.current_upgrade
        if step.clears_approvals and held.approved:
            writes.append(ClearApprovals(held.name, held.uid))
        writes.append(WriteUpgradeStatus(held.name, held.uid, step.status))
    writes.extend(
        ReleaseUpgrade(u.name, u.uid) for u in view.upgrades if u.held and u.finished and u.name != base.current_upgrade
    )
    writes.extend(dropped)
    times = [*step.look_again, *plan.look_again, begin.look_again, expiry, *_times(view, census, now)]
    policy = rolling.policy_for(view, UpgradeType.OS_IMAGE)
    return Decision(
        writes=tuple(writes),
        actions=(*step.actions, *plan.actions),
        events=(*events, *_new_troubles(stored, view)),
        look_again=min((t for t in times if t is not None), default=None),
        within_limit=checks.whole_set(census, policy, code=checks.BEFORE) is None,
        waits_for_turn=WAITING_FOR_TURN in (begin.reason, _waiting(upgrade)),
    )


def _upgrade(
    view: SetView, base: SetStatus, census: Census, now: datetime
) -> tuple[Step, Start, SetStatus, tuple[Event, ...]]:
    """One step for the upgrade that holds the lock; with a free lock, who takes it."""
    if not base.current_upgrade:
        begin = start.choose(view, census, now)
        locked = replace(base, current_upgrade=begin.lock) if begin.lock else base
        return Step(), begin, locked, begin.events
    upgrade = view.current_upgrade
    if upgrade is None:
        gone = Event("UpgradeLost", f"{base.current_upgrade} was deleted while it ran", warning=True)
        return Step(), Start(), replace(base, current_upgrade=""), (gone,)
    if upgrade.finished:
        return Step(), Start(), history.closed(view, base, upgrade), ()
    step = rolling.step(view, upgrade, census, now)
    after = replace(upgrade, status=step.status or upgrade.status)
    if scopes.awaits_approval(after) and after.status is not None and after.status.running_batch is None:
        base = replace(base, current_upgrade="")  # it holds nobody up while it waits
    return step, Start(), base, step.events


def _at_work(view: SetView, base: SetStatus, step: Step) -> Upgrade | None:
    """The upgrade that the status speaks of, with the status that is about to be stored."""
    upgrade = view.current_upgrade if base.current_upgrade else None
    return replace(upgrade, status=step.status) if upgrade is not None and step.status is not None else upgrade


def _as_its_group_wants(view: SetView) -> SetView:
    """A machine in the running batch of its availability set: what that wants goes on record, so that the machine comes
    back as it also when the batch is over.
    """
    if view.wanted is None:
        return view
    return replace(view, status=replace(view.status, record=dict.fromkeys(view.names, view.wanted)))


def _waiting(upgrade: Upgrade | None) -> str:
    """What the upgrade waits for."""
    return upgrade.status.waiting if upgrade is not None and upgrade.status is not None else ""


def _guard_replicas(view: SetView) -> SetView:
    """A drop to the default that no field manager owns doesn't scale in a set that has instances."""
    if view.replicas_owned:
        return view
    there = [o for o, instance in view.instances.items() if instance.live]
    known = max([*view.status.record, *there], default=-1) + 1
    if known <= view.replicas:
        return replace(view, replicas_owned=True)
    return replace(view, replicas=known)


def _times(view: SetView, census: Census, now: datetime) -> list[datetime | None]:
    """When time alone changes the picture: a version comes or goes, a trouble ends, a new instance starts to count."""
    grown = view.policy.provisioning_timeout + view.policy.health_timeout
    young = [i.created + grown for i in census.young]
    ends = [t for trouble in view.troubles for t in (trouble.until, trouble.forgotten) if t is not None and t > now]
    model = view.model
    catalogues = [view.images.get(model.image)] if model is not None else []
    catalogues += [view.extensions.get(e.key) for e in model.extensions] if model is not None else []
    changes = [versions.next_change(catalogue, now) for catalogue in catalogues]
    return [min(young, default=None), min(ends, default=None), *changes]


def _new_troubles(stored: SetStatus, view: SetView) -> tuple[Event, ...]:
    """Trouble is told once, when its condition appears; the condition tells it as long as it lasts."""
    known = {c.type for c in stored.conditions if c.status}
    new = {t.kind: t.message for t in reversed(view.troubles) if t.kind.value not in known}
    return tuple(Event(kind.value, message, warning=True) for kind, message in new.items())
