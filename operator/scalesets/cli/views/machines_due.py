"""What holds up machines and availability sets besides what holds up sets: the checks of ``explain`` on turns, on
update domains and on who belongs where (E5b, E5c).
"""

from __future__ import annotations

from collections.abc import Iterator

from scalesets.cli import whose, words
from scalesets.cli.fields import condition, name_of, text
from scalesets.cli.program import hint
from scalesets.cli.views.findings import Finding, Sight, Weight
from scalesets.cli.whose import Named


def availability_set(sight: Sight) -> Iterator[Finding]:
    """A machine in an availability set begins no upgrade of its own (E5c)."""
    name = sight.view.availability_set
    if name and condition(sight.scale_set, "AvailabilitySetNotFound") is None:
        domain = text(sight.scale_set, "status.updateDomain")
        place = f" (this machine is in {domain})" if domain else ""
        message = f"upgraded with its availability set {name}, one update domain at a time{place}"
        cure = f"why that waits: {hint('explain', str(Named(whose.AVAILABILITY_SET, name)))}"
        yield Finding(Weight.NOTE, "InAvailabilitySet", message, cure)


def turn(sight: Sight) -> Iterator[Finding]:
    """Machines by themselves take turns (E5b); who must wait is told so with what is due."""
    found = sight.around.turn
    if found is None:
        return
    if found.words:
        yield Finding(Weight.NOTE, "AtWork", f"at work now: {words.listing(found.busy)}")
        return
    if not found.whole:
        message = "the machines of other namespaces share its turn, and you may not read them: it may have to wait"
        yield Finding(Weight.NOTE, "TurnUnknown", message)
        return
    if found.machines == 1:
        yield Finding(Weight.FINE, "ItsTurn", "it need not wait for other machines: the subscription has no more here")
        return
    at_work = f", at work now: {words.listing(found.busy)}" if found.busy else ", none is at work now"
    share = f"at most {found.limit} of the {words.count(found.machines, 'machine')} of the subscription at once"
    yield Finding(Weight.FINE, "ItsTurn", f"it need not wait for other machines: {share}, in one zone{at_work}")


def members(sight: Sight) -> Iterator[Finding]:
    """An availability set does nothing but upgrade its machines; what each has to do, it says itself."""
    if not sight.view.is_group:
        return
    machines = sight.around.snapshot.machines
    if not machines:
        cure = f"make a VirtualMachine with spec.availabilitySet: {sight.view.name}"
        yield Finding(Weight.NOTE, "NoMachines", "no machine names it", cure)
    for machine in machines:
        ready = condition(machine, "Ready")
        if ready is not None and not ready.true and not sight.around.snapshot.running_upgrade:
            why = ready.message or ready.reason
            cure = hint("explain", str(Named(whose.MACHINE, name_of(machine))))
            yield Finding(Weight.NOTE, "MachineNotReady", f"{name_of(machine)} is not ready: {why}", cure)


def only_extensions(sight: Sight) -> Iterator[Finding]:
    """Who waits for an OS upgrade of a machine waits in vain."""
    if sight.view.model is None or sight.view.model.extensions:
        return
    message = "there is nothing to upgrade: machines get no OS upgrades, and spec.extensions is empty"
    yield Finding(Weight.NOTE, "NoExtensions", message)
