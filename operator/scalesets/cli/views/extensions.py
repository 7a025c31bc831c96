"""The extensions of a set or machine: what is installed, what is newest, whether they are upgraded automatically, and
how the last upgrade went (E11). The engine says what may be used; the operator's status what is installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from scalesets.cli import whose
from scalesets.cli.fields import Obj, at, is_final, name_of, text, when
from scalesets.cli.views import images, upgrades
from scalesets.cli.views.upgrades import ExtensionTargetView
from scalesets.engine import ordinals, versions
from scalesets.engine.view import Catalogue
from scalesets.kube import catalogues, references

ENABLED, DISABLED, NOT_SUPPORTED = "Enabled", "Disabled", "NotSupported"


@dataclass(frozen=True, slots=True)
class LastUpgradeView:
    """How the last upgrade of an extension ended, and when it is tried again by itself, if it is."""

    name: str
    version: str
    outcome: str
    code: str
    reason: str
    completed: datetime | None
    retry: datetime | None


@dataclass(frozen=True, slots=True)
class ExtensionView:
    """One extension. ``version`` is the lowest that is installed, ``latest`` the newest of its major that may be used.

    ``newer_major`` is the newest of a later one, which only a change of typeHandlerVersion brings; ``found`` whether
    there is an Extension of this publisher and type at all.
    """

    machine: str  # of an availability set
    name: str
    publisher: str
    type: str
    version: str
    versions: Mapping[str, int]
    latest: str
    newer_major: str
    automatic_upgrade: str
    type_handler_version: str
    auto_upgrade_minor_version: bool
    found: bool
    last: LastUpgradeView | None
    upgrading: ExtensionTargetView | None

    @property
    def is_behind(self) -> bool:
        """Whether a newer version of its major may be used."""
        return bool(self.version and self.latest) and versions.is_newer(self.latest, self.version)


def read(
    fleet: Obj,
    published: Sequence[Obj],
    running: Sequence[Obj],
    *,
    now: datetime,
    machine: str = "",
    upgraded_by: Obj | None = None,
) -> tuple[ExtensionView, ...]:
    """The extensions of a set or machine, in the order of its spec. ``published`` are the Extensions that it can use,
    ``running`` the upgrades of who upgrades it: itself, or its availability set.
    """
    location = text(fleet, "status.location", text(fleet, "spec.location"))
    told = {text(e, "name"): e for e in at(fleet, "status.extensions", [])}
    lasts = {text(e, "name"): at(e, "lastUpgrade") for e in at(upgraded_by or fleet, "status.extensions", [])}
    at_work = {
        e.name: e
        for raw in running
        if not is_final(raw)
        for e in upgrades.read(raw).extensions
        if e.outcome in ("Pending", "Running")
    }
    return tuple(
        _extension(
            e,
            {**told.get(text(e, "name"), {}), "lastUpgrade": lasts.get(text(e, "name"))},
            fleet,
            published,
            location,
            at_work,
            now,
            machine,
        )
        for e in at(fleet, "spec.extensions", [])
    )


def supports_automatic_upgrade(extension: Obj, published: Sequence[Obj]) -> bool | None:
    """Whether the publisher says so; None when nobody publishes it here."""
    found = references.find_extension(references.extension_key(extension), published)
    return bool(at(found, "spec.supportsAutomaticUpgrade")) if found is not None else None


def newest(catalogue: Catalogue, major: tuple[int, ...], now: datetime) -> str:
    """The newest version of a major that may be used; empty when none may."""
    stable = [v.version for v in catalogue.versions if versions.is_stable(v, now)]
    return max((v for v in stable if versions.parse(v)[:1] == major), key=versions.parse, default="")


def _extension(
    spec: Obj,
    told: Obj,
    fleet: Obj,
    published: Sequence[Obj],
    location: str,
    at_work: Mapping[str, ExtensionTargetView],
    now: datetime,
    machine: str,
) -> ExtensionView:
    name = text(spec, "name")
    found = references.find_extension(references.extension_key(spec), published)
    catalogue = catalogues.for_set(found, location) if found is not None else Catalogue("")
    version = text(told, "version")
    major = versions.parse(version or text(spec, "typeHandlerVersion"))[:1]
    newest_of_all = versions.latest(catalogue, now)
    ahead = newest_of_all is not None and versions.parse(newest_of_all.version)[:1] > major
    return ExtensionView(
        machine=machine,
        name=name,
        publisher=text(spec, "publisher"),
        type=text(spec, "type"),
        version=version,
        versions=_installed(fleet, name),
        latest=newest(catalogue, major, now),
        newer_major=newest_of_all.version if newest_of_all is not None and ahead else "",
        automatic_upgrade=_automatic(spec, published, text(told, "automaticUpgrade")),
        type_handler_version=text(spec, "typeHandlerVersion"),
        auto_upgrade_minor_version=bool(at(spec, "autoUpgradeMinorVersion")),
        found=found is not None,
        last=_last(at(told, "lastUpgrade")),
        upgrading=at_work.get(name),
    )


def _automatic(spec: Obj, published: Sequence[Obj], told: str) -> str:
    """What holds now; what the operator said last may be older than the spec."""
    supported = supports_automatic_upgrade(spec, published)
    if supported is None:
        return told or NOT_SUPPORTED
    if not supported:
        return NOT_SUPPORTED
    return ENABLED if at(spec, "enableAutomaticUpgrade") else DISABLED


def _installed(fleet: Obj, name: str) -> dict[str, int]:
    """How many instances run each version, the newest first."""
    counts: Counter[str] = Counter()
    for group in at(fleet, "status.instances", []):
        for extension in at(group, "extensions", []):
            if text(extension, "name") == name:
                counts[text(extension, "version")] += _size(group)
    return {v: counts[v] for v in sorted(counts, key=versions.parse, reverse=True)}


def _size(group: Obj) -> int:
    try:
        return len(ordinals.parse(text(group, "ordinals")))
    except ValueError:
        return 0


def _last(last: Obj | None) -> LastUpgradeView | None:
    if not last:
        return None
    return LastUpgradeView(
        name=text(last, "name"),
        version=text(last, "version"),
        outcome=text(last, "outcome"),
        code=text(last, "code"),
        reason=text(last, "reason"),
        completed=when(last, "completedTime"),
        retry=when(last, "retryTime"),
    )


# -- what is published -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PublishedVersionView:
    """One version in one location. ``latest``: the newest of its major that may be used there."""

    version: str
    location: str
    state: str
    published: datetime | None
    latest: bool
    excluded_from_latest: bool
    end_of_life: datetime | None
    instances: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PublishedView:
    """One Extension with its versions, the newest first."""

    name: str
    namespace: str
    publisher: str
    type: str
    os_type: str
    supports_automatic_upgrade: bool
    reports_application_health: bool
    versions: tuple[PublishedVersionView, ...]


def read_published(
    published: Sequence[Obj], fleets: Sequence[Obj], *, location: str, now: datetime
) -> tuple[PublishedView, ...]:
    """The Extensions, with how many instances of ``fleets`` run each version."""
    users: dict[str, list[tuple[Obj, str]]] = {}
    for fleet in fleets:
        for spec in at(fleet, "spec.extensions", []):
            found = references.find_extension(references.extension_key(spec), published)
            if found is not None:
                users.setdefault(text(found, "metadata.uid"), []).append((fleet, text(spec, "name")))
    return tuple(_published(e, users.get(text(e, "metadata.uid"), []), location, now) for e in published)


def used_by(fleet: Obj, published: Sequence[Obj]) -> tuple[Obj, ...]:
    """Those of the published that a set or machine has, in the order of its spec."""
    keys = [references.extension_key(e) for e in at(fleet, "spec.extensions", [])]
    return tuple(found for key in keys if (found := references.find_extension(key, published)) is not None)


def _published(extension: Obj, users: list[tuple[Obj, str]], location: str, now: datetime) -> PublishedView:
    places = [location] if location else _locations(extension, [fleet for fleet, _ in users])
    rows = [row for place in places for row in _in_location(extension, users, place, now)]
    rows.sort(key=lambda row: versions.parse(row.version), reverse=True)
    return PublishedView(
        name=name_of(extension),
        namespace=text(extension, "metadata.namespace"),
        publisher=text(extension, "spec.publisher"),
        type=text(extension, "spec.type"),
        os_type=text(extension, "spec.osType"),
        supports_automatic_upgrade=bool(at(extension, "spec.supportsAutomaticUpgrade")),
        reports_application_health=bool(at(extension, "spec.reportsApplicationHealth")),
        versions=tuple(rows),
    )


def _locations(extension: Obj, fleets: list[Obj]) -> list[str]:
    seen = {text(r, "name") for v in at(extension, "status.versions", []) for r in at(v, "regions", [])}
    return sorted((seen | {_place(f) for f in fleets}) - {""}) or [""]


def _place(fleet: Obj) -> str:
    return text(fleet, "status.location", text(fleet, "spec.location"))


def _in_location(
    extension: Obj, users: list[tuple[Obj, str]], location: str, now: datetime
) -> list[PublishedVersionView]:
    catalogue = catalogues.for_set(extension, location)
    majors = {versions.parse(v.version)[:1] for v in catalogue.versions}
    latest = {newest(catalogue, major, now) for major in majors}
    here = [(fleet, name) for fleet, name in users if _place(fleet) == location]
    return [
        PublishedVersionView(
            version=v.version,
            location=location,
            state=images.state_in(extension, v, location, now),
            published=None if v.removed else v.published,
            latest=v.version in latest,
            excluded_from_latest=v.excluded,
            end_of_life=v.end_of_life,
            instances={whose.reference(f): n for f, name in here if (n := _installed(f, name).get(v.version, 0))},
        )
        for v in catalogue.versions
    ]
