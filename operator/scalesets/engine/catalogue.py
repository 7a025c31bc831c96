"""The life of a published version: Pending until its date, then Available in its regions; immutable once seen (O10,
O18).

The same rules serve images and extensions. What was seen stays in status, with its image, so that an instance on a
version that was removed from spec can still come back, and a version that returns with another image is recognised
and not used.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from scalesets.engine import images, versions
from scalesets.engine.view import Catalogue, CatalogueVersion


class ReplicationState(Enum):
    """How far a version is in one region."""

    PENDING = "Pending"
    REPLICATING = "Replicating"
    AVAILABLE = "Available"


@dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A version as its publisher wrote it into spec. ``target_regions`` None means everywhere."""

    version: str
    image: str
    published_date: datetime | None = None
    excluded: bool = False
    end_of_life: datetime | None = None
    target_regions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RegionState:
    """A version's state in one region, since when."""

    name: str
    state: ReplicationState
    since: datetime


@dataclass(frozen=True, slots=True)
class SeenVersion:
    """A version as status remembers it."""

    version: str
    image: str
    first_seen: datetime
    regions: tuple[RegionState, ...] = ()


@dataclass(frozen=True, slots=True)
class CatalogueStatus:
    """What a GalleryImage's or Extension's status says next."""

    seen: tuple[SeenVersion, ...]
    latest: tuple[tuple[str, str], ...]  # region, version
    changed: tuple[str, ...]  # versions that came back with another image
    look_again: datetime | None


def reconcile(
    published: Sequence[PublishedVersion], seen: Sequence[SeenVersion], locations: Collection[str], now: datetime
) -> CatalogueStatus:
    """Bring what was seen up to what is published. ``locations`` are the regions that matter: those where sets live."""
    before = {s.version: s for s in seen}
    spec = {p.version: p for p in published}
    after: list[SeenVersion] = []
    for version in sorted(before.keys() | spec.keys(), key=versions.parse):
        old = before.get(version)
        new = spec.get(version)
        if new is None:
            assert old is not None
            after.append(old)
        elif old is None:
            after.append(SeenVersion(version, new.image, now, _regions(new, (), now, locations, now)))
        else:
            regions = _regions(new, old.regions, old.first_seen, locations, now)
            after.append(SeenVersion(version, old.image, old.first_seen, regions))
    changed = tuple(v for v, p in spec.items() if v in before and not images.are_same(before[v].image, p.image))
    names = sorted({r.name for s in after for r in s.regions} | set(locations))
    newest = ((name, versions.latest(for_location("", published, after, name), now)) for name in names)
    times = [t for p in published for t in (p.published_date, p.end_of_life) if t is not None and t > now]
    return CatalogueStatus(
        seen=tuple(after),
        latest=tuple((name, v.version) for name, v in newest if v is not None),
        changed=changed,
        look_again=min(times, default=None),
    )


def for_location(
    name: str,
    published: Sequence[PublishedVersion],
    seen: Sequence[SeenVersion],
    location: str,
    *,
    platform: bool = False,
) -> Catalogue:
    """The catalogue as a set in ``location`` sees it. A version that status hasn't recorded yet isn't there yet."""
    spec = {p.version: p for p in published}
    return Catalogue(name, tuple(_in_location(s, spec.get(s.version), location) for s in seen), platform)


def _in_location(seen: SeenVersion, published: PublishedVersion | None, location: str) -> CatalogueVersion:
    if published is None:
        return CatalogueVersion(seen.version, seen.first_seen, None, removed=True)
    state = next((r for r in seen.regions if r.name == location), None)
    targeted = published.target_regions is None or location in published.target_regions
    start = published.published_date or seen.first_seen
    if state is not None:
        since = state.since if targeted and state.state is ReplicationState.AVAILABLE else None
    else:  # a location that the catalogue hasn't heard of yet: everywhere means there too
        since = start if published.target_regions is None else None
    return CatalogueVersion(
        seen.version,
        published=start,
        available_since=since,
        excluded=published.excluded,
        end_of_life=published.end_of_life,
        changed=not images.are_same(published.image, seen.image),
    )


def _regions(
    published: PublishedVersion,
    before: Sequence[RegionState],
    first_seen: datetime,
    locations: Collection[str],
    now: datetime,
) -> tuple[RegionState, ...]:
    """Where the version is to be, and how far it is there. A region that is named later has it from then on."""
    old = {r.name: r for r in before}
    named = published.target_regions
    start = published.published_date or first_seen
    state = ReplicationState.AVAILABLE if start <= now else ReplicationState.PENDING
    out = []
    for name in sorted(named if named is not None else {*locations, *old}):
        was = old.get(name)
        if was is not None and was.state is state:
            out.append(was)
        else:
            added = named is not None and was is None
            out.append(RegionState(name, state, max(start, now if added else first_seen)))
    return tuple(out)
