"""What an upgrade leaves behind: how it ended, on the set, and the last five of two months as history (O22).

The set itself remembers the last attempt, because users may delete RollingUpgrades: it decides whether the same
target starts by itself again (docs/rules.md, "When upgrades start").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from scalesets.engine import checks, reasons
from scalesets.engine.decision import DeleteUpgrade
from scalesets.engine.view import (
    Code,
    LastUpgrade,
    SetStatus,
    SetView,
    TargetOutcome,
    Timing,
    Upgrade,
    UpgradeStatus,
    UpgradeType,
)

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
        model=status.target.model,
        enabled_time=stored.enabled_time,
    )
    if upgrade.type is UpgradeType.EXTENSION:
        again = replace(last, retry_delay=view.timing.extension_retry_interval)
        return replace(freed, last_extension_upgrades=_of_extensions(stored, status, again))
    if not last.model or upgrade.instances:
        return freed  # it never began, or is only about the instances that a user named
    if upgrade.type is UpgradeType.MODEL:
        if last.code == checks.NOT_CREATED:
            last = replace(last, retry_delay=_retry_delay(stored.last_model_upgrade, last, view.timing))
        return replace(freed, last_model_upgrade=last)
    if last.outcome is Code.FAULTED and last.code != checks.UPGRADED:
        last = replace(last, retry_delay=_retry_delay(stored.last_os_upgrade, last, view.timing))
    return replace(freed, last_os_upgrade=last, faulted_os_versions=_faulted(stored.faulted_os_versions, last))


def _of_extensions(stored: SetStatus, status: UpgradeStatus, last: LastUpgrade) -> Mapping[str, LastUpgrade]:
    """How each of the upgrade's extensions ended; of several majors the one that fared worst."""
    known = dict(stored.last_extension_upgrades)
    fresh: set[str] = set()
    for target in status.extensions:
        if target.name in fresh and target.outcome is TargetOutcome.SUCCEEDED:
            continue
        fresh.add(target.name)
        failed = target.outcome in (TargetOutcome.FAILED, TargetOutcome.STOPPED)
        code = target.error_code or (reasons.INSTANCES_FAILED if failed else last.code)
        reason = target.error or (f"{target.failed} instances failed" if failed else last.reason)
        succeeded = target.outcome is TargetOutcome.SUCCEEDED
        outcome = Code.FAULTED if failed else Code.COMPLETED if succeeded else last.outcome
        ended = replace(last, version=target.to, outcome=outcome, code=code, reason=reason)
        retried = outcome is not Code.COMPLETED and code != reasons.CANCELLED_BY_USER
        known[target.name] = ended if retried else replace(ended, retry_delay=None)
    return known


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


def _faulted(before: tuple[str, ...], last: LastUpgrade) -> tuple[str, ...]:
    """The versions that failed here: with this one, or without it once it was brought to the set after all."""
    failed = last.outcome is Code.FAULTED and last.code == checks.UPGRADED
    if not failed and last.outcome is not Code.COMPLETED:
        return before
    others = tuple(version for version in before if version != last.version)
    return (*others, last.version)[-_MAX_FAULTED_VERSIONS:] if failed else others


def _retry_delay(before: LastUpgrade | None, last: LastUpgrade, timing: Timing) -> timedelta:
    """How long the set must be within its limit before the same target is tried again: doubled each time."""
    same = before is not None and (before.version, before.model) == (last.version, last.model)
    if before is not None and same and before.retry_delay is not None:
        return min(before.retry_delay * 2, LONGEST_RETRY)
    return max(timing.trigger_delay_min, SHORTEST_RETRY)
