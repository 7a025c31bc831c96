"""What a model refers to, as a key and as an object: ``publisher/offer/sku`` or a gallery image's name,
``publisher/type`` (docs/api.md).

A set finds images and extensions in its own namespace, then in the catalog namespace; images with ``source: Platform``
count only there. Of two for one publisher, offer and SKU (or publisher and type) the oldest wins.
"""

from __future__ import annotations

from collections.abc import Iterable

from scalesets.kube.names import PLATFORM, Raw

PRODUCT = ("publisher", "offer", "sku")


def image_key(reference: Raw) -> str:
    """What an image reference points at, without its version: ``publisher/offer/sku``, or the gallery image's name."""
    if gallery := reference.get("galleryImage"):
        return str(gallery)
    parts = [reference.get(part) or "" for part in PRODUCT]
    return "/".join(parts) if any(parts) else ""


def image_reference(key: str, version: str) -> dict[str, str]:
    """The inverse of ``image_key``, with a version."""
    parts = key.split("/")
    named = {"galleryImage": key} if len(parts) == 1 and key else dict(zip(PRODUCT, parts if key else (), strict=False))
    return {**named, "version": version}


def extension_key(extension: Raw) -> str:
    """What an extension of a set points at: ``publisher/type``."""
    return f"{extension['publisher']}/{extension['type']}"


def find_image(key: str, images: Iterable[Raw], catalog_namespace: str) -> Raw | None:
    """The GalleryImage of an image key. ``images``: the set's namespace's, then the catalog's, each oldest first."""
    by_name = "/" not in key
    for image in images:
        if not counts(image, catalog_namespace):
            continue
        if (image["metadata"]["name"] == key) if by_name else (product(image) == key):
            return image
    return None


def find_extension(key: str, extensions: Iterable[Raw]) -> Raw | None:
    """The Extension of ``publisher/type``, in the same order."""
    return next((e for e in extensions if product(e) == key), None)


def product(obj: Raw) -> str:
    """``publisher/offer/sku`` of an image (empty when it only has a name), ``publisher/type`` of an extension."""
    spec = obj["spec"]
    parts = ("publisher", "type") if "type" in spec else PRODUCT
    found = [spec.get(part) or "" for part in parts]
    return "/".join(found) if all(found) else ""


def counts(image: Raw, catalog_namespace: str) -> bool:
    """Whether sets may use an image: one of the platform's only from the catalog namespace."""
    return bool(image["spec"].get("source") != PLATFORM or image["metadata"]["namespace"] == catalog_namespace)
