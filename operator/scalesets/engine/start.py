"""Which upgrade takes the set's free lock, or is made (docs/rules.md, "When upgrades start").

Users' upgrades first, oldest first; then the model, then the OS image. The platform makes an upgrade only when it can
start: it is never queued. Names come from a hash of set, type, target and attempt, so that two operators can't make
two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from scalesets.engine import (
    checks,
    eligibility,
    extensions,
    progress,
    reasons,
    releases,
    scopes,
    triggers,
    versions,
    words,
)
from scalesets.engine.census import Census
from scalesets.engine.decision import (
    ClearApprovals,
    CreateUpgrade,
    Event,
    HoldUpgrade,
    Preflight,
    Write,
    WriteUpgradeStatus,
)
from scalesets.engine.rolling import WAITING_FOR_TURN, policy_for
from scalesets.engine.scopes import WAITING_FOR_APPROVAL
from scalesets.engine.view import (
    BatchOutcome,
    Code,
    LastUpgrade,
    RollingPolicy,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)


@dataclass(frozen=True, slots=True)
class Start:
    """``lock`` names the upgrade that takes the lock; ``reason`` and ``message`` say what the set waits for, if for
    anything.
    """

    lock: str = ""
    writes: tuple[Write, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: datetime | None = None
    reason: str = ""
    message: str = ""

    @property
    def idle(self) -> bool:
        """Nothing starts, and nothing is to be said."""
        return not (self.lock or self.writes or self.reason)


def choose(view: SetView, census: Census, now: datetime) -> Start:
    """The lock is free: who takes it?"""
    unfinished = sorted((u for u in view.upgrades if not u.finished), key=lambda u: (u.created, u.name))
    for upgrade in unfinished:
        if upgrade.status is not None and upgrade.created < view.created:
            return _let_go_of(upgrade, upgrade.status, now)
    for upgrade in unfinished:
        if upgrade.cancel or upgrade.deleting or (upgrade.status and upgrade.status.running_batch):
            return _lock(upgrade)
    for upgrade in unfinished:
        if upgrade.started_by is StartedBy.USER:
            return _lock_for_user(view, upgrade, now)
    waiting: Start | None = None
    for upgrade in unfinished:
        waiting = _resume(view, upgrade, census, now)
        if waiting.lock or waiting.writes:
            return waiting
    model = _model_upgrade(view, census, now)
    if not model.idle:
        return model
    os_upgrade = waiting or _os_upgrade(view, census, now)
    if os_upgrade.lock or os_upgrade.writes:
        return os_upgrade
    extension_upgrade = _extension_upgrade(view, census, now)
    if extension_upgrade.writes or os_upgrade.idle:
        return extension_upgrade
    times = [t for t in (os_upgrade.look_again, extension_upgrade.look_again) if t is not None]
    return replace(os_upgrade, look_again=min(times, default=None))


def upgrade_name(view: SetView, kind: UpgradeType, target: str) -> str:
    """The name of the platform's next attempt at a target: the same for every operator that sees the same."""
    attempt = view.status.upgrade_attempts
    short = {UpgradeType.OS_IMAGE: "os", UpgradeType.MODEL: "model", UpgradeType.EXTENSION: "ext"}[kind]
    while True:
        digest = hashlib.sha256(f"{view.uid}/{kind.value}/{target}/{attempt}".encode()).hexdigest()[:8]
        name = f"{view.name}-{short}-{digest}"
        known = view.find_upgrade(name)
        if known is None or not known.finished:
            return name
        attempt += 1


def due_time(view: SetView, version: str, available_since: datetime) -> datetime:
    """When the platform starts a version by itself: after the first delay once per set, and after publishing (O19).

    The jitter is a hash of set and version, so every operator computes the same time.
    """
    due = triggers.after_publishing(view, version, available_since)
    if view.status.first_enabled_time is not None:
        first = view.timing.first_trigger_delay * triggers.share(view, version)
        due = max(due, view.status.first_enabled_time + first)
    return due


def is_model_blocked(view: SetView) -> bool:
    """Whether the current model was tried and must change, or be started by a user, before it is tried again."""
    last = view.status.last_model_upgrade
    if last is None or view.model is None or last.model != view.model.name:
        return False
    if last.outcome is Code.FAULTED:
        return last.code != checks.NOT_CREATED
    return last.outcome is Code.CANCELLED and last.code == reasons.CANCELLED_BY_USER


def _lock(upgrade: Upgrade, *first: Write) -> Start:
    held = () if upgrade.held or upgrade.deleting else (HoldUpgrade(upgrade.name, upgrade.uid),)
    return Start(lock=upgrade.name, writes=(*first, *held))


def _lock_for_user(view: SetView, upgrade: Upgrade, now: datetime) -> Start:
    """Before a user's upgrade begins, what its model names is looked at (O15); what is missing ends it there, by name
    (scopes.begin).
    """
    model = view.model
    if upgrade.status is not None or model is None or eligibility.has_current_resources(view, now):
        return _lock(upgrade)
    return _lock(upgrade, Preflight(model.name))


