"""Mode Automatic: a model change replaces every instance at once, without a RollingUpgrade (O20).

The intent is the record: it names the new release of every instance before the first pod of it is deleted, so a crash
in between loses nothing. Extensions' and OS versions follow the same rules as in a model upgrade.
"""

from __future__ import annotations

from datetime import datetime

from scalesets.engine import releases, scopes
from scalesets.engine.census import Census
from scalesets.engine.view import Release, SetView, Target, UpgradeMode, UpgradeType


def intents(view: SetView, census: Census, now: datetime) -> dict[int, Release]:
    """The record entries of instances that are to be replaced; empty in the other modes and when nothing differs."""
    model = view.model
    if model is None or view.mode is not UpgradeMode.AUTOMATIC:
        return {}
    behind = {
        o: r
        for o, r in census.releases.items()
        if not releases.is_on_model(view, r, model) and scopes.may_touch(view, o, r, platform_os=False)
    }
    if not behind:
        return {}
    version = releases.allowed_version(view, model, now)
    extensions = releases.extension_versions(view, model, now)
    if version is None or extensions is None:
        return {}
    target = Target(model.name, version, model.image, extensions)
    out: dict[int, Release] = {}
    for ordinal, release in behind.items():
        known = view.status.record.get(ordinal)
        intended = known is not None and known.model == model.name
        out[ordinal] = known if known and intended else releases.moved(view, UpgradeType.MODEL, target, release)
    return out
