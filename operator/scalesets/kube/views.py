"""All that is known of a scale set -> the engine's view of it (docs/design.md, "The shape").

A decision is made for every batch of events, so nothing is translated twice: what comes from spec, status, a revision
or a catalogue is kept until that object is another one, and the instances are handed on as the cache has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

from scalesets.engine.groups import wanted_of_member
from scalesets.engine.view import (
    NONE,
    Catalogue,
    Model,
    Ordinals,
    OSUpgradePolicy,
    RollingPolicy,
    SetStatus,
    SetView,
    Upgrade,
    UpgradeMode,
)
from scalesets.kube import catalogues, claims, models, references, statuses, times, upgrades
from scalesets.kube.memo import Memo
from scalesets.kube.names import Raw, is_machine
from scalesets.kube.seen import Seen
from scalesets.kube.settings import Settings
from scalesets.kube.templates import DEFAULT_UPDATE_DOMAINS


@dataclass(frozen=True, slots=True)
class _Spec:
    """What the view takes from a set's own object."""

    replicas: int
    replicas_owned: bool
    mode: UpgradeMode
    zones: tuple[str, ...]
    update_domains: int
    policy: RollingPolicy
    os_policy: OSUpgradePolicy
    protected: Ordinals
    delete_claims_when_scaled: bool
    status: SetStatus


_specs: Memo[_Spec] = Memo()
_upgrades: Memo[Upgrade] = Memo()


def build_group(seen: Seen, *, settings: Settings) -> SetView:
    """The view of an availability set over its machines (engine/groups.py makes one set of it)."""
    raw = seen.scale_set
    metadata = raw["metadata"]
    own = _specs.get(raw, None, lambda: _spec(raw))
    location = raw["spec"].get("location") or own.status.location or settings.default_location
    known = {name: models.engine_model(revision) for name, revision in seen.revisions.items()}
    return SetView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created=times.parse(metadata["creationTimestamp"]),
        replicas=len(seen.places),
        mode=UpgradeMode.AUTOMATIC,
        model=None,
        status=own.status,
        deleting="deletionTimestamp" in metadata,
        location=location,
        update_domains=own.update_domains,
        policy=own.policy,
        timing=settings.timing,
        models=known,
        extensions=_extensions(seen, known, location),
        instances=MappingProxyType(dict(seen.instances)),
        upgrades=tuple(_upgrades.get(u, None, lambda u=u: upgrades.read(u)) for u in seen.upgrades),  # type: ignore[misc]
        troubles=seen.troubles,
        fresh_since=seen.fresh_since,
        within_limit_since=seen.within_limit_since,
        names={place: name for name, place in seen.places.items()},
        is_group=True,
    )


def _in_its_group(view: SetView, seen: Seen, settings: Settings) -> SetView:
    """A machine that its availability set upgrades comes back as the running batch wants it."""
    if seen.group is None:
        return view
    group = build_group(seen.group, settings=settings)
    place = seen.group.places.get(view.name)
    if place is None:
        return view
    return replace(view, wanted=wanted_of_member(group, place, view.status.record.get(0)))


def build(seen: Seen, *, settings: Settings) -> SetView:
    """The view of one set, whose model is stored (``models.resolve`` left nothing to create)."""
    resolution = models.resolve(seen)
    raw = seen.scale_set
    metadata, spec = raw["metadata"], raw["spec"]
    own = _specs.get(raw, None, lambda: _spec(raw))
    status = own.status
    location = spec.get("location") or status.location or settings.default_location
    known = {name: models.engine_model(revision) for name, revision in seen.revisions.items()}
    if resolution.model is not None:
        known[resolution.name] = resolution.model
    deleting, spare = _claims(seen, own.replicas)
    view = SetView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created=times.parse(metadata["creationTimestamp"]),
        replicas=own.replicas,
        mode=own.mode,
        model=resolution.model,
        status=status,
        deleting="deletionTimestamp" in metadata,
        replicas_owned=own.replicas_owned,
        location=location,
        zones=own.zones,
        zones_backed=status.zones_backed if status.zones_backed is not None else seen.zones_backed,
        update_domains=own.update_domains,
        policy=own.policy,
        os_policy=own.os_policy,
        timing=settings.timing,
        protected=own.protected,
        model_problem=resolution.problem or ("", ""),
        models=known,
        images=_images(seen, known, location),
        extensions=_extensions(seen, known, location),
        instances=MappingProxyType(dict(seen.instances)),
        claims_deleting=deleting,
        spare_claims=spare,
        delete_claims_when_scaled=own.delete_claims_when_scaled,
        upgrades=tuple(_upgrades.get(u, None, lambda u=u: upgrades.read(u)) for u in seen.upgrades),  # type: ignore[misc]
        troubles=(*seen.troubles, *seen.circumstances),
        fresh_since=seen.fresh_since,
        within_limit_since=seen.within_limit_since,
        losses=dict(seen.losses),
        names={0: metadata["name"]} if is_machine(raw) else {},
        availability_set=spec.get("availabilitySet") or "",
        update_domain=seen.update_domain,
    )
    return _in_its_group(view, seen, settings)


