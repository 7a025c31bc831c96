"""GalleryImage and Extension: the versions that a set sees, the image of each, and what their status says
(docs/api.md; O10, O18).

The status keeps the image of every version ever seen. What discovery found counts beside the spec's versions, and the
spec's win (``entries``). Of two objects for one product the younger gets the condition
Duplicate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scalesets.engine import catalogue, versions
from scalesets.engine.catalogue import CatalogueStatus, PublishedVersion, RegionState, ReplicationState, SeenVersion
from scalesets.engine.decision import Event
from scalesets.engine.view import Catalogue, Condition, Model, Release
from scalesets.kube import discovered, references, statuses, times
from scalesets.kube.discovered import Finding
from scalesets.kube.memo import Memo
from scalesets.kube.names import OS, PLATFORM, Raw
from scalesets.kube.phrases import first_of
from scalesets.kube.templates import Images

if TYPE_CHECKING:
    from scalesets.kube.seen import Seen
    from scalesets.kube.settings import Settings

CHANGED = "ImageChanged"
MOST_SEEN = 200
MOST_REGIONS = 100
MOST_NAMED = 5
"""So many wrong dates are named in a message."""

_for_location: Memo[Catalogue] = Memo()


def for_set(obj: Raw, location: str) -> Catalogue:
    """The versions as a set in ``location`` sees them."""
    return _for_location.get(obj, location, lambda: _in_location(obj, location))


def image_of(obj: Raw, version: str) -> str:
    """The image of a version as it was first seen, else as it is published now; empty when it is neither."""
    seen: Sequence[Raw] = (obj.get("status") or {}).get("versions") or ()
    for entry in (*seen, *entries(obj)):
        if entry["version"] == version and entry.get("image"):
            return str(entry["image"])
    return ""


def images_of(seen: Seen, model: Model, release: Release) -> Images | str:
    """The images that a release needs; or, in words, which is missing and what to do."""
    image = references.find_image(model.image, seen.images, seen.catalog_namespace)
    if image is None:
        return f"no GalleryImage {model.image} in this namespace or the catalog namespace: create it"
    found = image_of(image, release.image_version)
    if not found:
        return _unknown(image, release.image_version)
    containers = [(OS, found)]
    secrets = list(_pull_secrets(image))
    installed = dict(release.extensions)
    for extension in model.extensions:
        found, problem = extension_image(seen, model, extension.name, installed.get(extension.name, ""))
        if problem:
            return problem
        containers.append((extension.name, found))
        secrets += _pull_secrets(references.find_extension(extension.key, seen.extensions) or {})
    return Images(tuple(containers), tuple(dict.fromkeys(secrets)))


def extension_image(seen: Seen, model: Model | None, name: str, version: str) -> tuple[str, str]:
    """The image of an extension's version, also of one that is published no more; else what is missing, in words."""
    key = next((e.key for e in model.extensions if e.name == name), "") if model is not None else ""
    if not key:
        return "", f"extension {name}: it is not in the model that the instance has"
    obj = references.find_extension(key, seen.extensions)
    if obj is None:
        missing = f"no Extension {key} in this namespace or the catalog namespace: create it"
        return "", f"extension {name}: {missing}"
    found = image_of(obj, version) if version else ""
    return (found, "") if found else ("", f"extension {name}: {_unknown(obj, version)}")


def pull_secrets(seen: Seen, model: Model) -> Iterator[tuple[str, str]]:
    """The Secrets of the set's namespace by which a model's images are pulled, each with the object that names it."""
    image = references.find_image(model.image, seen.images, seen.catalog_namespace)
    extensions = (references.find_extension(e.key, seen.extensions) for e in model.extensions)
    for obj in (image, *extensions):
        if obj is not None:
            where = f"imagePullSecrets of {obj['kind']} {obj['metadata']['name']}"
            yield from ((secret, where) for secret in _pull_secrets(obj))


def entries(obj: Raw) -> list[Raw]:
    """The published versions, as all of the operator sees them: those of the spec, and those that were discovered
    and that the spec doesn't name. Numbers are compared, so 1.02.3 in the spec stands for a discovered 1.2.3.
    """
    named: list[Raw] = list(obj["spec"].get("versions") or ())
    found: Sequence[Raw] = (obj.get("status") or {}).get("discovered") or ()
    if not found:
        return named
    numbers = {versions.parse(v["version"]) for v in named}
    return named + [v for v in found if versions.parse(v["version"]) not in numbers]


