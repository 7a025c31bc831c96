"""Extension upgrades: their targets, who is behind them, and when one of several ends alone (E1 to E10, E13;
docs/rules.md, "Several extensions").

An upgrade has a target for each extension and installed major: an instance never crosses a major by itself. Instances
are visited cell by cell; on a visit each extension that is due has a batch of its own, one after the other, so that
each is judged by itself and one that fails doesn't keep the next away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scalesets.engine import checks, reasons, triggers, versions
from scalesets.engine.census import Census
from scalesets.engine.view import (
    NONE,
    Batch,
    Catalogue,
    CatalogueVersion,
    Code,
    ExtensionTarget,
    LastUpgrade,
    Model,
    ModelExtension,
    Ordinals,
    Release,
    RollingPolicy,
    SetView,
    StartedBy,
    TargetOutcome,
    Upgrade,
    UpgradeStatus,
)

Targets = Sequence[ExtensionTarget]

ENABLED, DISABLED, NOT_SUPPORTED = "Enabled", "Disabled", "NotSupported"


# -- targets -----------------------------------------------------------------------------------------------------------


def newest_of_major(catalogue: Catalogue | None, installed: str, now: datetime) -> CatalogueVersion | None:
    """The newest stable version of the installed major, if it is newer (E8b)."""
    major = versions.parse(installed)[:1]
    if catalogue is None or not major:
        return None
    newer = [
        v
        for v in catalogue.versions
        if versions.parse(v.version)[:1] == major
        and versions.is_newer(v.version, installed)
        and versions.is_stable(v, now)
    ]
    return max(newer, key=lambda v: versions.parse(v.version), default=None)


def automatic_upgrade(view: SetView, extension: ModelExtension) -> str:
    """Whether the extension follows what is published by itself: Enabled, Disabled or NotSupported (E11)."""
    catalogue = view.extensions.get(extension.key)
    if catalogue is None or not catalogue.supports_automatic_upgrade:
        return NOT_SUPPORTED
    return ENABLED if extension.enable_automatic_upgrade else DISABLED


def targets(view: SetView, census: Census, names: Collection[str], now: datetime) -> tuple[ExtensionTarget, ...]:
    """Where these extensions of the model go now, one target for each extension and major that is behind."""
    found: list[ExtensionTarget] = []
    for extension in view.model.extensions if view.model is not None else ():
        if extension.name not in names:
            continue
        goals: dict[str, str] = {}  # version -> the lowest that goes there
        for installed in {dict(release.extensions).get(extension.name, "") for release, _ in census.kinds()}:
            newest = newest_of_major(view.extensions.get(extension.key), installed, now)
            if newest is not None and not versions.is_newer(installed, goals.get(newest.version, installed)):
                goals[newest.version] = installed
        found.extend(ExtensionTarget(extension.name, to, goals[to]) for to in sorted(goals, key=versions.parse))
    return tuple(found)


def may_start(view: SetView, target: ExtensionTarget, now: datetime) -> bool:
    """Whether the platform may start on the target by itself: opted in, due, and not tried too short a while ago."""
    extension = model_extension(view.model, target.name)
    if extension is None or automatic_upgrade(view, extension) != ENABLED:
        return False
    due = start_time(view, extension, target)
    return due is not None and due <= now


def start_time(view: SetView, extension: ModelExtension, target: ExtensionTarget) -> datetime | None:
    """When the platform starts on the target: after publishing, and after a failure once the retry interval is over
    (E4); None when only a newer version, another model or a user lets it start.
    """
    catalogue = view.extensions.get(extension.key)
    version = catalogue.find(target.to) if catalogue is not None else None
    if version is None or version.available_since is None:
        return None
    due = triggers.after_publishing(view, f"{target.name}/{target.to}", version.available_since)
    last = view.status.last_extension_upgrades.get(target.name)
    if last is None or not _was_tried(target, last, due):
        return due
    if last.code == reasons.CANCELLED_BY_USER:
        return None if view.model is not None and last.model == view.model.name else due
    return max(due, last.completed + view.timing.extension_retry_interval)


def _was_tried(target: ExtensionTarget, last: LastUpgrade, due: datetime) -> bool:
    """Whether the extension's last upgrade was about the target. What is remembered is one version, of several majors
    that of the one that fared worst: what was due by then for another major was tried with it.
    """
    if last.version == target.to:
        return True
    another_major = versions.parse(last.version)[:1] != versions.parse(target.to)[:1]
    return another_major and last.outcome is not Code.COMPLETED and due <= last.completed


def goal(some: Targets, name: str, release: Release) -> str:
    """The version that the targets bring this extension of an instance to; empty when it has nowhere to go."""
    installed = dict(release.extensions).get(name, "")
    major = versions.parse(installed)[:1]
    fits = (t.to for t in some if t.name == name and versions.parse(t.to)[:1] == major)
    return next((to for to in fits if major and versions.is_newer(to, installed)), "")


def upgraded(some: Targets, name: str, former: Release) -> Release:
    """The release with this extension on its target, all else as it was (E9)."""
    to = goal(some, name, former)
    if not to:
        return former
    return replace(former, extensions=tuple((n, to if n == name else v) for n, v in former.extensions))


def is_behind(some: Targets, release: Release) -> bool:
    """Whether an instance has something to be brought to an open target."""
    open_ones = [t for t in some if t.outcome.open]
    return any(goal(open_ones, name, release) for name, _ in release.extensions)


# -- what is left ------------------------------------------------------------------------------------------------------


def pending(view: SetView, status: UpgradeStatus, census: Census) -> Mapping[str, Ordinals]:
    """The instances that each open target has yet to be brought to, in the order of the targets; without those that
    mustn't be touched any more, also when another extension has touched them.
    """
    open_ones = [t for t in status.extensions if t.outcome.open]
    allowed = status.scope - census.protected - view.unpatchable
    left: dict[str, Ordinals] = {}
    for name in dict.fromkeys(t.name for t in open_ones):
        behind = census.where(lambda release, name=name: bool(goal(open_ones, name, release)))  # type: ignore[misc]
        if found := allowed.intersection(behind) - checks.touched(_batches_of(status, name), status.scope):
            left[name] = found
    return left


def following(status: UpgradeStatus, left: Mapping[str, Ordinals]) -> tuple[str, Ordinals] | None:
    """The next extension on the instances of the last batch: its name and who needs it."""
    if not status.batches:
        return None
    last = status.batches[-1]
    order = list(dict.fromkeys(t.name for t in status.extensions))
    for name in order[order.index(last.extension) + 1 :] if last.extension in order else ():
        if members := left.get(name, NONE).intersection(last.members):
            return name, members
    return None


def reviewed(
    view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census, policy: RollingPolicy, now: datetime
) -> UpgradeStatus:
    """The status with the targets counted, and those ended that stop or may not go on: each alone (E6, E13)."""
    after: list[ExtensionTarget] = []
    for target in status.extensions:
        counted = _counted(status, target)
        if counted.outcome.open:
            if stop := _stop(status, target.name, census, policy):
                error = f"{stop.message}; {counted.error}" if counted.error else stop.message
                counted = replace(counted, outcome=TargetOutcome.STOPPED, error_code=stop.code, error=error)
            elif reason := _drop_reason(view, upgrade, target, now):
                counted = replace(counted, outcome=TargetOutcome.DROPPED, error_code=reason[0], error=reason[1])
        after.append(counted)
    return replace(status, extensions=tuple(after))


def noted(status: UpgradeStatus, batch: Batch, some: Ordinals, failure: str) -> UpgradeStatus:
    """The status with why these instances failed by the batch's extension, as the first of them told (O21)."""
    if not failure:
        return status
    after = []
    for target in status.extensions:
        theirs = any(goal((target,), batch.extension, batch.members[o]) for o in some)
        new = theirs and target.outcome.open and not target.error
        after.append(replace(target, error_code=reasons.INSTANCES_FAILED, error=failure) if new else target)
    return replace(status, extensions=tuple(after))


