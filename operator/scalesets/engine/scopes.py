"""What an upgrade is about: its target, the instances in scope, and what ends it early (docs/rules.md, "Which
instances", "When upgrades start").

Scope = the instances that are not on the target at the start, less the protected ones. Scaled-in instances leave it,
scaled-out ones don't enter. The target is fixed when the first batch begins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from scalesets.engine import checks, eligibility, extensions, progress, reasons, releases, versions
from scalesets.engine.census import Census
from scalesets.engine.view import (
    NONE,
    Code,
    Model,
    Ordinals,
    Release,
    SetView,
    StartedBy,
    Target,
    TroubleKind,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)

WAITING_FOR_APPROVAL = "WaitingForApproval"
"""What a deferred upgrade waits for. It holds nobody up meanwhile."""


def begin(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> UpgradeStatus:
    """The first status: target and scope, or final at once when it can't be done (a user's words come back as the
    error).
    """
    blank = UpgradeStatus(Code.ROLLING_FORWARD, Target(""), now, last_action_time=now)
    if upgrade.type is UpgradeType.EXTENSION:
        return _begin_extensions(view, upgrade, blank, census, now)
    needs = eligibility.MANUAL_START if upgrade.type is UpgradeType.OS_IMAGE else (eligibility.has_model,)
    if found := _unmet(view, upgrade, needs, now):
        return _refuse(blank, upgrade, now, found.reason, found.message)
    model = view.model
    assert model is not None  # has_model saw to it
    named, unknown = _named(view, upgrade)
    if unknown:
        return _refuse(blank, upgrade, now, "InstanceNotFound", f"spec.instances: {', '.join(unknown)} not in the set")
    target = target_of(view, upgrade.type, model, now)
    wanted = census.where(lambda release: needs_upgrade(view, upgrade, target, release))
    wanted = wanted if named is None else [o for o in wanted if o in named]
    automatic = is_platform_os(upgrade)
    scope = frozenset(o for o in wanted if may_touch(view, census, o, platform_os=automatic))
    touched = {id(release): release for o in scope if (release := census.releases[o])}.values()
    if lacking := _lacking(view, upgrade, target, model, touched, now):
        return _refuse(blank, upgrade, now, *lacking)
    if upgrade.type is UpgradeType.MODEL:
        target = _without_unused_version(view, upgrade, target, touched)
    return progress.counted(replace(blank, target=target, scope=scope, skipped=frozenset(wanted) - scope))


def target_of(view: SetView, kind: UpgradeType, model: Model, now: datetime) -> Target:
    """Where an upgrade to the model goes now. Only a user's OS upgrade goes to a version that has failed here."""
    avoid = view.status.faulted_os_versions if kind is UpgradeType.MODEL else ()
    version = releases.allowed_version(view, model, now, avoid=avoid)
    return Target(model.name, version or "", model.image, releases.extension_versions(view, model, now))


def needs_upgrade(view: SetView, upgrade: Upgrade, target: Target, release: Release) -> bool:
    """Whether an instance with this release is not on the target. An OS upgrade never lowers a version."""
    if upgrade.type is UpgradeType.OS_IMAGE:
        return os_version_is_behind(view, release, target.image, target.image_version)
    return releases.for_member(view, upgrade, target, release) != release


def os_version_is_behind(view: SetView, release: Release, image: str, version: str) -> bool:
    """Whether the release has an older version of the image, or another image."""
    model = view.models.get(release.model)
    if model is not None and model.image != image:
        return True
    return versions.is_newer(version, release.image_version)


def may_touch(view: SetView, census: Census, ordinal: int, *, platform_os: bool) -> bool:
    """Not protected, no claim of it being deleted, and for the platform's OS upgrade in Manual mode on the latest
    model.
    """
    if ordinal in census.protected or ordinal in view.claims_deleting:
        return False
    on_model = view.model is None or census.releases[ordinal].model == view.model.name
    return on_model or not platform_os or view.mode is not UpgradeMode.MANUAL


def is_platform_os(upgrade: Upgrade) -> bool:
    """Whether this is an automatic OS upgrade."""
    return upgrade.type is UpgradeType.OS_IMAGE and upgrade.started_by is StartedBy.PLATFORM


def is_current(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census, now: datetime) -> bool:
    """Whether an upgrade without batches still has the right target: the model of now, and no newer version."""
    model = view.model
    if upgrade.type is UpgradeType.EXTENSION:
        today = _begin_extensions(view, upgrade, status, census, now).extensions
        return [(t.name, t.to) for t in today] == [(t.name, t.to) for t in status.extensions]
    if model is None or upgrade.type is UpgradeType.MODEL:
        return True
    newest = releases.allowed_version(view, model, now) or ""
    return status.target.model == model.name and not versions.is_newer(newest, status.target.image_version)