def _spec(raw: Raw) -> _Spec:
    spec = raw["spec"]
    policy = spec.get("upgradePolicy") or {}
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    replicas = spec.get("replicas")
    return _Spec(
        replicas=1 if replicas is None else replicas,
        replicas_owned=replicas not in (None, 1) or _is_owned(raw["metadata"]),
        mode=UpgradeMode(policy.get("mode") or UpgradeMode.ROLLING.value),
        zones=tuple(spec.get("zones") or ()),
        update_domains=spec.get("updateDomains") or DEFAULT_UPDATE_DOMAINS,
        policy=_rolling_policy(policy.get("rollingUpgradePolicy") or {}),
        os_policy=_os_policy(policy.get("automaticOSUpgradePolicy") or {}),
        protected=frozenset(
            p["instanceId"] for p in spec.get("instanceProtection") or () if p.get("protectFromUpgrade")
        )
        or NONE,
        delete_claims_when_scaled=retention.get("whenScaled") == claims.DELETE,
        status=statuses.read_set(raw.get("status")),
    )


def _rolling_policy(policy: Raw) -> RollingPolicy:
    default = RollingPolicy()

    def percent(name: str, otherwise: int) -> int:
        value = policy.get(name)
        return otherwise if value is None else int(value)

    def duration(name: str, otherwise: timedelta) -> timedelta:
        text = policy.get(name)
        return times.parse_duration(text) if text else otherwise

    return RollingPolicy(
        max_batch_percent=percent("maxBatchInstancePercent", default.max_batch_percent),
        max_unhealthy_percent=percent("maxUnhealthyInstancePercent", default.max_unhealthy_percent),
        max_unhealthy_upgraded_percent=percent(
            "maxUnhealthyUpgradedInstancePercent", default.max_unhealthy_upgraded_percent
        ),
        pause=duration("pauseTimeBetweenBatches", default.pause),
        health_timeout=duration("healthTimeout", default.health_timeout),
        provisioning_timeout=duration("provisioningTimeout", default.provisioning_timeout),
        cross_zone=bool(policy.get("enableCrossZoneUpgrade")),
        prioritize_unhealthy=bool(policy.get("prioritizeUnhealthyInstances")),
        roll_back_on_breach=bool(policy.get("rollbackFailedInstancesOnPolicyBreach")),
    )


def _os_policy(policy: Raw) -> OSUpgradePolicy:
    return OSUpgradePolicy(
        enabled=bool(policy.get("enableAutomaticOSUpgrade")),
        disable_roll_back=bool(policy.get("disableAutomaticRollback")),
        use_rolling_policy=bool(policy.get("useRollingUpgradePolicy")),
        deferral=bool(policy.get("osRollingUpgradeDeferral")),
    )


def _is_owned(metadata: Raw) -> bool:
    """Whether somebody set spec.replicas. An apply that drops it leaves the schema's default, 1, which has no owner.

    Other numbers can't come from there: 0 has no owner either when it was set by the scale subresource, which omits it.
    """
    fields = metadata.get("managedFields")
    if not fields:
        return True
    return any("f:replicas" in ((f.get("fieldsV1") or {}).get("f:spec") or {}) for f in fields)


def _claims(seen: Seen, replicas: int) -> tuple[Ordinals, Ordinals]:
    """The instances with a claim that is being deleted, and the ordinals beyond the set that still have claims."""
    uid = seen.scale_set["metadata"]["uid"]
    deleting: set[int] = set()
    spare: set[int] = set()
    for ordinal, of_instance in seen.claims.items():
        for claim in of_instance.values():
            if claim.deleting:
                deleting.add(ordinal)
            elif ordinal >= replicas and claim.set_uid == uid:
                spare.add(ordinal)
    return frozenset(deleting) or NONE, frozenset(spare) or NONE


def _images(seen: Seen, known: Mapping[str, Model], location: str) -> dict[str, Catalogue]:
    found = {}
    for key in {model.image for model in known.values()}:
        image = references.find_image(key, seen.images, seen.catalog_namespace)
        if image is not None:
            found[key] = catalogues.for_set(image, location)
    return found


def _extensions(seen: Seen, known: Mapping[str, Model], location: str) -> dict[str, Catalogue]:
    found = {}
    for key in {extension.key for model in known.values() for extension in model.extensions}:
        extension = references.find_extension(key, seen.extensions)
        if extension is not None:
            found[key] = catalogues.for_set(extension, location)
    return found
