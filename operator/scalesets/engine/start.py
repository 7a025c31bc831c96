"""Which upgrade takes the set's free lock, or is made (docs/rules.md, "When upgrades start").

Users' upgrades first, oldest first; then the model, then the OS image. The platform makes an upgrade only when it can
start: it is never queued. Names come from a hash of set, type, target and attempt, so that two operators can't make
two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from scalesets.engine import checks, eligibility, releases, scopes, versions
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
from scalesets.engine.instances import WAITING_FOR_APPROVAL
from scalesets.engine.rolling import policy_for
from scalesets.engine.view import (
    Code,
    Ordinals,
    RollingPolicy,
    SetView,
    StartedBy,
    TroubleKind,
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


def choose(view: SetView, census: Census, now: datetime) -> Start:
    """The lock is free: who takes it?"""
    unfinished = sorted((u for u in view.upgrades if not u.finished), key=lambda u: (u.created, u.name))
    for upgrade in unfinished:
        if upgrade.cancel or upgrade.deleting or (upgrade.status and upgrade.status.running_batch):
            return _lock(upgrade)
    for upgrade in unfinished:
        if upgrade.started_by is StartedBy.USER:
            return _lock(upgrade)
    waiting: Start | None = None
    for upgrade in unfinished:
        found = _resume(view, upgrade, census, now)
        if found.lock or found.writes:
            return found
        waiting = found
    model = _model_upgrade(view, census, now)
    if model.lock or model.writes or model.reason:
        return model
    return waiting or _os_upgrade(view, census, now)


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
    share = int.from_bytes(hashlib.sha256(f"{view.uid}/{version}".encode()).digest()[:4], "big") / 2**32
    timing = view.timing
    after_publishing = timing.trigger_delay_min + (timing.trigger_delay_max - timing.trigger_delay_min) * share
    due = available_since + after_publishing
    if view.status.first_enabled_time is not None:
        due = max(due, view.status.first_enabled_time + timing.first_trigger_delay * share)
    return due


def os_scope(view: SetView, census: Census, image: str, version: str) -> tuple[Ordinals, Ordinals]:
    """Instances that the platform would bring to the version, and those that it would but must leave out."""
    behind = [o for o, r in census.releases.items() if scopes.os_version_is_behind(view, r, image, version)]
    touchable = frozenset(o for o in behind if scopes.may_touch(view, o, census.releases[o], platform_os=True))
    return touchable, frozenset(behind) - touchable


def _lock(upgrade: Upgrade) -> Start:
    held = () if upgrade.held or upgrade.deleting else (HoldUpgrade(upgrade.name, upgrade.uid),)
    return Start(lock=upgrade.name, writes=held)


# -- the platform's own ------------------------------------------------------------------------------------------------


def _resume(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> Start:
    """An upgrade that the platform made but that doesn't hold the lock: just made, or waiting for approval."""
    if not scopes.is_deferred(view, upgrade):
        return _lock(upgrade)
    if eligibility.missing(view, now):
        return _lock(upgrade)  # it ends there as Cancelled
    status = upgrade.status
    model = view.model
    newest = releases.allowed_version(view, model, now) if model else None
    if status is None or (not status.batches and newest is not None and newest != status.target.image_version):
        begun = scopes.begin(view, upgrade, census, now)
        if begun.code.final or not begun.scope:
            return _lock(upgrade)
        waiting = _awaiting(begun)
        clear = (ClearApprovals(upgrade.name, upgrade.uid),) if upgrade.approved and status is not None else ()
        event = Event("WaitingForApproval", f"{upgrade.name}: {scopes.describe(upgrade, waiting)} waits for approval")
        return Start(writes=(*clear, WriteUpgradeStatus(upgrade.name, upgrade.uid, waiting)), events=(event,))
    trimmed = scopes.trim(view, upgrade, status, census)
    pending = trimmed.scope - checks.touched(trimmed.batches, trimmed.scope)
    withdrawn = scopes.cancel_reason(view, upgrade, status, now)
    if not pending or withdrawn or scopes.approved(view, upgrade, pending):
        return _lock(upgrade)
    return Start(reason=WAITING_FOR_APPROVAL, message=f"{upgrade.name} waits for approval of instances")


def _awaiting(status: UpgradeStatus) -> UpgradeStatus:
    return replace(status, waiting=WAITING_FOR_APPROVAL, waiting_message="name instances in spec.approvedInstances")