def let_go(view: SetView, status: UpgradeStatus) -> UpgradeStatus:
    """Let go of instances that were scaled in, and of members that are still up and mustn't be taken down any more."""
    scope = frozenset(o for o in status.scope if view.has_place(o))
    batch = status.running_batch
    if batch is not None and batch.extension:
        batch = None  # nobody is taken down
    dying = view.claims_deleting.intersection(batch.members) & scope if batch is not None else NONE
    kept_up = frozenset(o for o in dying if batch is not None and _is_untouched(view, o, batch.members[o]))
    if scope == status.scope and not kept_up:
        return status
    skipped = frozenset(o for o in status.skipped if view.has_place(o)) | kept_up
    return progress.counted(replace(status, scope=scope - kept_up, skipped=skipped))


def trim(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census) -> UpgradeStatus:
    """Between batches, let go also of untouched instances that must not be touched any more, that reached the target
    otherwise, or that come back as new ones.
    """
    status = let_go(view, status)
    untouched = status.scope - checks.touched(status.batches, status.scope)
    if upgrade.type is UpgradeType.EXTENSION:
        behind = census.where(lambda release: extensions.is_behind(status.extensions, release))
        left_alone = census.protected | view.unpatchable
    else:
        behind = census.where(lambda release: needs_upgrade(view, upgrade, status.target, release))
        left_alone = census.protected | view.claims_deleting
    still = untouched.intersection(behind)
    kept_out = still & left_alone
    scope = status.scope - (untouched - still) - kept_out
    if scope == status.scope:
        return status
    return progress.counted(replace(status, scope=scope, skipped=status.skipped | kept_out))


