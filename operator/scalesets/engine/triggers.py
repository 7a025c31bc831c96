"""When the platform starts a version by itself after it was published (O19)."""

from __future__ import annotations

import hashlib
from datetime import datetime

from scalesets.engine.view import SetView


def share(view: SetView, what: str) -> float:
    """A jitter from 0 to 1, from a hash of set and version: every operator computes the same."""
    return int.from_bytes(hashlib.sha256(f"{view.uid}/{what}".encode()).digest()[:4], "big") / 2**32


def after_publishing(view: SetView, what: str, available_since: datetime) -> datetime:
    """The trigger delay after a version became available here."""
    timing = view.timing
    return (
        available_since
        + timing.trigger_delay_min
        + (timing.trigger_delay_max - timing.trigger_delay_min) * share(view, what)
    )
