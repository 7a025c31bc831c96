"""GalleryImage: the image that OS disks are made from, and its published versions (O4, O10, O18).

A set finds it by publisher, offer and SKU, or by name (`imageReference.galleryImage`); in its own namespace first,
then in the operator's catalog namespace. Two objects for one publisher, offer and SKU: the oldest wins, the other
gets a condition.
"""

from enum import StrEnum

from scalesets.api.common import ProductName, PullSecrets
from scalesets.api.discovery import DiscoverySpec
from scalesets.api.schema import AGE, REASON, Column, Kind, Model, Resource, Rule
from scalesets.api.versions import CatalogueStatus, OSType, PublishedVersions


class ImageSource(StrEnum):
    """How versions come to a region: by the platform's phases, or by replication."""

    PLATFORM = "Platform"
    GALLERY = "Gallery"


class GalleryImageSpec(Model):
    """An image and its versions."""

    rules = (
        Rule(
            rule="has(self.publisher) == has(self.offer) && has(self.publisher) == has(self.sku)",
            message="publisher, offer and sku belong together: give all three or none",
            field=".publisher",
            reason="FieldValueRequired",
        ),
        Rule(
            rule="self.source != 'Platform' || has(self.publisher)",
            message="publisher, offer and sku are required with source Platform: add them",
            field=".publisher",
            reason="FieldValueRequired",
        ),
    )

    source: ImageSource
    """Platform: a publisher's image, which reaches regions by phases and counts only in the catalog namespace.
    Gallery: yours, by replication."""
    publisher: ProductName | None = None
    """Who publishes it."""
    offer: ProductName | None = None
    """A group of related images of the publisher."""
    sku: ProductName | None = None
    """One of the offer, such as a major release."""
    os_type: OSType = OSType.LINUX
    """The operating system: Linux or Windows."""
    image_pull_secrets: PullSecrets = ()
    """Secrets to pull the images with, in the namespace of the set."""
    versions: PublishedVersions = ()
    """The published versions; each is named Major.Minor.Patch."""
    discovery: DiscoverySpec | None = None
    """Finds further versions as tags of a repository; they are listed in `status.discovered`."""


class GalleryImage(Resource):
    """An OS image and its published versions. A new version here is what sets upgrade to."""

    kind_info = Kind(
        name="GalleryImage",
        plural="galleryimages",
        short_names=("gimg",),
        columns=(
            Column("Source", ".spec.source"),
            Column("Publisher", ".spec.publisher"),
            Column("Offer", ".spec.offer"),
            Column("SKU", ".spec.sku"),
            Column("Latest", ".status.latest[0].version"),
            Column("OS", ".spec.osType", wide=True),
            REASON,
            AGE,
        ),
    )

    spec: GalleryImageSpec
    """The image and its versions."""
    status: CatalogueStatus = CatalogueStatus()
    """What the operator saw of them."""
