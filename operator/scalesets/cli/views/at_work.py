"""Who acts and what is being done: the checks of ``explain`` on the operator, its upgrades and its troubles."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from scalesets.cli import words
from scalesets.cli.fields import condition, conditions, is_final, name_of, number, started, text, when
from scalesets.cli.program import hint
from scalesets.cli.views import cures, status, upgrades
from scalesets.cli.views.findings import Finding, Sight, Weight

SILENCE = timedelta(seconds=30)
"""An operator that leads renews its Lease every few seconds; one that hasn't for so long is gone."""


def operator_is_there(sight: Sight) -> Iterator[Finding]:
    """Somebody has to act: an operator that leads, and that has seen the last change."""
    lease = sight.around.lease
    renewed = when(lease, "spec.renewTime")
    if renewed is not None and text(lease, "spec.holderIdentity"):
        silent = sight.now - renewed
        if silent > SILENCE:
            message = f"no operator is running: the last one was heard of {words.span(silent)} ago"
            yield Finding(Weight.BLOCKS, "NoOperator", message, cures.OPERATOR)
            return
    elif lease is not None:
        message = "no operator is running: nobody holds the Lease, as after an orderly stop"
        yield Finding(Weight.BLOCKS, "NoOperator", message, cures.OPERATOR)
        return
    unknown = lease is None and "leases" not in sight.around.unread
    generation = number(sight.scale_set, "metadata.generation")
    observed = number(sight.scale_set, "status.observedGeneration")
    if observed >= generation:
        if unknown:
            message = f"no operator holds a Lease in namespace {sight.around.catalog_namespace}: is one running?"
            yield Finding(Weight.NOTE, "NoLease", message, cures.OPERATOR)
        return
    what = f"the last change of the {sight.what}" if observed else f"this {sight.what}"
    if unknown:
        yield Finding(
            Weight.BLOCKS, "NoOperator", f"no operator has ever led here, nor looked at {what}", cures.OPERATOR
        )
    else:
        cure = f"if it stays so: does an operator serve namespace {sight.view.namespace}? Its log says more"
        yield Finding(Weight.WAITS, "NotObserved", f"the operator has not looked at {what} yet", cure)


def is_deleted(sight: Sight) -> Iterator[Finding]:
    """A set on its way out gets nothing."""
    if sight.view.deleting:
        yield Finding(Weight.BLOCKS, "Deleting", f"the {sight.what} is being deleted")


def upgrade_at_work(sight: Sight) -> Iterator[Finding]:
    """The upgrade that holds the lock, or waits for approval: what it does and waits for."""
    snapshot = sight.around.snapshot
    running = snapshot.running_upgrade
    if running is None:
        return
    upgrade = upgrades.read(running)
    what = f"{upgrade.name} ({upgrades.TYPE_WORDS.get(upgrade.type, upgrade.type)} to {upgrade.target})"
    if upgrade.waiting_reason == upgrades.WAITING_FOR_APPROVAL:
        cure = f"{hint('approve', sight.reference, '--all')}, or name instances"
        yield Finding(Weight.BLOCKS, "WaitingForApproval", f"{what} waits for approval of instances", cure)
        return
    waits = [wait.what for wait in status.read(snapshot).waiting_for]
    told = f"{what} is at work" + (f" and waits for: {'; '.join(waits)}" if waits else "")
    weight = Weight.WAITS if upgrade.waiting_reason and upgrade.batch is None else Weight.WORKS
    yield Finding(weight, upgrade.waiting_reason or upgrade.code, told, hint("status", sight.reference, "--watch"))


def upgrades_in_line(sight: Sight) -> Iterator[Finding]:
    """Upgrades that have not begun: one runs at a time."""
    waiting = [u for u in sight.around.snapshot.upgrades if not is_final(u) and not started(u)]
    running = sight.around.snapshot.running_upgrade
    for upgrade in waiting:
        if upgrade is running:
            continue
        turn = f"its turn comes after {name_of(running)}" if running is not None else "it is next"
        yield Finding(Weight.WAITS, "Queued", f"{name_of(upgrade)} has not begun: {turn}")


def is_stalled(sight: Sight) -> Iterator[Finding]:
    """A set that only its user can get going again."""
    stalled = condition(sight.scale_set, "Stalled")
    if stalled is not None and stalled.true:
        again = (
            f", or try it again: {hint('update-instances', sight.reference, '--all')}" if not sight.view.names else ""
        )
        message = f"the {sight.what} is stalled: {stalled.message}"
        yield Finding(Weight.BLOCKS, stalled.reason, message, f"change the model{again}")


def troubles(sight: Sight) -> Iterator[Finding]:
    """What the operator ran into, in the words of its conditions."""
    for found in conditions(sight.scale_set):
        if found.true and found.type in cures.TROUBLES:
            weight = Weight.NOTE if found.type in cures.HARMLESS else Weight.BLOCKS
            message = f"{found.type}: {found.message or found.reason}"
            yield Finding(weight, found.type, message, cures.of(found.type, sight.reference))
