"""What is under way in a set: its running batch, who of it is awaited, and the models that are at work."""

from __future__ import annotations

from collections.abc import Sequence

from scalesets.engine.decision import Write, WriteUpgradeStatus
from scalesets.engine.view import SetView


def batch(view: SetView) -> tuple[str, int]:
    """The running batch: its upgrade's name and its number; 0 without one."""
    upgrade = view.current_upgrade
    running = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return (upgrade.name, running.number) if upgrade is not None and running is not None else ("", 0)


def begins_batch(view: SetView, writes: Sequence[Write]) -> bool:
    """Whether the writes ended a batch and began the next."""
    name, number = batch(view)
    for write in writes:
        if isinstance(write, WriteUpgradeStatus) and write.name == name:
            after = write.status.running_batch
            return after is not None and after.number > number > 0
    return False


def awaited(view: SetView) -> set[int]:
    """The members of the running batch that are not Ready: it ends with the last of them, or by time."""
    upgrade = view.current_upgrade
    running = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    if running is None:
        return set()
    given_up = running.failed - running.rolled_back
    return {
        ordinal
        for ordinal in running.members
        if ordinal not in given_up and not ((instance := view.instances.get(ordinal)) and instance.healthy)
    }


def models_at_work(view: SetView) -> set[str]:
    """The models that the set is on or on its way to, or that missing instances come back to: what was wrong with
    others is past.
    """
    found = {view.model.name if view.model is not None else ""}
    wanted = [view.status.record]
    upgrade = view.current_upgrade
    if upgrade is not None and upgrade.status is not None:
        found.add(upgrade.status.target.model)
        if (running := upgrade.status.running_batch) is not None:
            wanted.append(running.members)
    found.update(release.model for some in wanted for o, release in some.items() if o not in view.instances)
    return found
