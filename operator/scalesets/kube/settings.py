"""How the operator runs: what its flags and the chart's values set (docs/api.md, "Settings of the operator")."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from scalesets.engine.view import Timing

WATCH_PATIENCE = 60.0
"""Seconds for which a watch may be away; then somebody has to be told, and a fresh process may fare better."""


def _identity() -> str:
    return f"{socket.gethostname()}_{os.getpid()}_{os.urandom(4).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings; the defaults suit a first look at it."""

    namespaces: tuple[str, ...] = ()  # the namespaces it serves; empty: all
    catalog_namespace: str = "scaleset-system"  # images and extensions that are shared by all namespaces
    default_location: str = "local"  # of sets that name none
    timing: Timing = field(default_factory=Timing)
    read_secrets: bool = True  # preflight and discovery may GET Secrets; a refusal is said, not an error
    discovery: bool = True  # registries are asked for tags where an image or extension says so
    discovery_registries: tuple[str, ...] = ()  # the registries that may be asked; empty: all but loopback

    leader_election: bool = True
    lease_namespace: str = "scaleset-system"
    lease_name: str = "scaleset-operator"
    identity: str = field(default_factory=_identity)

    watch_patience: float = WATCH_PATIENCE  # seconds for which a watch may be away before the operator ends itself
    concurrency: int = 48  # writes at the same time, over all sets
    liveness_port: int | None = None
    metrics_port: int | None = None
    stats_file: Path | None = None  # where to write the figures of stats.py

    def serving(self, namespaces: Collection[str]) -> Settings:
        """The same, for some of the named namespaces: never for none of them, which would mean all there are."""
        remaining = tuple(each for each in self.namespaces if each in namespaces)
        if self.namespaces and not remaining:
            raise ValueError(f"none of {', '.join(self.namespaces)} is left to serve")
        return replace(self, namespaces=remaining)

    def serves(self, namespace: str) -> bool:
        """Whether scale sets of the namespace are this operator's business."""
        return not self.namespaces or namespace in self.namespaces

    @property
    def watched_namespaces(self) -> tuple[str, ...]:
        """Where our kinds are watched: the served namespaces and the catalog's. Empty: everywhere."""
        return tuple(dict.fromkeys((*self.namespaces, self.catalog_namespace))) if self.namespaces else ()