def describe(
    obj: Raw,
    peers: Iterable[Raw],
    *,
    locations: Sequence[str],
    settings: Settings,
    now: datetime,
    finding: Finding | None = None,
    in_use: Callable[[], Collection[str]] = frozenset,
) -> tuple[dict[str, Any] | None, datetime | None]:
    """The status that an image or extension should have now (None: the one it has), and when to look again.

    ``peers`` are the objects of its kind in its namespace; ``finding`` is what its discovery found, if it has any;
    ``in_use`` says which versions instances are on, of whatever image or extension.
    """
    before = obj.get("status") or {}
    generation = obj["metadata"].get("generation") or 0
    found, discovery = discovered.merge(obj, finding, now)
    obj = {**obj, "status": {**before, "discovered": found}}
    result = catalogue.reconcile(published_versions(obj), _seen_versions(before), [n for n in locations if n], now)
    conditions = list(_conditions(obj, peers, result, settings.catalog_namespace, discovery))
    status = {
        "observedGeneration": generation,
        "versions": [_write_seen(s) for s in _kept(obj, result, in_use)],
        **({"discovered": found} if found else {}),
        "latest": [{"region": region, "version": version} for region, version in result.latest[:MOST_REGIONS]],
        "conditions": statuses.write_conditions(conditions, before, now, generation),
    }
    return (None if statuses.same(before, status) else status), result.look_again


def events(before: Raw, after: Raw) -> Iterator[Event]:
    """What there is to tell of an image or extension whose status was written."""
    yield from discovered.events(before, after)
    was, is_now = _condition(before, CHANGED), _condition(after, CHANGED)
    if is_now and is_now != was:
        yield Event(CHANGED, is_now, warning=True)


def published_versions(obj: Raw) -> list[PublishedVersion]:
    """The versions with what they say. Those of a platform image go everywhere, whatever they name as regions."""
    replicated = obj["spec"].get("source") != PLATFORM
    return [_published(v, replicated=replicated) for v in entries(obj)]


def _published(version: Raw, *, replicated: bool) -> PublishedVersion:
    """One version. With a date that can't be used it is as one that is excluded: never the latest."""
    try:
        published, end = times.read_given(version.get("publishedDate")), times.read_given(version.get("endOfLifeDate"))
        usable = True
    except ValueError:
        published, end, usable = None, None, False
    return PublishedVersion(
        version=version["version"],
        image=version["image"],
        published_date=published,
        excluded=bool(version.get("excludeFromLatest")) or not usable,
        end_of_life=end,
        target_regions=tuple(version["targetRegions"]) if replicated and version.get("targetRegions") else None,
    )


def _wrong_dates(obj: Raw) -> str:
    """Which versions have a date that can't be used, in words; empty when none has."""
    wrong = []
    for version in obj["spec"].get("versions") or ():
        for field in ("publishedDate", "endOfLifeDate"):
            try:
                times.read_given(version.get(field))
            except ValueError as error:
                wrong.append(f"{version['version']} ({field} {error})")
    if not wrong:
        return ""
    return f"not used: {first_of(wrong, MOST_NAMED)}; mend the date, or leave it out"


def _in_location(obj: Raw, location: str) -> Catalogue:
    seen = _seen_versions(obj.get("status") or {})
    platform = obj["spec"].get("source") == PLATFORM
    found = catalogue.for_location(obj["metadata"]["name"], published_versions(obj), seen, location, platform=platform)
    return replace(
        found,
        supports_automatic_upgrade=bool(obj["spec"].get("supportsAutomaticUpgrade")),
        os_type=obj["spec"].get("osType") or "",
    )


def _seen_versions(status: Raw) -> list[SeenVersion]:
    return [
        SeenVersion(
            version=v["version"],
            image=v.get("image") or "",
            first_seen=times.parse(v["firstSeenTime"]),
            regions=tuple(
                RegionState(r["name"], ReplicationState(r["state"]), times.parse(r["since"]))
                for r in v.get("regions") or ()
                if r.get("since")
            ),
        )
        for v in status.get("versions") or ()
        if v.get("firstSeenTime")
    ]


