"""What a GalleryImage and an Extension have in common: published versions, and where each is available.

A version once published doesn't change (its image is immutable); it can be excluded from latest, or removed. The
status keeps the image of every version seen, so an instance on a removed version can come back, and a version that
returns with another image is noticed.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from scalesets.api.common import Conditions, ContainerImage, Location, Time, VersionNumber, Word
from scalesets.api.discovery import MOST_DISCOVERED, DiscoveredVersion
from scalesets.api.schema import SET, Model, Rule, map_list, ruled


class OSType(StrEnum):
    """The operating system that an image holds, or that an extension is for."""

    LINUX = "Linux"
    WINDOWS = "Windows"


class PublishedVersion(Model):
    """One published version."""

    rules = (
        Rule(
            rule="self.image == oldSelf.image",
            message="image of a published version is immutable: publish another version, or set excludeFromLatest",
            field=".image",
            reason="FieldValueForbidden",
        ),
    )

    version: VersionNumber
    """Major.Minor.Patch, compared as numbers."""
    image: ContainerImage
    """The container image of this version. Immutable."""
    published_date: Time | None = None
    """Not to be used before; default: when the operator first saw the version."""
    exclude_from_latest: bool = False
    """Keeps the version from being the latest, so it is never rolled out automatically."""
    end_of_life_date: Time | None = None
    """From then on the version is never chosen as the latest. Nothing is forced off it."""
    target_regions: Annotated[tuple[Location, ...], Field(max_length=100), SET] = ()
    """Regions to replicate to; omitted: everywhere. Platform versions ignore it: they go everywhere, by phase."""


# The numbers of all versions are made once, in a list of one list, since CEL here has no variables.
DISTINCT_VERSIONS = Rule(
    rule="!self.all(v, v.version.matches(r'^[0-9]+[.][0-9]+[.][0-9]+$')) || "
    "[self.map(v, v.version.split('.').map(n, int(n)))].all(all, all.all(v, all.exists_one(w, w == v)))",
    message="versions are compared as numbers, so 1.02.3 and 1.2.3 are equal and only one may stand here: remove one",
)

PublishedVersions = Annotated[
    tuple[PublishedVersion, ...], Field(max_length=50), map_list("version"), ruled(DISTINCT_VERSIONS)
]


class RegionState(StrEnum):
    """How far a version has come in a region."""

    PENDING = "Pending"
    REPLICATING = "Replicating"
    AVAILABLE = "Available"


class RegionStatus(Model):
    """How far one version has come in one region."""

    name: Word
    """The region."""
    state: RegionState
    """Pending, Replicating or Available."""
    since: Time | None = None
    """When it came into this state."""


class VersionStatus(Model):
    """One version that was seen, whether it still stands in the spec or not."""

    version: Word
    """The version."""
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """The image that it was first seen with."""
    first_seen_time: Time | None = None
    """When the operator first saw it."""
    regions: Annotated[tuple[RegionStatus, ...], Field(max_length=100)] = ()
    """How far it has come, by region."""


class LatestVersion(Model):
    """The latest version in one region."""

    region: Word
    """The region."""
    version: Word
    """The version that sets with `latest` go to there."""


class CatalogueStatus(Model):
    """What the operator saw of the published versions."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that this status was made from."""
    versions: Annotated[tuple[VersionStatus, ...], Field(max_length=200)] = ()
    """Every version seen, newest first; removed ones stay while there is room."""
    discovered: Annotated[tuple[DiscoveredVersion, ...], Field(max_length=MOST_DISCOVERED)] = ()
    """Versions that were found in the registry, newest first. One of the same number in the spec wins."""
    latest: Annotated[tuple[LatestVersion, ...], Field(max_length=100)] = ()
    """The latest version by region."""
    conditions: Conditions = ()
    """Ready, Reconciling, Stalled; Discovered with discovery; ImageChanged when a version came back with another
    image."""
