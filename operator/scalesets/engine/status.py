"""ScaleSet.status as it should read now: the record, the counts and the conditions (docs/api.md, "ScaleSet").

The conditions follow kstatus: Ready, Reconciling and Stalled; Progressing says in words what the set does or waits
for. No message carries a counter that moves by itself, so a quiet cluster writes nothing (I9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from scalesets.engine import conditions, versions
from scalesets.engine.census import Census
from scalesets.engine.start import Start
from scalesets.engine.view import (
    Condition,
    Instance,
    Release,
    SetStatus,
    SetView,
    Upgrade,
    UpgradeType,
)


def bookkeeping(view: SetView, now: datetime) -> SetStatus:
    """What the set remembers about itself, before anything is decided: generation, model, opt-in times, location."""
    stored = view.status
    enabled = view.os_policy.enabled
    enabled_time = (stored.enabled_time or now) if enabled else None
    return replace(
        stored,
        observed_generation=view.generation,
        location=view.location,
        zones_backed=stored.zones_backed if stored.zones_backed is not None else view.zones_backed,
        current_model=view.model.name if view.model else stored.current_model,
        enabled_time=enabled_time,
        first_enabled_time=stored.first_enabled_time or enabled_time,
    )


def record(
    view: SetView,
    census: Census,
    *,
    members: Collection[int],
    judged: Mapping[int, Release],
    intents: Mapping[int, Release],
) -> dict[int, Release]:
    """What each instance runs or comes back as.

    ``members`` of the running batch keep their entry until its verdict, which comes as ``judged``; ``intents`` are
    what mode Automatic is about to replace. A new instance enters the record when it counts (census.py).
    """
    stored = view.status.record
    out: dict[int, Release] = {}
    for ordinal in range(view.replicas):
        known = stored.get(ordinal)
        instance = view.instances.get(ordinal)
        entry: Release | None
        if ordinal in judged:
            entry = judged[ordinal]
        elif ordinal in intents:
            entry = intents[ordinal]
        elif ordinal in members or instance is None or not instance.live:
            entry = known
        else:
            entry = instance.release if known is not None or ordinal in census.counted else None
        if entry is not None:
            out[ordinal] = entry
    return out


def compute(
    view: SetView,
    base: SetStatus,
    census: Census,
    upgrade: Upgrade | None,
    start: Start,
    unresolved: Collection[int],
    now: datetime,
) -> SetStatus:
    """``base`` with counts and conditions as of now; ``upgrade`` is the one at work, if any."""
    version = _image_version(view, base, upgrade)
    model = base.current_model
    pods = [(o, i) for o, i in view.instances.items() if o < view.replicas]
    counted = replace(
        base,
        replicas=len(view.instances),
        ready_replicas=len(census.healthy),
        upgraded_replicas=sum(1 for _, i in pods if i.release.image_version == version),
        latest_model_replicas=sum(1 for _, i in pods if i.release.model == model),
        image_version=version,
        extensions=_extensions(view, pods),
    )
    found = conditions.describe(view, counted, census, upgrade, start, unresolved, now)
    return replace(counted, conditions=tuple(_dated(c, view.status, now) for c in found))


def is_urgent(before: SetStatus, after: SetStatus) -> bool:
    """Whether more changed than what may wait a moment: counts, new instances' entries in the record, words of progress."""
    known = {o: r for o, r in after.record.items() if o in before.record}
    return _lasting(before) != replace(_lasting(after), record=known)


def _lasting(status: SetStatus) -> SetStatus:
    words = tuple(
        replace(c, reason="", message="", since=None) if c.type == "Progressing" and c.status else c
        for c in status.conditions
    )
    return replace(status, replicas=0, ready_replicas=0, upgraded_replicas=0, latest_model_replicas=0, conditions=words)


def _image_version(view: SetView, base: SetStatus, upgrade: Upgrade | None) -> str:
    if (
        upgrade is not None
        and upgrade.type is UpgradeType.OS_IMAGE
        and upgrade.status is not None
        and not upgrade.finished
    ):
        return upgrade.status.target.image_version
    counts = Counter(r.image_version for r in base.record.values())
    if not counts:
        return base.image_version
    return max(counts, key=lambda v: (counts[v], versions.parse(v)))


def _extensions(view: SetView, pods: list[tuple[int, Instance]]) -> tuple[tuple[str, str, str], ...]:
    if view.model is None:
        return ()
    installed: dict[str, str] = {}
    for _, instance in pods:
        for name, version in instance.release.extensions:
            if name not in installed or versions.is_newer(version, installed[name]):
                installed[name] = version
    return tuple(
        (e.name, installed.get(e.name, ""), "Enabled" if e.enable_automatic_upgrade else "Disabled")
        for e in view.model.extensions
    )


def _dated(condition: Condition, before: SetStatus, now: datetime) -> Condition:
    old = next((c for c in before.conditions if c.type == condition.type), None)
    since = old.since if old is not None and old.status == condition.status and old.since else now
    return replace(condition, since=since)
