"""Which instances an upgrade would take in which batch, before it is run: the engine's own answer (O8, O9b, O9c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scalesets.cli.errors import CommandError
from scalesets.cli.program import hint
from scalesets.engine import batches, checks, rolling, scopes, start
from scalesets.engine import census as counting
from scalesets.engine.batches import Choice
from scalesets.engine.census import Census
from scalesets.engine.view import (
    NONE,
    Ordinals,
    RollingPolicy,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One batch to come; ``zone`` is empty without zones, or across them."""

    number: int
    zone: str
    update_domain: int
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance that the upgrade would not touch although it is behind, and why."""

    instance: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """An upgrade that is running (``upgrade`` names it) or could be: its batches to come."""

    name: str
    namespace: str
    upgrade: str
    type: str
    started_by: str
    from_versions: tuple[str, ...]
    target: str
    replicas: int
    instances: int
    batch_limit: int
    batches: tuple[PlannedBatch, ...]
    left_out: tuple[LeftOut, ...]
    health_timeout: timedelta
    pause: timedelta
    rolls_back: bool
    blocked: str


def running(view: SetView, now: datetime) -> PlanView | None:
    """What is left of the upgrade that holds the lock, or of one that waits for approval; None when there is none."""
    upgrade = _begun(view)
    if upgrade is None or upgrade.status is None:
        return None
    return _plan(view, upgrade, scopes.trim(view, upgrade, upgrade.status, counting.take(view, now)), now)


def hypothetical(
    view: SetView, kind: UpgradeType, started_by: StartedBy, now: datetime, *, instances: Sequence[str] = ()
) -> PlanView:
    """An upgrade as it would begin now. A CommandError says why it can't."""
    upgrade = Upgrade("", "", now, kind, started_by, instances=tuple(instances))
    status = scopes.begin(view, upgrade, counting.take(view, now), now)
    if status.code.final:
        mend = hint("explain", view.name)
        raise CommandError(f"nothing to plan: {status.error} ({status.error_code})", mend=mend)
    made = _plan(view, upgrade, status, now)
    if started_by is StartedBy.USER or made.blocked or not made.instances:
        return made
    return replace(made, blocked=_not_by_itself(view, kind, now))


def next_type(view: SetView, now: datetime) -> UpgradeType:
    """What the platform would do first: a changed model goes before an image in Rolling mode."""
    probe = Upgrade("", "", now, UpgradeType.MODEL, StartedBy.PLATFORM)
    status = scopes.begin(view, probe, counting.take(view, now), now)
    due = bool(status.scope) and view.mode.value == "Rolling"
    return UpgradeType.MODEL if due else UpgradeType.OS_IMAGE


def batches_to_come(view: SetView, now: datetime) -> int | None:
    """How many batches the running upgrade has yet to begin, if all goes well; None when none runs.

    Instances that need nothing any more are counted in: to tell them takes the set's models, which displays don't read.
    """
    upgrade = _begun(view)
    if upgrade is None or upgrade.status is None:
        return None
    return len(_choose(view, upgrade, upgrade.status, counting.take(view, now)))


def _begun(view: SetView) -> Upgrade | None:
    if view.current_upgrade is not None and not view.current_upgrade.finished:
        return view.current_upgrade
    return next((u for u in view.upgrades if u.status is not None and not u.finished), None)


def _choose(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census) -> tuple[Choice, ...]:
    policy = rolling.policy_for(view, upgrade.type)
    sick_first = upgrade.type is UpgradeType.MODEL or policy.prioritize_unhealthy
    return batches.plan(
        view,
        [o for o in status.scope - checks.touched(status.batches, status.scope) if o < view.replicas],
        limit=batches.size(policy, upgrade.type, view.replicas),
        cross_zone=policy.cross_zone,
        unhealthy_first=census.unhealthy if sick_first else NONE,
    )


def _plan(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> PlanView:
    census = counting.take(view, now)
    policy = rolling.policy_for(view, upgrade.type)
    pending = status.scope - checks.touched(status.batches, status.scope)
    limit = batches.size(policy, upgrade.type, view.replicas)
    chosen = _choose(view, upgrade, status, census)
    known = [census.releases[o].image_version for o in sorted(pending) if o in census.releases]
    return PlanView(
        name=view.name,
        namespace=view.namespace,
        upgrade=upgrade.name,
        type=upgrade.type.value,
        started_by=upgrade.started_by.value,
        from_versions=tuple(dict.fromkeys(known)),
        target=status.target.image_version if upgrade.type is UpgradeType.OS_IMAGE else f"model {status.target.model}",
        replicas=view.replicas,
        instances=len(pending),
        batch_limit=limit,
        batches=tuple(
            PlannedBatch(
                number=len(status.batches) + index,
                zone="" if policy.cross_zone else choice.zone,
                update_domain=choice.update_domain,
                instances=tuple(view.instance_name(o) for o in sorted(choice.members)),
            )
            for index, choice in enumerate(chosen, start=1)
        ),
        left_out=tuple(LeftOut(view.instance_name(o), _why(view, o)) for o in sorted(status.skipped)),
        health_timeout=policy.health_timeout,
        pause=policy.pause,
        rolls_back=rolling.rolls_back(view, upgrade),
        blocked=_blocked(view, upgrade, census, policy, pending) if pending else "",
    )


def _not_by_itself(view: SetView, kind: UpgradeType, now: datetime) -> str:
    """Why the platform would not begin it now, in words."""
    if kind is UpgradeType.OS_IMAGE and not view.os_policy.enabled:
        return f"automatic OS image upgrades are off; {hint('start', view.name)} begins one by hand"
    if kind is UpgradeType.MODEL and view.mode is UpgradeMode.MANUAL:
        return f"in mode Manual {hint('update-instances', view.name, '--all')} begins it"
    if kind is UpgradeType.MODEL and view.mode is UpgradeMode.AUTOMATIC:
        return "in mode Automatic all instances are replaced at once, without batches"
    return start.choose(view, counting.take(view, now), now).message


def _why(view: SetView, ordinal: int) -> str:
    instance = view.instances.get(ordinal)
    if ordinal in view.protected or (instance is not None and instance.protected):
        return "protected from upgrades"
    if ordinal in view.claims_deleting:
        return "a claim of it is being deleted"
    return "not on the latest model"


def _blocked(view: SetView, upgrade: Upgrade, census: Census, policy: RollingPolicy, pending: Ordinals) -> str:
    """Why its next batch would not begin now, in words."""
    if not upgrade.instances:
        ignored = pending if upgrade.type is UpgradeType.MODEL else NONE
        stop = checks.whole_set(census, policy, code=checks.BEFORE, ignored=ignored)
        if stop is not None:
            return stop.message
    if scopes.is_deferred(view, upgrade) and not scopes.approved(view, upgrade, pending):
        return f"it waits for approval: {hint('approve', view.name, '--all')}"
    return ""
