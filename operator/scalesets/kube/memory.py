"""What the operator remembers of one set between decisions, besides what is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scalesets.kube.troubles import Troubles


@dataclass(slots=True)
class Memory:
    """What this process remembers of one set, by its UID; all of it can be lost without harm."""

    troubles: Troubles = field(default_factory=Troubles)
    within_limit_since: datetime | None = None
    zones_backed: bool | None = None
    groundwork_generation: int = -1  # the generation for which groundwork.py tried last
    templates: dict[Any, Any] = field(default_factory=dict)
    claims_generation: int = -1  # the generation for which claims were looked over for expansion
    claims_tried: int = -1  # the one for which that was tried last
    awaited: set[int] = field(default_factory=set)  # members of the running batch that were not Ready when last decided
    not_ready: set[int] = field(default_factory=set)  # the same, kept from decision to decision (for metrics.py)
    retries: dict[int, tuple[int, datetime]] = field(default_factory=dict)  # ordinal -> failures in a row, not before
    batch_since: float | None = None  # when the event came that let the next batch begin (for stats.py)
    looked_at: float = float("-inf")  # when what its model names was looked at for instances that don't come up
    told_at: float = float("-inf")  # when the set's status was written last
