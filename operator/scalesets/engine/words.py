"""What upgrades tell people: Events on the ScaleSet when one starts, ends a batch, puts back, ends (docs/design.md)."""

from __future__ import annotations

from collections.abc import Collection

from scalesets.engine import ordinals, scopes
from scalesets.engine.decision import Event
from scalesets.engine.view import Batch, BatchOutcome, Code, Ordinals, SetView, Upgrade, UpgradeStatus

_ENDS = {
    Code.COMPLETED: ("UpgradeCompleted", "completed"),
    Code.CANCELLED: ("UpgradeCancelled", "cancelled"),
    Code.FAULTED: ("UpgradeStopped", "stopped"),
}


def instances(view: SetView, some: Collection[int]) -> str:
    """Names of instances: ``web-3``, or ``web-{0-3,7}``; machines by their own names."""
    if view.names:
        return ", ".join(view.instance_name(o) for o in sorted(some))
    return view.instance_name(next(iter(some))) if len(some) == 1 else f"{view.name}-{{{ordinals.render(some)}}}"


def started(upgrade: Upgrade, status: UpgradeStatus) -> Event:
    """An upgrade begins."""
    return Event("UpgradeStarted", f"{upgrade.name}: {_aim(upgrade, status)}")


def waits_for_approval(upgrade: Upgrade, status: UpgradeStatus) -> Event:
    """A deferred upgrade is there and waits for its user."""
    return Event(scopes.WAITING_FOR_APPROVAL, f"{upgrade.name}: {_aim(upgrade, status)} waits for approval")


def batch_judged(view: SetView, upgrade: Upgrade, batch: Batch, scope: Ordinals) -> Event:
    """A batch is over: who is where, of those that weren't scaled in meanwhile."""
    where = f"extension {batch.extension}, " if batch.extension else ""
    where += f"zone {batch.zone}, " if batch.zone else ""
    text = f"{upgrade.name}: batch {batch.number} ({where}update domain {batch.update_domain}) "
    parts = [
        (frozenset(batch.members) - batch.failed, "upgraded"),
        (batch.rolled_back - batch.roll_back_failed, "failed and put back"),
        (batch.roll_back_failed, "failed and could not be put back"),
        (batch.failed - batch.rolled_back, "failed"),
    ]
    reason = "BatchSucceeded" if batch.outcome is BatchOutcome.SUCCEEDED else "BatchFailed"
    told = "; ".join(f"{instances(view, some & scope)} {how}" for some, how in parts if some & scope)
    if why := failure(view, batch.failed & scope):
        told += f"; {why}"
    return Event(reason, text + (told or "has nobody left"), warning=bool(batch.failed))


def putting_back(view: SetView, upgrade: Upgrade, some: Ordinals) -> Event:
    """Instances failed and go back."""
    why = failure(view, some)
    words = f"{upgrade.name}: putting back {instances(view, some)}" + (f"; {why}" if why else "")
    return Event("RollingBack", words, warning=True)


def failure(view: SetView, some: Collection[int]) -> str:
    """What the first of these instances says of why it failed, such as the Secret that it misses."""
    known = (view.instances.get(o) for o in sorted(some))
    found = next((i for i in known if i is not None and i.failure), None)
    return f"{view.instance_name(found.ordinal)}: {found.failure}" if found is not None else ""


def ended(upgrade: Upgrade, status: UpgradeStatus) -> Event:
    """An upgrade is over, and why."""
    reason, verb = _ENDS[status.code]
    why = f": {status.error_code}: {status.error}" if status.error_code else ""
    return Event(reason, f"{upgrade.name} {verb}{why}", warning=status.code is Code.FAULTED)


def roll_back_error(view: SetView, batch: Batch) -> str:
    """Which instances of the batch could not be put back, and why."""
    parts = []
    for ordinal in sorted(batch.roll_back_failed)[:5]:
        instance = view.instances.get(ordinal)
        if instance is None:
            why = "could not be created again"
        elif instance.deleting_since is not None:
            why = "is still terminating"
        elif ordinal in view.claims_deleting:
            why = "was left up: a claim of it is being deleted"
        else:
            why = instance.failure or "is still unhealthy"
        parts.append(f"{view.instance_name(ordinal)} {why}")
    more = len(batch.roll_back_failed) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")


def _aim(upgrade: Upgrade, status: UpgradeStatus) -> str:
    return f"{scopes.target_words(upgrade.type, status)} for {len(status.scope)} instances"
