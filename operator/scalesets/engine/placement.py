"""Where an instance stands: zone = ordinal mod Z, update domain = (ordinal div Z) mod D (docs/rules.md, "Which
instances").

The placement is a function of the ordinal alone, so it never changes over an instance's life, and instances are
spread evenly over zones and, inside each zone, over update domains.
"""

from __future__ import annotations

from collections.abc import Sequence

Cell = tuple[str, int]
"""A zone ("" in a set without zones) and an update domain: what a batch never leaves (I2)."""


def zone(ordinal: int, zones: Sequence[str]) -> str:
    """The instance's zone; the empty string in a set without zones."""
    return zones[ordinal % len(zones)] if zones else ""


def update_domain(ordinal: int, zones: Sequence[str], domains: int) -> int:
    """The instance's update domain, 0 to ``domains`` - 1."""
    return ordinal // max(1, len(zones)) % domains
