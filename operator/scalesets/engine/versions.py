"""Versions and which of them may be used: latest per location, excluded, not yet published, end of life (O1, O10,
O18, E8).

Versions are ``Major.Minor.Patch``, compared as numbers; leading zeros don't count.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

from scalesets.engine.view import Catalogue, CatalogueVersion, ModelExtension


@lru_cache(maxsize=8192)
def parse(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparing. Text that is no version sorts before every version."""
    parts = version.split(".")
    return tuple(int(p) for p in parts) if all(p.isdecimal() for p in parts) else ()


def is_newer(version: str, than: str) -> bool:
    """Whether ``version`` comes after ``than``."""
    return parse(version) > parse(than)


def is_withdrawn(version: CatalogueVersion | None, now: datetime) -> bool:
    """Excluded, removed, changed, not published or not available here: no batch may go to it (I8).

    The end of life is not in it: a version past it is never chosen, and nobody is forced off it.
    """
    return (
        version is None
        or version.removed
        or version.changed
        or version.excluded
        or version.published > now
        or version.available_since is None
        or version.available_since > now
    )


def is_stable(version: CatalogueVersion, now: datetime) -> bool:
    """May be chosen as latest: usable here and not past its end of life."""
    return not is_withdrawn(version, now) and (version.end_of_life is None or version.end_of_life > now)


def latest(catalogue: Catalogue | None, now: datetime, *, avoid: Collection[str] = ()) -> CatalogueVersion | None:
    """The newest stable version in the set's location, less those to avoid."""
    stable = [v for v in catalogue.versions if v.version not in avoid and is_stable(v, now)] if catalogue else []
    return max(stable, key=lambda v: parse(v.version), default=None)


def next_change(catalogue: Catalogue | None, now: datetime) -> datetime | None:
    """When time alone changes what is latest: a publishing date, an arrival or an end of life."""
    if catalogue is None:
        return None
    times = (t for v in catalogue.versions for t in (v.published, v.available_since, v.end_of_life))
    return min((t for t in times if t is not None and t > now), default=None)


def resolve_extension(extension: ModelExtension, catalogue: Catalogue | None, now: datetime) -> str | None:
    """The version that is installed on a new instance, or None when there is none (E8a).

    ``autoUpgradeMinorVersion``: the newest stable version of the named major that is not below the named one. Otherwise
    ``9.5`` is the newest 9.5.z, ``9`` is 9.0, and ``9.5.1`` is exactly that.
    """
    if catalogue is None:
        return None
    named = parse(extension.type_handler_version)
    if not named:
        return None
    if extension.auto_upgrade_minor_version:
        wanted = [v for v in catalogue.versions if parse(v.version)[:1] == named[:1] and parse(v.version) >= named]
    elif len(named) >= 3:
        exact = [v for v in catalogue.versions if parse(v.version) == named and not v.changed]
        return exact[0].version if exact else None
    else:
        line = ((*named, 0))[:2]
        wanted = [v for v in catalogue.versions if parse(v.version)[:2] == line]
    stable = [v.version for v in wanted if is_stable(v, now)]
    return max(stable, key=parse, default=None)
