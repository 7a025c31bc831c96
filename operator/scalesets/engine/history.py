"""What an upgrade leaves behind: how it ended, on the set, and the last five of two months as history (O22).

The set itself remembers the last attempt, because users may delete RollingUpgrades: it decides whether the same
target starts by itself again (docs/rules.md, "When upgrades start").
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from scalesets.engine import checks
from scalesets.engine.decision import DeleteUpgrade
from scalesets.engine.view import Code, LastUpgrade, SetStatus, SetView, Timing, Upgrade, UpgradeType

KEPT = 5
KEPT_FOR = timedelta(days=61)
"""The history of a set and type: the last five attempts within two months."""

SHORTEST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)

_MAX_FAULTED_VERSIONS = 20


def closed(view: SetView, stored: SetStatus, upgrade: Upgrade) -> SetStatus:
    """The set's status once the finished upgrade lets go of the lock."""
    status = upgrade.status
    assert status is not None and status.code.final
    freed = replace(stored, current_upgrade="", upgrade_attempts=stored.upgrade_attempts + 1)
    last = LastUpgrade(
        name=upgrade.name,
        version=status.target.image_version,
        outcome=status.code,
        completed=status.completed or upgrade.created,
        code=status.error_code,
        reason=status.error,
        started_by=upgrade.started_by,
        model=view.model.name if view.model else status.target.model,
        enabled_time=stored.enabled_time,
    )
    if upgrade.type is UpgradeType.MODEL:
        return replace(freed, last_model_upgrade=replace(last, model=status.target.model))
    if upgrade.type is not UpgradeType.OS_IMAGE or not last.version:
        return freed
    faulted = tuple(v for v in stored.faulted_os_versions if v != last.version)
    if status.code is Code.FAULTED and status.error_code == checks.UPGRADED:
        faulted = (*faulted, last.version)[-_MAX_FAULTED_VERSIONS:]
    elif status.code is not Code.COMPLETED:
        faulted = stored.faulted_os_versions
    if status.code is Code.FAULTED and status.error_code != checks.UPGRADED:
        last = replace(last, retry_delay=_retry_delay(stored.last_os_upgrade, last.version, view.timing))
    return replace(freed, last_os_upgrade=last, faulted_os_versions=faulted)


def outdated(view: SetView, now: datetime) -> tuple[tuple[DeleteUpgrade, ...], datetime | None]:
    """Finished upgrades that fall out of the history now, and when the next one will."""
    drop: list[DeleteUpgrade] = []
    times: list[datetime] = []
    for kind in UpgradeType:
        over = [(_completed(u), u) for u in view.upgrades if u.type is kind and u.finished and not u.deleting]
        over = [(t, u) for t, u in over if u.name != view.status.current_upgrade]
        over.sort(key=lambda pair: (pair[0], pair[1].name), reverse=True)
        for place, (completed, upgrade) in enumerate(over):
            expires = completed + KEPT_FOR
            if place >= KEPT or expires <= now:
                drop.append(DeleteUpgrade(upgrade.name, upgrade.uid))
            else:
                times.append(expires)
    return tuple(drop), min(times, default=None)


def _completed(upgrade: Upgrade) -> datetime:
    return (upgrade.status.completed if upgrade.status else None) or upgrade.created


def _retry_delay(before: LastUpgrade | None, version: str, timing: Timing) -> timedelta:
    if before is not None and before.version == version and before.retry_delay is not None:
        return min(before.retry_delay * 2, LONGEST_RETRY)
    return max(timing.trigger_delay_min, SHORTEST_RETRY)
