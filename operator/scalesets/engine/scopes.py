"""What an upgrade is about: its target, the instances in scope, and what ends it early (docs/rules.md, "Which
instances", "When upgrades start").

Scope = the instances that are not on the target at the start, less the protected ones. Scaled-in instances leave it,
scaled-out ones don't enter. The target is fixed when the upgrade begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from scalesets.engine import checks, eligibility, progress, releases, versions
from scalesets.engine.census import Census
from scalesets.engine.instances import is_protected
from scalesets.engine.view import (
    NONE,
    Code,
    Model,
    Ordinals,
    Release,
    SetView,
    StartedBy,
    Target,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)

CANCELLED_BY_USER = "CancelledByUser"
TARGET_WITHDRAWN = "TargetWithdrawn"
SUPERSEDED = "Superseded"
OPTED_OUT = "OptedOut"
NOT_ELIGIBLE = "NotEligible"


def begin(view: SetView, upgrade: Upgrade, census: Census, now: datetime) -> UpgradeStatus:
    """The first status: target and scope, or final at once when it can't be done (a user's words come back as the
    error).
    """
    blank = UpgradeStatus(Code.ROLLING_FORWARD, Target(""), now, last_action_time=now)
    if upgrade.type is UpgradeType.EXTENSION:
        return _refuse(blank, upgrade, now, "NotSupported", "type Extension is not supported yet; use OSImage or Model")
    needs = eligibility.MANUAL_START if upgrade.type is UpgradeType.OS_IMAGE else (eligibility.has_model,)
    for check in needs:
        if found := check(view, now):
            return _refuse(blank, upgrade, now, found.reason, found.message)
    model = view.model
    assert model is not None  # has_model saw to it
    extensions = releases.extension_versions(view, model, now)
    if extensions is None:
        names = ", ".join(e.name for e in model.extensions)
        return _refuse(blank, upgrade, now, "ExtensionNotFound", f"no version can be installed of one of: {names}")
    version = releases.allowed_version(view, model, now)
    if version is None:
        return _refuse(blank, upgrade, now, "ImageNotFound", f"no version of {model.image} may be used")
    target = Target(model.name, version, model.image, extensions)
    named, unknown = _named(view, upgrade)
    if unknown:
        return _refuse(blank, upgrade, now, "InstanceNotFound", f"spec.instances: {', '.join(unknown)} not in the set")
    wanted = frozenset(o for o in named if o in census.releases and needs_upgrade(view, upgrade, target, census, o))
    automatic = is_platform_os(upgrade)
    skipped = frozenset(o for o in wanted if not may_touch(view, o, census.releases[o], platform_os=automatic))
    scope = wanted - skipped
    if upgrade.type is UpgradeType.MODEL and not _changes_image(view, upgrade, target, census, scope):
        target = replace(target, image_version="")
    return progress.counted(replace(blank, target=target, scope=scope, skipped=skipped))


def needs_upgrade(view: SetView, upgrade: Upgrade, target: Target, census: Census, ordinal: int) -> bool:
    """Whether the instance is not on the target. An OS upgrade never lowers a version."""
    release = census.releases[ordinal]
    if upgrade.type is UpgradeType.OS_IMAGE:
        return os_version_is_behind(view, release, target.image, target.image_version)
    return releases.for_member(view, upgrade, target, release) != release


def os_version_is_behind(view: SetView, release: Release, image: str, version: str) -> bool:
    """Whether the release has an older version of the image, or another image."""
    model = view.models.get(release.model)
    if model is not None and model.image != image:
        return True
    return versions.is_newer(version, release.image_version)


def may_touch(view: SetView, ordinal: int, release: Release, *, platform_os: bool) -> bool:
    """Not protected, no claim of it being deleted, and for the platform's OS upgrade in Manual mode on the latest
    model.
    """
    if is_protected(view, ordinal) or ordinal in view.claims_deleting:
        return False
    on_model = view.model is None or release.model == view.model.name
    return on_model or not platform_os or view.mode is not UpgradeMode.MANUAL


def is_platform_os(upgrade: Upgrade) -> bool:
    """Whether this is an automatic OS upgrade."""
    return upgrade.type is UpgradeType.OS_IMAGE and upgrade.started_by is StartedBy.PLATFORM


def is_current(view: SetView, upgrade: Upgrade, status: UpgradeStatus) -> bool:
    """Whether an upgrade without batches still has the right model as its target."""
    return view.model is None or upgrade.type is UpgradeType.MODEL or status.target.model == view.model.name


def trim(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census) -> UpgradeStatus:
    """Let go of instances that were scaled in, and of untouched ones that got protected or reached the target otherwise."""
    touched = checks.touched(status.batches, status.scope)
    gone = frozenset(o for o in status.scope if o >= view.replicas)
    untouched = status.scope - touched - gone
    kept_out = frozenset(
        o for o in untouched if is_protected(view, o) or o in view.claims_deleting or o not in census.releases
    )
    arrived = frozenset(o for o in untouched - kept_out if not needs_upgrade(view, upgrade, status.target, census, o))
    if not gone and not kept_out and not arrived:
        return status
    return progress.counted(
        replace(status, scope=status.scope - gone - kept_out - arrived, skipped=(status.skipped | kept_out) - gone)
    )


def cancel_reason(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> tuple[str, str] | None:
    """Why the upgrade ends before its next batch, if it does: code and words."""
    if upgrade.deleting or upgrade.cancel:
        return CANCELLED_BY_USER, "deleted by a user" if upgrade.deleting else "spec.cancel was set"
    model = view.model
    if upgrade.type is UpgradeType.MODEL and model is not None and model.name != status.target.model:
        return SUPERSEDED, f"the model changed to {model.name}"
    if _is_withdrawn(view, status.target, now):
        return TARGET_WITHDRAWN, f"version {status.target.image_version} may not be used any more"
    if is_platform_os(upgrade):
        for found in eligibility.missing(view, now):
            return (OPTED_OUT if found.reason == "Disabled" else NOT_ELIGIBLE), found.message
    return None


def is_deferred(view: SetView, upgrade: Upgrade) -> bool:
    """Whether the upgrade touches approved instances only."""
    return view.os_policy.deferral and is_platform_os(upgrade)


def approved(view: SetView, upgrade: Upgrade, pending: Iterable[int]) -> Ordinals:
    """The pending instances that a user has approved."""
    if "*" in upgrade.approved:
        return frozenset(pending)
    return frozenset(o for o in pending if view.instance_name(o) in upgrade.approved)


def refresh(view: SetView, status: UpgradeStatus, now: datetime) -> UpgradeStatus:
    """A deferred upgrade takes up work again: with the model of today."""
    model = view.model
    if model is None or model.name == status.target.model or model.image != status.target.image:
        return status
    extensions = releases.extension_versions(view, model, now) or status.target.extensions
    return replace(status, target=replace(status.target, model=model.name, extensions=extensions))


def describe(upgrade: Upgrade, status: UpgradeStatus) -> str:
    """What the upgrade does to how many instances, for people."""
    return f"{target_words(upgrade.type, status.target)} for {len(status.scope)} instances"


def target_words(kind: UpgradeType, target: Target) -> str:
    """The target in words."""
    return f"OS image version {target.image_version}" if kind is UpgradeType.OS_IMAGE else f"model {target.model}"


def _named(view: SetView, upgrade: Upgrade) -> tuple[Ordinals, list[str]]:
    everyone = {view.instance_name(o): o for o in range(view.replicas)}
    if not upgrade.instances:
        return frozenset(everyone.values()), []
    unknown = [name for name in upgrade.instances if name not in everyone]
    return frozenset(everyone[n] for n in upgrade.instances if n in everyone), unknown


def _changes_image(view: SetView, upgrade: Upgrade, target: Target, census: Census, scope: Ordinals) -> bool:
    def after(ordinal: int) -> str:
        return releases.for_member(view, upgrade, target, census.releases[ordinal]).image_version

    return any(after(o) != census.releases[o].image_version for o in scope)


def _is_withdrawn(view: SetView, target: Target, now: datetime) -> bool:
    model: Model | None = view.models.get(target.model)
    if not target.image_version or (model is not None and model.version == target.image_version):
        return False
    catalogue = view.images.get(target.image)
    return versions.is_withdrawn(catalogue.find(target.image_version) if catalogue else None, now)


def _refuse(blank: UpgradeStatus, upgrade: Upgrade, now: datetime, code: str, message: str) -> UpgradeStatus:
    ended = Code.FAULTED if upgrade.started_by is StartedBy.USER else Code.CANCELLED
    return replace(blank, code=ended, completed=now, error_code=code, error=message, scope=NONE)
