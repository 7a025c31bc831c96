"""The versions of image SKUs, as they stand in each location (O10, O18, O23). The engine says which is the latest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scalesets.cli.fields import Obj, at, image_reference, name_of, number, text
from scalesets.engine import ordinals, versions
from scalesets.engine.view import CatalogueVersion
from scalesets.kube import catalogues, references


@dataclass(frozen=True, slots=True)
class ImageVersionView:
    """One version in one location. ``instances`` counts those of the namespace's sets that run it, by set."""

    version: str
    location: str
    state: str  # Available | Replicating | Pending | NotReplicated | Removed | Changed
    published: datetime | None
    latest: bool
    excluded_from_latest: bool
    end_of_life: datetime | None
    instances: dict[str, int]


@dataclass(frozen=True, slots=True)
class ImageView:
    """One image SKU with its versions, the newest first."""

    name: str
    namespace: str
    product: str
    source: str
    os_type: str
    versions: tuple[ImageVersionView, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images and locations the user asked for; an empty one is any."""

    location: str = ""
    publisher: str = ""
    offer: str = ""
    sku: str = ""

    def fits(self, image: Obj) -> bool:
        """Whether the image is asked for."""
        asked = {"publisher": self.publisher, "offer": self.offer, "sku": self.sku}
        return all(not wanted or text(image, f"spec.{part}") == wanted for part, wanted in asked.items())


def read(
    images: Sequence[Obj], sets: Sequence[Obj], wanted: Wanted, *, catalog_namespace: str, now: datetime
) -> tuple[ImageView, ...]:
    """The images asked for. ``sets`` are those of the namespace: where they are, versions matter."""
    users = _users(images, sets, catalog_namespace)
    return tuple(_image(i, users.get(text(i, "metadata.uid"), []), wanted, now) for i in images if wanted.fits(i))


def image_of_set(images: Sequence[Obj], scale_set: Obj, catalog_namespace: str) -> Obj | None:
    """The GalleryImage that a set's imageReference means."""
    key = references.image_key(at(scale_set, "spec.imageReference", {}))
    return references.find_image(key, images, catalog_namespace)


def _users(images: Sequence[Obj], sets: Sequence[Obj], catalog_namespace: str) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = {}
    for scale_set in sets:
        image = image_of_set(images, scale_set, catalog_namespace)
        if image is not None:
            found.setdefault(text(image, "metadata.uid"), []).append(scale_set)
    return found


def _image(image: Obj, users: list[Obj], wanted: Wanted, now: datetime) -> ImageView:
    locations = [wanted.location] if wanted.location else _locations(image, users)
    spec = at(image, "spec", {})
    rows = [row for location in locations for row in _in_location(image, users, location, now)]
    rows.sort(key=lambda row: versions.parse(row.version), reverse=True)  # stable: locations keep their order
    return ImageView(
        name=name_of(image),
        namespace=text(image, "metadata.namespace"),
        product=image_reference(spec) or name_of(image),
        source=text(spec, "source"),
        os_type=text(spec, "osType"),
        versions=tuple(rows),
    )


def _locations(image: Obj, users: list[Obj]) -> list[str]:
    """Where the image is known to be, and where the sets are that use it; nowhere named counts as one place."""
    seen = {text(r, "name") for v in at(image, "status.versions", []) for r in at(v, "regions", [])}
    seen |= {text(s, "status.location", text(s, "spec.location")) for s in users}
    return sorted(seen - {""}) or [""]


def _in_location(image: Obj, users: list[Obj], location: str, now: datetime) -> list[ImageVersionView]:
    catalogue = catalogues.for_set(image, location)
    newest = versions.latest(catalogue, now)
    here = [s for s in users if text(s, "status.location", text(s, "spec.location")) == location]
    return [
        ImageVersionView(
            version=version.version,
            location=location,
            state=state_in(image, version, location, now),
            published=None if version.removed else version.published,
            latest=newest is not None and version.version == newest.version,
            excluded_from_latest=version.excluded,
            end_of_life=version.end_of_life,
            instances=_running(here, version.version),
        )
        for version in catalogue.versions
    ]


def state_in(image: Obj, version: CatalogueVersion, location: str, now: datetime) -> str:
    """How a version of an image or extension stands in a location, in a word."""
    if version.removed:
        return "Removed"
    if version.changed:
        return "Changed"
    if version.published > now:
        return "Pending"
    if version.available_since is None or version.available_since > now:
        return _told(image, version.version, location) or "NotReplicated"
    return "Available"


def _told(image: Obj, version: str, location: str) -> str:
    seen: Obj = next((v for v in at(image, "status.versions", []) if text(v, "version") == version), {})
    return next((text(r, "state") for r in at(seen, "regions", []) if text(r, "name") == location), "")


def _running(sets: list[Obj], version: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for scale_set in sets:
        replicas = number(scale_set, "spec.replicas", 1)
        for group in at(scale_set, "status.instances", []):
            if text(group, "imageVersion") == version:
                counts[name_of(scale_set)] += sum(o < replicas for o in _ordinals(group))
    return {name: count for name, count in counts.items() if count}


def _ordinals(group: Obj) -> frozenset[int]:
    try:
        return ordinals.parse(text(group, "ordinals"))
    except ValueError:
        return frozenset()
