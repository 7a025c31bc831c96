"""What the caches know of one scale set at one moment: the raw material of the engine's view.

Everything in it is a reference into the caches, so that a decision over thousands of instances copies nothing. It is
read between two awaits and never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scalesets.engine.view import Instance, Trouble
from scalesets.kube.claims import Claim
from scalesets.kube.names import Raw

Key = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One scale set and all that bears on it."""

    scale_set: Raw
    instances: Mapping[int, Instance] = field(default_factory=dict)  # controlled by this set's UID
    claims: Mapping[int, Mapping[str, Claim]] = field(default_factory=dict)  # ordinal -> template -> claim
    revisions: Mapping[str, Raw] = field(default_factory=dict)  # model -> ControllerRevision controlled by this set
    upgrades: tuple[Raw, ...] = ()  # RollingUpgrades that name this set
    images: tuple[Raw, ...] = ()  # GalleryImages: the namespace's, then the catalog's, each oldest first
    extensions: tuple[Raw, ...] = ()  # Extensions, likewise
    catalog_namespace: str = ""  # where images with source Platform count
    troubles: tuple[Trouble, ...] = ()
    circumstances: tuple[Trouble, ...] = ()  # likewise, but nothing that was tried: how a machine's surroundings are
    losses: Mapping[int, tuple[int, datetime]] = field(default_factory=dict)
    fresh_since: datetime | None = None  # since when the pods are watched without a break; None: they are not now
    within_limit_since: datetime | None = None
    zones_backed: bool | None = None  # what the nodes' labels say; None when nobody needs to know
    places: Mapping[str, int] = field(default_factory=dict)  # of an availability set: its machines
    update_domain: int | None = None  # of a machine in an availability set
    group: Seen | None = None  # that availability set, while it upgrades
