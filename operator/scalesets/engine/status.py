"""ScaleSet.status as it should read now: the record, the counts and the conditions (docs/api.md, "ScaleSet").

The conditions follow kstatus: Ready, Reconciling and Stalled; Progressing says in words what the set does or waits
for. No message carries a counter that moves by itself, so a quiet cluster writes nothing (I9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from scalesets.engine import conditions, extensions, versions
from scalesets.engine.census import Census
from scalesets.engine.start import Start
from scalesets.engine.view import (
    Condition,
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
    before = view.models.get(stored.current_model)
    another_image = before is not None and view.model is not None and before.image != view.model.image
    return replace(
        stored,
        observed_generation=view.generation,
        location=view.location,
        zones_backed=stored.zones_backed if stored.zones_backed is not None else view.zones_backed,
        current_model=view.model.name if view.model else stored.current_model,
        faulted_os_versions=() if another_image else stored.faulted_os_versions,
        enabled_time=enabled_time,
        first_enabled_time=stored.first_enabled_time or enabled_time,
        machines=tuple(sorted(view.names.items())) if view.is_group else (),
        update_domain=view.update_domain,
    )


def record(
    view: SetView,
    census: Census,
    *,
    members: Collection[int],
    judged: Mapping[int, Release],
    intents: Mapping[int, Release],
) -> Mapping[int, Release]:
    """What each instance runs or comes back as.

    ``members`` of the running batch keep their entry until its verdict, which comes as ``judged``; ``intents`` are
    what mode Automatic is about to replace. A new instance enters the record when it counts (census.py).
    """
    stored = view.status.record
    news = {**{o: r for o, r in census.news.items() if o not in members}, **intents, **judged}
    news = {o: r for o, r in news.items() if stored.get(o) != r}
    scaled_in = [o for o in stored if not view.has_place(o)]
    if not news and not scaled_in:
        return stored
    known = {**stored, **news}
    for ordinal in scaled_in:
        del known[ordinal]
    return known


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
    version = _image_version(base, census, upgrade)
    counted = _counted(view, base, census, version)
    counted = replace(counted, image_version=version, extensions=_extensions(view, census))
    found = conditions.describe(view, counted, census, upgrade, start, unresolved, now)
    return replace(counted, conditions=tuple(_dated(c, view.status, now) for c in found))


def _counted(view: SetView, base: SetStatus, census: Census, version: str) -> SetStatus:
    """With how many instances there are; a machine has none to count, an availability set no model of its own."""
    if view.names and not view.is_group:
        return base
    counted = replace(base, replicas=len(view.instances), ready_replicas=census.ready)
    if view.is_group:
        return counted
    return replace(
        counted,
        upgraded_replicas=sum(len(some) for release, some in census.running if release.image_version == version),
        latest_model_replicas=sum(len(some) for release, some in census.running if release.model == base.current_model),
    )


def is_urgent(before: SetStatus, after: SetStatus, *, judged: Collection[int]) -> bool:
    """Whether more changed than what may wait: counts, words of progress, new instances' entries in the record. Those
    who were ``judged`` don't wait: nobody knows later where they belong.
    """
    record = after.record
    if record is not before.record:
        record = {o: r for o, r in record.items() if o in before.record or o in judged}
    return _lasting(before) != replace(_lasting(after), record=record)


def _lasting(status: SetStatus) -> SetStatus:
    words = tuple(
        replace(c, reason="", message="", since=None) if c.type == "Progressing" and c.status else c
        for c in status.conditions
    )
    return replace(status, replicas=0, ready_replicas=0, upgraded_replicas=0, latest_model_replicas=0, conditions=words)


def _image_version(base: SetStatus, census: Census, upgrade: Upgrade | None) -> str:
    """The version that the set is moving to, else the one that most of it is on."""
    at_work = upgrade.status if upgrade is not None and upgrade.type is UpgradeType.OS_IMAGE else None
    if at_work is not None and not at_work.code.final:
        return at_work.target.image_version
    counts: Counter[str] = Counter()
    for release, number in census.kinds():
        counts[release.image_version] += number
    return max(counts, key=lambda v: (counts[v], versions.parse(v)), default=base.image_version)


def _extensions(view: SetView, census: Census) -> tuple[tuple[str, str, str], ...]:
    if view.model is None:
        return view.status.extensions  # with them goes how their last upgrades ended
    installed: dict[str, str] = {}
    for release, _ in census.running:
        for name, version in release.extensions:
            if name not in installed or versions.is_newer(installed[name], version):
                installed[name] = version
    return tuple(
        (e.name, installed.get(e.name, ""), extensions.automatic_upgrade(view, e)) for e in view.model.extensions
    )


def _dated(condition: Condition, before: SetStatus, now: datetime) -> Condition:
    old = next((c for c in before.conditions if c.type == condition.type), None)
    since = old.since if old is not None and old.status == condition.status and old.since else now
    return replace(condition, since=since)
