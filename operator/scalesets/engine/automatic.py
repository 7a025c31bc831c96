"""Mode Automatic: a model change replaces every instance at once, without a RollingUpgrade (O20).

The intent is the record: it names the new release of every instance before the first pod of it is deleted, so a crash
in between loses nothing. A look at the Secrets that the model names and a dry run come before the intent, as before an
upgrade: what is missing, or a template that the server refuses, must not take down the whole set. Extensions' and OS
versions follow the same rules as in a model upgrade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scalesets.engine import eligibility, instances, releases, scopes
from scalesets.engine.census import Census
from scalesets.engine.decision import DryRun, Preflight
from scalesets.engine.view import Release, SetView, UpgradeMode, UpgradeType


@dataclass(frozen=True, slots=True)
class Intents:
    """Record entries of the instances that are to be replaced, and what must succeed before they are stored."""

    record: Mapping[int, Release] = field(default_factory=dict)
    trials: tuple[Preflight | DryRun, ...] = ()


def intents(view: SetView, census: Census, now: datetime) -> Intents:
    """What mode Automatic replaces; nothing in the other modes, when nothing differs, or when it can't be done yet."""
    model = view.model
    if model is None or view.mode is not UpgradeMode.AUTOMATIC:
        return Intents()
    behind = [
        o
        for o in census.where(lambda release: not releases.is_on_model(view, release, model))
        if scopes.may_touch(view, census, o, platform_os=False)
    ]
    if not behind:
        return Intents()
    recorded = view.status.record
    intended = {o: recorded[o] for o in behind if o in recorded and recorded[o].model == model.name}
    target = scopes.target_of(view, UpgradeType.MODEL, model, now)
    move = releases.once_each(lambda former: releases.moved(view, UpgradeType.MODEL, target, former))
    fresh = {o: move(census.releases[o]) for o in behind if o not in intended}
    if eligibility.has_current_resources(view, now):
        return Intents(intended)
    if not fresh or not all(releases.is_whole(release, model) for release in fresh.values()):
        return Intents(intended)
    trial = instances.create(view, min(fresh), fresh[min(fresh)], now)
    if isinstance(trial, datetime):  # the last trial failed: not again before then
        return Intents(intended)
    return Intents({**intended, **fresh}, (Preflight(model.name), DryRun(trial.ordinal, trial.release)))