def _model_upgrade(view: SetView, census: Census, now: datetime) -> Start:
    """Mode Rolling brings every instance to a new model, unless it was tried: Stalled until the model changes."""
    model = view.model
    if model is None or view.mode is not UpgradeMode.ROLLING or is_model_blocked(view):
        return Start()
    behind = frozenset(
        o
        for o, release in census.releases.items()
        if not releases.is_on_model(view, release, model) and scopes.may_touch(view, o, release, platform_os=False)
    )
    if not behind:
        return Start()
    version = releases.allowed_version(view, model, now)
    if version is None or releases.extension_versions(view, model, now) is None:
        words = f"model {model.name} waits for an image or extension to be published"
        return Start(reason="ImageNotFound", message=words)
    if checks.whole_set(census, view.policy, code=checks.BEFORE, ignored=behind):
        return Start(reason="TooManyUnhealthy", message=_unhealthy_words(view.policy))
    name = upgrade_name(view, UpgradeType.MODEL, model.name)
    return Start(writes=(CreateUpgrade(name, UpgradeType.MODEL),))


def is_model_blocked(view: SetView) -> bool:
    """Whether the current model was tried and must change, or be started by a user, before it is tried again."""
    last = view.status.last_model_upgrade
    if last is None or view.model is None or last.model != view.model.name:
        return False
    return last.outcome is Code.FAULTED or (last.outcome is Code.CANCELLED and last.code == scopes.CANCELLED_BY_USER)


def _os_upgrade(view: SetView, census: Census, now: datetime) -> Start:
    """The platform brings a set that has opted in to the latest version, once it is due (O1, O19)."""
    if not view.os_policy.enabled:
        return Start()
    if found := eligibility.missing(view, now):
        words = "; ".join(m.message for m in found)
        return Start(reason="NotEligible", message=words, look_again=_trouble_ends(view, now))
    model = view.model
    assert model is not None
    newest = versions.latest(view.images.get(model.image), now)
    assert newest is not None and newest.available_since is not None
    behind, _ = os_scope(view, census, model.image, newest.version)
    if not behind:
        return Start()
    if is_model_blocked(view):
        words = f"model {model.name} failed; change it or start its upgrade again first"
        return Start(reason="ModelUpgradeFaulted", message=words)
    if reason := _tried(view, newest.version):
        return Start(reason="AlreadyTried", message=f"version {newest.version}: {reason}")
    policy = policy_for(view, UpgradeType.OS_IMAGE)
    if checks.whole_set(census, policy, code=checks.BEFORE):
        return Start(reason="TooManyUnhealthy", message=_unhealthy_words(policy))
    due = max(due_time(view, newest.version, newest.available_since), _retry_time(view, newest.version))
    if due > now:
        words = f"version {newest.version} starts at {due:%Y-%m-%dT%H:%M:%SZ}"
        return Start(reason="WaitingForTrigger", message=words, look_again=due)
    name = upgrade_name(view, UpgradeType.OS_IMAGE, newest.version)
    return Start(writes=(Preflight(model.name), CreateUpgrade(name, UpgradeType.OS_IMAGE)))


def _tried(view: SetView, version: str) -> str:
    """Why the platform doesn't try this version again by itself; empty when it may."""
    last = view.status.last_os_upgrade
    if last is None:
        return ""
    if last.version != version:
        return "it failed here before" if version in view.status.faulted_os_versions else ""
    if last.enabled_time != view.status.enabled_time or (view.model is not None and last.model != view.model.name):
        return ""  # a new opt-in or a model change opens it again
    if last.outcome is Code.COMPLETED:
        return "its upgrade is completed; start one by hand for what is left"
    if last.outcome is Code.CANCELLED and last.code == scopes.CANCELLED_BY_USER:
        return "its upgrade was cancelled by a user"
    if last.outcome is Code.FAULTED and last.code == checks.UPGRADED:
        return "it failed here; it waits for a newer version, a model change, a new opt-in or a manual start"
    return ""


def _retry_time(view: SetView, version: str) -> datetime:
    last = view.status.last_os_upgrade
    if last is None or last.version != version or last.retry_delay is None or last.outcome is not Code.FAULTED:
        return view.created
    return (view.within_limit_since or last.completed) + last.retry_delay


def _trouble_ends(view: SetView, now: datetime) -> datetime | None:
    times = (t.until for t in view.troubles if t.kind is TroubleKind.PREFLIGHT)
    return min((t for t in times if t is not None and t > now), default=None)


def _unhealthy_words(policy: RollingPolicy) -> str:
    return (
        f"more than maxUnhealthyInstancePercent={policy.max_unhealthy_percent} of the set is unhealthy; "
        "heal it, raise the limit, or bring the instances up to date with update-instances"
    )