def cancel_reason(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> tuple[str, str] | None:
    """Why the upgrade ends before its next batch, if it does: code and words. Each extension ends by itself
    (extensions.py), but for a user's word.
    """
    if upgrade.deleting or upgrade.cancel:
        return reasons.CANCELLED_BY_USER, "deleted by a user" if upgrade.deleting else "spec.cancel was set"
    model, target = view.model, status.target
    if upgrade.type is UpgradeType.MODEL:
        if model is not None and model.name != target.model:
            return reasons.SUPERSEDED, f"the model changed to {model.name}"
        if upgrade.started_by is StartedBy.PLATFORM and view.mode is not UpgradeMode.ROLLING:
            return reasons.MODE_CHANGED, f"spec.upgradePolicy.mode is {view.mode.value} now"
    elif model is not None and _is_outdated(view, status, model):
        return (
            reasons.SUPERSEDED,
            f"the model changed to {model.name}, and model {target.model} can't be applied any more",
        )
    if _is_withdrawn(view, target, now):
        return reasons.TARGET_WITHDRAWN, f"version {target.image_version} may not be used any more"
    if is_platform_os(upgrade):
        for found in eligibility.missing(view, now):
            return (reasons.OPTED_OUT if found.reason == "Disabled" else reasons.NOT_ELIGIBLE), found.message
    return None


def is_deferred(view: SetView, upgrade: Upgrade) -> bool:
    """Whether the upgrade touches approved instances only."""
    return view.os_policy.deferral and is_platform_os(upgrade)


def approved(view: SetView, upgrade: Upgrade, pending: Iterable[int]) -> Ordinals:
    """The pending instances that a user has approved."""
    if "*" in upgrade.approved:
        return frozenset(pending)
    return frozenset(o for o in pending if view.instance_name(o) in upgrade.approved)


def awaits_approval(upgrade: Upgrade) -> bool:
    """Whether it has begun, is deferred, and nobody approved what is left."""
    status = upgrade.status
    return status is not None and not status.code.final and status.waiting == WAITING_FOR_APPROVAL


def awaiting(status: UpgradeStatus) -> UpgradeStatus:
    """The status of one that waits for approval."""
    return replace(status, waiting=WAITING_FOR_APPROVAL, waiting_message="name instances in spec.approvedInstances")


def needs_new_approval(view: SetView, upgrade: Upgrade, status: UpgradeStatus, begun: UpgradeStatus) -> bool:
    """Whether a deferred upgrade begins anew with another version than the one that its user approved."""
    return is_deferred(view, upgrade) and begun.target.image_version != status.target.image_version


def refresh(view: SetView, status: UpgradeStatus, now: datetime) -> UpgradeStatus:
    """After waiting for approval an upgrade takes up work again with the model of today."""
    model = view.model
    if status.waiting != WAITING_FOR_APPROVAL or model is None or model.name == status.target.model:
        return status
    extensions = releases.extension_versions(view, model, now)
    return replace(status, target=replace(status.target, model=model.name, extensions=extensions))


def target_words(kind: UpgradeType, status: UpgradeStatus) -> str:
    """The target in words."""
    if kind is UpgradeType.EXTENSION:
        return extensions.words(status.extensions)
    if kind is UpgradeType.OS_IMAGE:
        return f"OS image version {status.target.image_version}"
    return f"model {status.target.model}"


def _begin_extensions(
    view: SetView, upgrade: Upgrade, blank: UpgradeStatus, census: Census, now: datetime
) -> UpgradeStatus:
    """The extensions that a user names, all that are due, or for the platform those that may start by themselves."""
    if view.availability_set:
        message = f"{view.name} is upgraded with its availability set: name {view.availability_set} instead"
        return _refuse(blank, upgrade, now, reasons.IN_AVAILABILITY_SET, message)
    if found := _unmet(view, upgrade, (eligibility.has_model,), now):
        return _refuse(blank, upgrade, now, found.reason, found.message)
    model = view.model
    assert model is not None  # has_model saw to it
    known = [e.name for e in model.extensions]
    if unknown := [name for name in upgrade.extensions if name not in known]:
        message = f"spec.extensions: {', '.join(unknown)} not in the set's extensions ({', '.join(known) or 'none'})"
        return _refuse(blank, upgrade, now, "ExtensionNotFound", message)
    automatic = upgrade.started_by is StartedBy.PLATFORM
    targets = extensions.targets(view, census, upgrade.extensions or known, now)
    if automatic:
        targets = tuple(t for t in targets if extensions.may_start(view, t, now))
    wanted = census.where(lambda release: extensions.is_behind(targets, release))
    scope = frozenset(o for o in wanted if may_patch(view, census, o, automatic=automatic))
    fresh = replace(blank, target=Target(model.name), extensions=targets)
    return progress.counted(replace(fresh, scope=scope, skipped=frozenset(wanted) - scope))


def may_patch(view: SetView, census: Census, ordinal: int, *, automatic: bool) -> bool:
    """Not protected, on a node that restarts a patched sidecar, and for the platform's upgrade in Manual mode on the
    latest model (E10).
    """
    if ordinal in census.protected or ordinal in view.unpatchable:
        return False
    on_model = view.model is None or census.releases[ordinal].model == view.model.name
    return on_model or not automatic or view.mode is not UpgradeMode.MANUAL


def _unmet(
    view: SetView, upgrade: Upgrade, needs: Iterable[eligibility.Check], now: datetime
) -> eligibility.Missing | None:
    """What the upgrade needs and the set doesn't have. The platform makes none while a Secret is missing (start.py); a
    user's ends at once, as one that is refused for unhealthy instances.
    """
    user = upgrade.started_by is StartedBy.USER
    chain = (*needs, eligibility.has_current_resources) if user else tuple(needs)
    return next((found for check in chain if (found := check(view, now)) is not None), None)


def _named(view: SetView, upgrade: Upgrade) -> tuple[Ordinals | None, list[str]]:
    """The instances that a user named, None for all, and the names that are none."""
    if not upgrade.instances:
        return None, []
    everyone = {view.instance_name(o): o for o in range(view.replicas)}
    unknown = [name for name in upgrade.instances if name not in everyone]
    return frozenset(everyone[n] for n in upgrade.instances if n in everyone), unknown


def _lacking(
    view: SetView, upgrade: Upgrade, target: Target, model: Model, kinds: Collection[Release], now: datetime
) -> tuple[str, str] | None:
    """What the target has no version for although an instance needs it: code and words."""
    after = [releases.for_member(view, upgrade, target, release) for release in kinds]
    if not all(release.image_version for release in after):
        version = "no version" if model.version == releases.LATEST else f"version {model.version}"
        return "ImageNotFound", f"{version} of {model.image} may be used"
    installed = [dict(release.extensions) for release in after]
    names = [e.name for e in model.extensions if not all(e.name in found for found in installed)]
    why = releases.why_not_installable(view, model, now, names)
    return ("ExtensionNotFound", why) if names else None


def _without_unused_version(view: SetView, upgrade: Upgrade, target: Target, kinds: Collection[Release]) -> Target:
    """Without the image version if every instance keeps its own: then it can't be withdrawn either."""
    without = replace(target, image_version="")
    same = all(
        releases.for_member(view, upgrade, target, r) == releases.for_member(view, upgrade, without, r) for r in kinds
    )
    return without if same else target


def _is_untouched(view: SetView, ordinal: int, former: Release) -> bool:
    instance = view.instances.get(ordinal)
    return instance is not None and instance.deleting_since is None and instance.release == former


def _is_outdated(view: SetView, status: UpgradeStatus, model: Model) -> bool:
    """Whether the model of an OS upgrade gave way to one with another image while it waited for approval, or is refused
    by the server: waiting for its end would be for ever.
    """
    if model.name == status.target.model:
        return False
    if status.waiting == WAITING_FOR_APPROVAL and model.image != status.target.image:
        return True
    return any(t.kind is TroubleKind.TEMPLATE_REFUSED and t.model == status.target.model for t in view.troubles)


def _is_withdrawn(view: SetView, target: Target, now: datetime) -> bool:
    model = view.models.get(target.model)
    if not target.image_version or (model is not None and model.version == target.image_version):
        return False
    catalogue = view.images.get(target.image)
    return versions.is_withdrawn(catalogue.find(target.image_version) if catalogue else None, now)


def _refuse(blank: UpgradeStatus, upgrade: Upgrade, now: datetime, code: str, message: str) -> UpgradeStatus:
    ended = Code.FAULTED if upgrade.started_by is StartedBy.USER else Code.CANCELLED
    return replace(blank, code=ended, completed=now, error_code=code, error=message)