def _let_go_of(upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> Start:
    """An upgrade that began under an earlier set of this name: its instances are gone, or adopted as they are."""
    batches = status.batches
    if (batch := status.running_batch) is not None:
        unjudged = frozenset(batch.members) - batch.failed
        ended_batch = replace(batch, failed=batch.failed | unjudged, completed=now, outcome=BatchOutcome.FAILED)
        batches = (*batches[:-1], ended_batch)
    ended = replace(
        status,
        code=Code.CANCELLED,
        batches=batches,
        completed=now,
        error_code=reasons.SET_RECREATED,
        error="the set that it was made for is gone; another one has its name",
        waiting="",
        waiting_message="",
    )
    return Start(writes=(WriteUpgradeStatus(upgrade.name, upgrade.uid, progress.counted(ended)),))


# -- the platform's own ------------------------------------------------------------------------------------------------


def _resume(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> Start:
    """An upgrade that the platform made but that doesn't hold the lock: just made, or waiting for approval."""
    if not scopes.is_deferred(view, upgrade) or eligibility.missing(view, now):
        return _lock(upgrade)  # it goes on, or ends there as Cancelled
    status = upgrade.status
    model = view.model
    assert model is not None  # eligibility saw to it
    newest = releases.allowed_version(view, model, now)
    if status is None or (not status.batches and newest != status.target.image_version):
        begun = scopes.begin(view, upgrade, census, now)
        if begun.code.final:
            ended = WriteUpgradeStatus(upgrade.name, upgrade.uid, begun)
            return Start(writes=(ended,), events=(words.ended(upgrade, begun),))
        clear = (ClearApprovals(upgrade.name, upgrade.uid),) if upgrade.approved else ()
        told = words.waits_for_approval(upgrade, begun)
        return Start(writes=(*clear, _await_approval(upgrade, begun)), events=(told,))
    trimmed = scopes.trim(view, upgrade, status, census)
    pending = trimmed.scope - checks.touched(trimmed.batches, trimmed.scope)
    if not pending or scopes.cancel_reason(view, upgrade, status, now):
        return _lock(upgrade)
    if scopes.approved(view, upgrade, pending):
        return _lock(upgrade, Preflight(model.name))
    if not scopes.awaits_approval(upgrade):
        return Start(writes=(_await_approval(upgrade, trimmed),))
    return Start(reason=WAITING_FOR_APPROVAL, message=f"{upgrade.name} waits for approval of instances")


def _await_approval(upgrade: Upgrade, status: UpgradeStatus) -> WriteUpgradeStatus:
    return WriteUpgradeStatus(upgrade.name, upgrade.uid, scopes.awaiting(status))


def _prospect(view: SetView, kind: UpgradeType, census: Census, now: datetime) -> UpgradeStatus:
    """How an upgrade by the platform would begin if it were made now."""
    return scopes.begin(view, Upgrade("", "", now, kind, StartedBy.PLATFORM), census, now)


def _model_upgrade(view: SetView, census: Census, now: datetime) -> Start:
    """Mode Rolling brings every instance to a new model, unless it was tried: Stalled until the model changes."""
    model = view.model
    if model is None or view.mode is not UpgradeMode.ROLLING or is_model_blocked(view):
        return Start()
    behind = frozenset(
        o
        for o in census.where(lambda release: not releases.is_on_model(view, release, model))
        if scopes.may_touch(view, census, o, platform_os=False)
    )
    if not behind:
        return Start()
    prospect = _prospect(view, UpgradeType.MODEL, census, now)
    if prospect.code.final:
        return Start(reason=prospect.error_code, message=f"model {model.name}: {prospect.error}")
    if found := eligibility.has_current_resources(view, now):
        return Start(reason=found.reason, message=f"model {model.name}: {found.message}")
    if checks.whole_set(census, view.policy, code=checks.BEFORE, ignored=behind):
        return _too_many_unhealthy(view.policy)
    last = view.status.last_model_upgrade
    if last is not None and last.model == model.name and (wait := _retry(view, last, f"model {model.name}", now)):
        return wait
    name = upgrade_name(view, UpgradeType.MODEL, model.name)
    return Start(writes=(Preflight(model.name), CreateUpgrade(name, UpgradeType.MODEL)))


def _os_upgrade(view: SetView, census: Census, now: datetime) -> Start:
    """The platform brings a set that has opted in to the latest version, once it is due (O1, O19)."""
    if not view.os_policy.enabled:
        return Start()
    if found := eligibility.missing(view, now):
        told = "; ".join(m.message for m in found)
        return Start(reason="NotEligible", message=told)
    model = view.model
    assert model is not None  # eligibility saw to it
    newest = versions.latest(view.images.get(model.image), now)
    assert newest is not None and newest.available_since is not None
    prospect = _prospect(view, UpgradeType.OS_IMAGE, census, now)
    if prospect.code.final:
        return Start(reason=prospect.error_code, message=prospect.error)
    if not prospect.scope:
        return Start()
    if is_model_blocked(view):
        told = f"model {model.name} failed; change it or start its upgrade again first"
        return Start(reason="ModelUpgradeFaulted", message=told)
    if reason := _tried(view, newest.version):
        return Start(reason="AlreadyTried", message=f"version {newest.version}: {reason}")
    policy = policy_for(view, UpgradeType.OS_IMAGE)
    if checks.whole_set(census, policy, code=checks.BEFORE):
        return _too_many_unhealthy(policy)
    what = f"version {newest.version}"
    if (due := due_time(view, newest.version, newest.available_since)) > now:
        return _wait_until(due, what)
    last = view.status.last_os_upgrade
    if last is not None and last.version == newest.version and (wait := _retry(view, last, what, now)):
        return wait
    name = upgrade_name(view, UpgradeType.OS_IMAGE, newest.version)
    return Start(writes=(Preflight(model.name), CreateUpgrade(name, UpgradeType.OS_IMAGE)))


def _extension_upgrade(view: SetView, census: Census, now: datetime) -> Start:
    """The platform brings extensions that have opted in to the newest version of their major, once they are due (E1).

    Those that are due at the same time share an upgrade (E6).
    """
    model = view.model
    if model is None or view.availability_set:
        return Start()
    opted_in = [e for e in model.extensions if extensions.automatic_upgrade(view, e) == extensions.ENABLED]
    known = extensions.targets(view, census, [e.name for e in opted_in], now) if opted_in else ()
    if not known:
        return Start()
    of = {e.name: e for e in opted_in}
    later = [t for target in known if (t := extensions.start_time(view, of[target.name], target)) and t > now]
    prospect = _prospect(view, UpgradeType.EXTENSION, census, now)
    if not prospect.scope:
        due = min(later, default=None)
        return _wait_until(due, extensions.words(known)) if due is not None else Start()
    if found := eligibility.has_current_resources(view, now):
        return Start(reason=found.reason, message=found.message, look_again=min(later, default=None))
    policy = policy_for(view, UpgradeType.EXTENSION)
    if checks.whole_set(census, policy, code=checks.BEFORE):
        return _too_many_unhealthy(policy)
    if view.held_back:
        return Start(reason=WAITING_FOR_TURN, message=view.held_back, look_again=min(later, default=None))
    what = ",".join(f"{t.name}/{t.to}" for t in prospect.extensions)
    name = upgrade_name(view, UpgradeType.EXTENSION, what)
    return Start(writes=(Preflight(model.name), CreateUpgrade(name, UpgradeType.EXTENSION)))


def _tried(view: SetView, version: str) -> str:
    """Why the platform doesn't try this version again by itself; empty when it may."""
    last = view.status.last_os_upgrade
    if last is None or _is_opened_again(view, last):
        return ""
    if last.version != version:
        return "it failed here before" if version in view.status.faulted_os_versions else ""
    if last.outcome is Code.COMPLETED:
        return "its upgrade is completed; start one by hand for what is left"
    if last.outcome is Code.CANCELLED and last.code == reasons.CANCELLED_BY_USER:
        return "its upgrade was cancelled by a user"
    if last.outcome is Code.FAULTED and last.code == checks.UPGRADED:
        return "it failed here; it waits for a newer version, a model change, a new opt-in or a manual start"
    return ""


def _is_opened_again(view: SetView, last: LastUpgrade) -> bool:
    """Whether there was a new opt-in or model change since; in Manual mode that is bringing instances to the model."""
    if last.enabled_time != view.status.enabled_time or (view.model is not None and last.model != view.model.name):
        return True
    brought = view.status.last_model_upgrade
    return view.mode is UpgradeMode.MANUAL and brought is not None and brought.completed > last.completed


def _retry(view: SetView, last: LastUpgrade, what: str, now: datetime) -> Start | None:
    """Whether a target that wasn't at fault must wait: until instances can be made again and the set has been within
    its limit for long enough since.
    """
    if last.retry_delay is None or last.outcome is not Code.FAULTED:
        return None
    if trouble := next((t for t in view.troubles if t.ordinals), None):
        return Start(
            reason="InstancesNotCreated", message=f"{what} waits until instances can be made: {trouble.message}"
        )
    due = max(view.within_limit_since or now, last.completed) + last.retry_delay
    return _wait_until(due, what) if due > now else None


def _wait_until(due: datetime, what: str) -> Start:
    return Start(reason="WaitingForTrigger", message=f"{what} starts at {due:%Y-%m-%dT%H:%M:%SZ}", look_again=due)


def _too_many_unhealthy(policy: RollingPolicy) -> Start:
    message = (
        f"more than maxUnhealthyInstancePercent={policy.max_unhealthy_percent} of the set is unhealthy; "
        "heal it, raise the limit, or bring the instances up to date with update-instances"
    )
    return Start(reason="TooManyUnhealthy", message=message)