def cut_short(
    status: UpgradeStatus, left: Collection[str], outcome: TargetOutcome, code: str, words: str
) -> UpgradeStatus:
    """The status of an upgrade that ends while instances are ``left`` for these extensions: they didn't succeed."""
    after = (
        replace(t, outcome=outcome, error_code=code, error=words) if t.outcome.open and t.name in left else t
        for t in status.extensions
    )
    return replace(status, extensions=tuple(after))


def closed(status: UpgradeStatus) -> UpgradeStatus:
    """The status at the end of an upgrade: every target has an outcome."""
    after = []
    for target in status.extensions:
        counted = _counted(status, target)
        if counted.outcome.open:
            touched = counted.successful or counted.failed
            done = TargetOutcome.FAILED if counted.failed else TargetOutcome.SUCCEEDED
            counted = replace(counted, outcome=done if touched else TargetOutcome.DROPPED)
        after.append(counted)
    return replace(status, extensions=tuple(after))


def verdict(status: UpgradeStatus) -> tuple[Code, str, str]:
    """How an upgrade ends of which nothing is left: Faulted if any of its extensions stopped, naming them."""
    stopped = [t for t in status.extensions if t.outcome is TargetOutcome.STOPPED]
    if stopped:
        return Code.FAULTED, stopped[0].error_code, "; ".join(f"{t.name} {t.to}: {t.error}" for t in stopped)
    dropped = [t for t in status.extensions if t.outcome is TargetOutcome.DROPPED]
    if dropped and len(dropped) == len(status.extensions):
        return Code.CANCELLED, dropped[0].error_code, "; ".join(f"{t.name} {t.to}: {t.error}" for t in dropped)
    return Code.COMPLETED, "", ""


