"""Whether two references name one image: a version once published keeps its image (docs/api.md, GalleryImage).

A publisher may name by its tag what was found by tag and digest, or the other way round; that is no other image. Two
digests, two tags without one of the digests, or two repositories are.
"""

from __future__ import annotations

from typing import NamedTuple


class Reference(NamedTuple):
    """The parts of ``repository:tag@digest``; empty ones weren't given."""

    repository: str
    tag: str
    digest: str


def read(image: str) -> Reference:
    """The parts of an image reference. A port of the registry is no tag."""
    named, _, digest = image.partition("@")
    path, slash, last = named.rpartition("/")
    name, _, tag = last.partition(":")
    return Reference(f"{path}{slash}{name}", tag, digest)


def are_same(one: str, other: str) -> bool:
    """Whether both name the same image, as far as they say."""
    if one == other:
        return True
    first, second = read(one), read(other)
    if first.repository != second.repository:
        return False
    if first.digest and second.digest:
        return first.digest == second.digest
    return bool(first.tag) and first.tag == second.tag and bool(first.digest or second.digest)