def _kept(obj: Raw, result: CatalogueStatus, in_use: Callable[[], Collection[str]]) -> list[SeenVersion]:
    """Newest first; when there is no room for all, removed ones go, oldest first, and those that instances are on
    last: an instance that is lost comes back on its own version, whose image stands nowhere else.
    """
    newest_first = sorted(result.seen, key=lambda s: versions.parse(s.version), reverse=True)
    excess = len(newest_first) - MOST_SEEN
    if excess <= 0:
        return newest_first
    published = {v["version"] for v in entries(obj)}
    used = in_use()
    removed = [s for s in newest_first if s.version not in published]
    removed.sort(key=lambda s: s.version in used, reverse=True)
    dropped = {s.version for s in removed[-excess:]}
    return [s for s in newest_first if s.version not in dropped]


def _write_seen(seen: SeenVersion) -> dict[str, Any]:
    written: dict[str, Any] = {
        "version": seen.version,
        "image": seen.image,
        "firstSeenTime": times.render(seen.first_seen),
    }
    if seen.regions:
        written["regions"] = [
            {"name": r.name, "state": r.state.value, "since": times.render(r.since)}
            for r in seen.regions[:MOST_REGIONS]
        ]
    return written


def _conditions(
    obj: Raw,
    peers: Iterable[Raw],
    result: CatalogueStatus,
    catalog_namespace: str,
    discovery: Condition | None,
) -> Iterable[Condition]:
    stalled = ("", "")
    empty = not entries(obj)
    waiting = discovery if discovery is not None and discovered.may_come(discovery) and empty else None
    twin, wrong = _elder_twin(obj, peers), _wrong_dates(obj)
    if not references.counts(obj, catalog_namespace):
        stalled = (
            "NotInCatalog",
            f"source Platform counts only in the namespace {catalog_namespace}: create it there, or use source Gallery",
        )
    elif twin is not None:
        stalled = (
            "Duplicate",
            f"{twin['metadata']['name']} is the same {references.product(obj)} and older: delete one of the two",
        )
    elif result.changed:
        stalled = (
            CHANGED,
            f"{', '.join(result.changed)} came back with another image and is not used: publish it under a new version",
        )
    elif wrong:
        stalled = ("InvalidDate", wrong)
    elif discovery is not None and discovery.reason in discovered.MUST_CHANGE:
        stalled = (discovery.reason, discovery.message)
        waiting = None
    reason, message = stalled
    if reason:
        words = stalled
    elif waiting is not None:
        words = (waiting.reason, waiting.message)
    else:
        words = ("NoVersions", "no version is published yet") if empty else ("Recorded", "all versions are recorded")
    yield Condition("Ready", not reason and waiting is None, *words)
    busy = waiting is not None and not reason
    yield Condition("Reconciling", busy, *(words if busy else ("Recorded",)))
    yield Condition("Stalled", bool(reason), reason or "Recorded", message)
    if discovery is not None:
        yield discovery
    if result.changed:
        changed = ", ".join(result.changed)
        yield Condition(CHANGED, True, CHANGED, f"not used: {changed}; publish under a new version")
    if wrong:
        yield Condition("InvalidDate", True, "InvalidDate", wrong)
    if twin is not None:
        yield Condition("Duplicate", True, "Duplicate", f"not used: {twin['metadata']['name']} is older")


def _condition(obj: Raw, kind: str) -> str:
    """The words of a condition that is True; empty when it isn't."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((str(c.get("message")) for c in found if c["type"] == kind and c["status"] == "True"), "")


def _elder_twin(obj: Raw, peers: Iterable[Raw]) -> Raw | None:
    mine = references.product(obj)
    if not mine:
        return None
    twins = [p for p in peers if p["metadata"]["uid"] != obj["metadata"]["uid"] and references.product(p) == mine]
    oldest = min([obj, *twins], key=lambda o: (o["metadata"]["creationTimestamp"], o["metadata"]["name"]))
    return oldest if oldest is not obj else None


def _pull_secrets(obj: Raw) -> tuple[str, ...]:
    return tuple(s["name"] for s in (obj.get("spec") or {}).get("imagePullSecrets") or () if s.get("name"))


def _unknown(obj: Raw, version: str) -> str:
    name = obj["metadata"]["name"]
    return f"{name} has no version {version or 'to install'}: publish it, or name another version"