def words(some: Targets) -> str:
    """The targets in words."""
    return "extension " + ", ".join(f"{t.name} {t.to}" for t in some) if some else "extensions"


def model_extension(model: Model | None, name: str) -> ModelExtension | None:
    """The extension as the model names it."""
    return next((e for e in model.extensions if e.name == name), None) if model is not None else None


def _batches_of(status: UpgradeStatus, name: str) -> tuple[Batch, ...]:
    return tuple(b for b in status.batches if b.extension == name)


def _counted(status: UpgradeStatus, target: ExtensionTarget) -> ExtensionTarget:
    """With how many of its instances were judged, and how."""
    alone = (target,)
    touched, failed, judged = set(), set(), set()
    for batch in _batches_of(status, target.name):
        mine = {o for o, former in batch.members.items() if goal(alone, target.name, former)} & status.scope
        touched |= mine
        failed |= mine & batch.failed
        if batch.completed is not None:
            judged |= mine
    outcome = target.outcome
    if outcome is TargetOutcome.PENDING and touched:
        outcome = TargetOutcome.RUNNING
    return replace(target, outcome=outcome, successful=len(judged - failed), failed=len(failed))


def _stop(status: UpgradeStatus, name: str, census: Census, policy: RollingPolicy) -> checks.Stop | None:
    """Whether too many of the instances failed or turned unhealthy by this extension (O13, E13).

    Who failed by another extension is that one's.
    """
    own = _batches_of(status, name)
    if not own:
        return None
    others = tuple(b for b in status.batches if b.extension != name)
    by_others = checks.failed(others, status.scope) - checks.failed(own, status.scope)
    return checks.upgraded_instances(census, policy, own, status.scope, excused=by_others)


def _drop_reason(view: SetView, upgrade: Upgrade, target: ExtensionTarget, now: datetime) -> tuple[str, str] | None:
    """Why no more instances are brought to the target, if so: code and words."""
    model = view.model
    extension = model_extension(model, target.name)
    if model is not None and extension is None:
        return reasons.OPTED_OUT, f"{target.name} is not in spec.extensions any more"
    if extension is None:
        return None
    catalogue = view.extensions.get(extension.key)
    if versions.is_withdrawn(catalogue.find(target.to) if catalogue is not None else None, now):
        return reasons.TARGET_WITHDRAWN, f"version {target.to} may not be used any more"
    if upgrade.started_by is StartedBy.PLATFORM and (found := automatic_upgrade(view, extension)) != ENABLED:
        return reasons.OPTED_OUT, f"automatic upgrade of {target.name} is {found}"
    return None
