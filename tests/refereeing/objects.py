"""Reading API objects as docs/api.md and docs/rules.md describe them. Independent of the operator's own readers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

Json = Mapping[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

LAG = timedelta(seconds=2)
"""How far behind the world the operator's knowledge may be."""
PREFIX = "scalesets.dev/"
EXTENSION = "extension.scalesets.dev/"
MACHINE, GROUP = "virtualmachine/", "availabilityset/"
"""Stand before the names of machines and availability sets where they and sets are named side by side."""
PLATFORM_PERCENT = 20
"""OS and extension upgrades never exceed so many percent (O8)."""


def ordinals(text: str) -> frozenset[int]:
    """``"0-3,7"`` as a set."""
    found: set[int] = set()
    for part in filter(None, (text or "").split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def is_newer(version: str, other: str) -> bool:
    """Whether a version comes after another, compared as numbers."""
    return _numbers(version) > _numbers(other)


def is_of_major(version: str, other: str) -> bool:
    """Whether two versions have one major."""
    return _numbers(version)[:1] == _numbers(other)[:1] != []


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def render(some: Iterable[int]) -> str:
    """A set as ``"0-3,7"``."""
    runs: list[list[int]] = []
    for ordinal in sorted(some):
        if runs and runs[-1][1] == ordinal - 1:
            runs[-1][1] = ordinal
        else:
            runs.append([ordinal, ordinal])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def installed(annotations: Json) -> dict[str, str]:
    """The versions of an instance's extensions."""
    found = {k.removeprefix(EXTENSION): v for k, v in annotations.items() if k.startswith(EXTENSION)}
    return {name: version for name, version in found.items() if "." not in name}


def ordinal_of(name: str, set_name: str) -> int | None:
    """The ordinal in an instance's name."""
    stem, _, tail = name.rpartition("-")
    return int(tail) if stem == set_name and tail.isdigit() else None


def owner_of_pod(name: str, labels: Json) -> tuple[str, int | None]:
    """Whose instance a pod is, by its labels, and which: the ordinal is None when the name doesn't fit."""
    if machine := labels.get(f"{PREFIX}virtual-machine", ""):
        return MACHINE + machine, 0 if name == machine else None
    owner = labels.get(f"{PREFIX}scaleset", "")
    return owner, ordinal_of(name, owner) if owner else None


def owner_of_upgrade(spec: Json) -> str:
    """What a RollingUpgrade upgrades."""
    if machine := spec.get("virtualMachine"):
        return f"{MACHINE}{machine}"
    if group := spec.get("availabilitySet"):
        return f"{GROUP}{group}"
    return str(spec.get("scaleSet", ""))


def moment(text: str | None) -> datetime | None:
    """A time as Kubernetes writes it."""
    if not text:
        return None
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def duration(text: str) -> timedelta:
    """An ISO 8601 duration."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is no ISO 8601 duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


# -- of a ScaleSet -----------------------------------------------------------------------------------------------------


def replicas(obj: Json) -> int:
    """What is asked for; a drop to 1 that no field manager owns doesn't count (docs/api.md)."""
    asked = int(obj["spec"].get("replicas", 1))
    fields = obj["metadata"].get("managedFields")
    if asked != 1 or not fields or any("f:replicas" in (f.get("fieldsV1") or {}).get("f:spec", {}) for f in fields):
        return asked
    groups = (obj.get("status") or {}).get("instances") or ()
    known = [o for g in groups for o in ordinals(g.get("ordinals", ""))]
    return max(asked, max(known, default=-1) + 1)


def extension_named(obj: Json, name: str) -> tuple[str, str]:
    """Publisher and type of a set's extension; empty when it has none of the name."""
    found = next((e for e in obj["spec"].get("extensions") or () if e.get("name") == name), {})
    return found.get("publisher", ""), found.get("type", "")


def cell(obj: Json, ordinal: int) -> tuple[str, int]:
    """Zone and update domain of an instance."""
    zones = obj["spec"].get("zones") or ()
    domains = int(obj["spec"].get("updateDomains", 5))
    return (zones[ordinal % len(zones)] if zones else "", ordinal // max(1, len(zones)) % domains)


def mode(obj: Json) -> str:
    """What a model change does to existing instances."""
    return _policy(obj).get("mode", "Rolling")


def roll_back_disabled(obj: Json) -> bool:
    """Whether a failed instance of an automatic OS upgrade stays on the new version."""
    return bool(_os_policy(obj).get("disableAutomaticRollback"))


def batch_percent(obj: Json, upgrade_type: str) -> int:
    """The most instances in one batch."""
    if obj.get("kind") == "AvailabilitySet":
        return most_at_once(obj)
    percent = int(_rolling(obj, upgrade_type).get("maxBatchInstancePercent", 20))
    return percent if upgrade_type == "Model" else min(percent, PLATFORM_PERCENT)


def most_at_once(obj: Json) -> int:
    """The percentage that OS and extension upgrades never exceed; an availability set goes by domains (E5c)."""
    return 100 if obj.get("kind") == "AvailabilitySet" else PLATFORM_PERCENT


def unhealthy_percent(obj: Json, upgrade_type: str) -> int:
    """No batch starts while more of the set is unhealthy (O11)."""
    return int(_rolling(obj, upgrade_type).get("maxUnhealthyInstancePercent", 20))


def crosses_zones(obj: Json, upgrade_type: str) -> bool:
    """Whether a batch may lie in several zones."""
    return bool(_rolling(obj, upgrade_type).get("enableCrossZoneUpgrade"))


def protected(obj: Json) -> frozenset[int]:
    """The instances that the spec keeps out of upgrades."""
    entries = obj["spec"].get("instanceProtection") or ()
    return frozenset(int(e["instanceId"]) for e in entries if e.get("protectFromUpgrade"))


def growing_time(obj: Json) -> timedelta:
    """How old an instance that was never Ready must be to count (docs/rules.md, "Health")."""
    policy = _policy(obj).get("rollingUpgradePolicy") or {}
    return duration(policy.get("provisioningTimeout", "PT15M")) + duration(policy.get("healthTimeout", "PT5M"))


def location(obj: Json) -> str:
    """The effective region."""
    return (obj.get("status") or {}).get("location") or obj["spec"].get("location") or ""


def set_words(obj: Json) -> list[str]:
    """What a reader of the timeline wants to know when it changes."""
    status = obj.get("status") or {}
    told = [
        f"{c.get('type')}={c.get('status')} {c.get('reason')}"
        for c in status.get("conditions") or ()
        if c.get("type") != "Ready" or c.get("status") == "False"
    ]
    generation = f"generation {obj['metadata'].get('generation', 0)}"
    return [f"{replicas(obj)} replicas", generation, f"lock {status.get('currentUpgrade') or 'free'}", *told]


def _policy(obj: Json) -> Json:
    return obj["spec"].get("upgradePolicy") or {}


def _os_policy(obj: Json) -> Json:
    return _policy(obj).get("automaticOSUpgradePolicy") or {}


def _rolling(obj: Json, upgrade_type: str) -> Json:
    """The rolling policy that counts; the defaults for an OS upgrade that doesn't use the set's."""
    if upgrade_type == "OSImage" and not _os_policy(obj).get("useRollingUpgradePolicy"):
        return {}
    return _policy(obj).get("rollingUpgradePolicy") or {}


# -- of a GalleryImage -------------------------------------------------------------------------------------------------


def objection(image: Json, version: str, region: str, at: datetime) -> str:
    """Why an upgrade must not go to the version as this GalleryImage stands; empty when it may (I8)."""
    if not image:
        return "its image is deleted"
    spec = image["spec"]
    published = next((v for v in _published(image) if v["version"] == version), None)
    if published is None:
        return "it is not published"
    if published.get("excludeFromLatest"):
        return "it is excluded from latest"
    since = moment(published.get("publishedDate"))
    if since is not None and since > at + LAG:
        return f"it is published only at {since}"
    regions = published.get("targetRegions")
    if spec.get("source") != "Platform" and regions and region not in regions:
        return f"it is not for {region}"
    seen = next((v for v in (image.get("status") or {}).get("versions") or () if v["version"] == version), {})
    state = next((r.get("state") for r in seen.get("regions") or () if r.get("name") == region), "Available")
    if state != "Available":
        return f"it is {state} in {region}"
    if _is_other(seen.get("image", published.get("image")), published.get("image")):
        return "it came back with another image"
    return ""


def _published(image: Json) -> list[Json]:
    """The versions of the spec, then those that were discovered: the first of a number counts."""
    return [*(image["spec"].get("versions") or ()), *((image.get("status") or {}).get("discovered") or ())]


def _is_other(one: str | None, another: str | None) -> bool:
    """Whether two references can't be one image: another name, or another digest."""
    name, _, digest = (one or "").partition("@")
    other_name, _, other_digest = (another or "").partition("@")
    if digest and other_digest:
        return digest != other_digest
    return name != other_name


def version_words(image: Json) -> list[str]:
    """The versions in words, one each."""
    if not image:
        return ["deleted"]
    versions = _published(image)
    return [f"{v['version']}{' excluded' if v.get('excludeFromLatest') else ''}" for v in versions]
