"""Which release an instance is meant to run: a new one, a lost one, one in a batch (docs/rules.md, "The model").

An OS upgrade changes the image version and applies the model as of its start; a model upgrade keeps the image version
unless the model names another image; extension versions stay what they are unless the model asks for others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime

from scalesets.engine import versions
from scalesets.engine.view import Catalogue, Model, ModelExtension, Release, SetView, Target, Upgrade, UpgradeType

LATEST = "latest"


def allowed_version(view: SetView, model: Model, now: datetime, *, avoid: tuple[str, ...] = ()) -> str | None:
    """The image version that the model asks for: the exact one, or the latest that may be used, less those to avoid."""
    catalogue = view.images.get(model.image)
    if model.version != LATEST:
        return model.version if catalogue is not None and catalogue.find(model.version) is not None else None
    newest = versions.latest(catalogue, now, avoid=avoid)
    return newest.version if newest else None


def extension_versions(view: SetView, model: Model, now: datetime) -> tuple[tuple[str, str], ...]:
    """The versions that a new instance of the model gets, sorted by name; without those that can't be resolved."""
    found = ((e.name, versions.resolve_extension(e, _catalogue(view, model, e), now)) for e in model.extensions)
    return tuple(sorted((name, version) for name, version in found if version is not None))


def why_not_installable(view: SetView, model: Model, now: datetime, names: Collection[str] | None = None) -> str:
    """Which extensions (of those named, if any) no new instance of the model can get, and why; empty when there are
    none.
    """
    known = dict(extension_versions(view, model, now))
    lacking = [e for e in model.extensions if e.name not in known and (names is None or e.name in names)]
    return "; ".join(f"extension {e.name}: {_why_lacking(view, model, e)}" for e in lacking)


def _why_lacking(view: SetView, model: Model, extension: ModelExtension) -> str:
    catalogue, image = view.extensions.get(extension.key), view.images.get(model.image)
    if catalogue is not None and image is not None and _catalogue(view, model, extension) is None:
        return (
            f"{extension.key} is for {catalogue.os_type}, but image {image.name} is {image.os_type}: "
            f"take one for {image.os_type}"
        )
    wanted = "from" if extension.auto_upgrade_minor_version else "for"
    return (
        f"no version of {extension.key} {wanted} typeHandlerVersion {extension.type_handler_version} is published, "
        f"available{f' in {view.location}' if view.location else ''}, not excluded and not past its end of life"
    )


def _catalogue(view: SetView, model: Model, extension: ModelExtension) -> Catalogue | None:
    """The extension's versions, none if they are for another operating system than the image."""
    found, image = view.extensions.get(extension.key), view.images.get(model.image)
    kinds = {c.os_type for c in (found, image) if c is not None and c.os_type}
    return found if len(kinds) < 2 else None


def is_whole(release: Release, model: Model) -> bool:
    """Whether a version is known for the image and for every extension of the model."""
    return bool(release.image_version) and len(release.extensions) == len(model.extensions)


def for_new_instance(view: SetView, now: datetime, *, target_failed: bool = False) -> Release | None:
    """What a scaled-out instance starts with: the running OS upgrade's target, else the latest version that hasn't
    failed here. ``target_failed``: that of the upgrade has, as good as. None when an image or extension has no such
    version.
    """
    model = view.model
    if model is None:
        return None
    target, avoid = _target_of_current_upgrade(view, model, now), view.status.faulted_os_versions
    if target_failed:
        avoid, target = (*avoid, *filter(None, [target])), None
    version = target or allowed_version(view, model, now, avoid=avoid)
    release = Release(version or "", model.name, extension_versions(view, model, now))
    return release if is_whole(release, model) else None


def for_lost_instance(view: SetView, recorded: Release) -> Release:
    """Its own versions; on the current model if its own is no longer kept."""
    if recorded.model in view.models or view.model is None:
        return recorded
    return replace(recorded, model=view.model.name)


def for_member(view: SetView, upgrade: Upgrade, target: Target, former: Release) -> Release:
    """What a batch of the upgrade brings an instance to that comes from ``former``."""
    return moved(view, upgrade.type, target, former, named=bool(upgrade.instances))


def moved(view: SetView, kind: UpgradeType, target: Target, former: Release, *, named: bool = False) -> Release:
    """Where ``target`` brings an instance that comes from ``former``; ``named`` when a user named it for the model.

    What the target has no version for is missing in the answer (``is_whole``).
    """
    model = view.models.get(target.model)
    if model is None:
        return former
    before = view.models.get(former.model)
    if kind is UpgradeType.MODEL:
        image_version = _image_after_model_change(target, model, before, former, named=named)
    else:
        image_version = target.image_version
    fresh, kept = dict(target.extensions), dict(former.extensions)
    carried: list[tuple[str, str]] = []
    for extension in model.extensions:
        mine = kept.get(extension.name)
        if mine is None or not _keeps_version(extension, model, before):
            mine = fresh.get(extension.name, mine)
        if mine is not None:
            carried.append((extension.name, mine))
    return Release(image_version, model.name, tuple(sorted(carried)))


def is_on_model(view: SetView, release: Release, model: Model) -> bool:
    """Whether the release is on the model, or on one that differs from it in flags only."""
    other = view.models.get(release.model)
    return release.model == model.name or (other is not None and other.content == model.content)


def differs_in_flags_only(view: SetView, one: Release, other: Release) -> bool:
    """Whether a label patch turns one into the other: same versions, and models of the same content."""
    if one.image_version != other.image_version or one.extensions != other.extensions:
        return False
    first, second = view.models.get(one.model), view.models.get(other.model)
    return first is not None and second is not None and first.content == second.content


def once_each(compute: Callable[[Release], Release]) -> Callable[[Release], Release]:
    """The same function, computed once per release object: thousands of instances share a few."""
    known: dict[int, tuple[Release, Release]] = {}

    def look_up(release: Release) -> Release:
        found = known.get(id(release))
        if found is None:
            found = known[id(release)] = (release, compute(release))  # keeps the key's object alive
        return found[1]

    return look_up


def _target_of_current_upgrade(view: SetView, model: Model, now: datetime) -> str | None:
    upgrade = view.current_upgrade
    if upgrade is None or upgrade.status is None or upgrade.type is not UpgradeType.OS_IMAGE:
        return None
    target = upgrade.status.target
    if target.image != model.image or model.version != LATEST:
        return None
    catalogue = view.images.get(model.image)
    published = catalogue.find(target.image_version) if catalogue is not None else None
    return None if versions.is_withdrawn(published, now) else target.image_version


def _image_after_model_change(
    target: Target, model: Model, before: Model | None, former: Release, *, named: bool
) -> str:
    if before is None:
        return target.image_version or former.image_version
    if before.image != model.image or model.version not in (LATEST, former.image_version):
        return target.image_version
    if named and versions.is_newer(target.image_version, former.image_version):
        return target.image_version  # bringing named instances up to date is the cure for a bad old version
    return former.image_version


def _keeps_version(extension: ModelExtension, model: Model, before: Model | None) -> bool:
    """Whether an installed version stays: the extension is as it was, and a new model asks for no newer minor."""
    if before is None or before.content == model.content:
        return before is not None
    was = next((e for e in before.extensions if e.name == extension.name), None)
    return (
        was is not None
        and (was.key, was.type_handler_version) == (extension.key, extension.type_handler_version)
        and not extension.auto_upgrade_minor_version
    )
