"""The upgrades of a set, the newest first: what was tried, by whom, to where, and how it ended (O22)."""

from __future__ import annotations

from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import upgrades
from scalesets.cli.views.upgrades import UpgradeView


def read(snapshot: Snapshot) -> tuple[UpgradeView, ...]:
    """All upgrades that are kept: the operator keeps five of each type for two months."""
    return tuple(upgrades.read(u) for u in reversed(snapshot.upgrades))
